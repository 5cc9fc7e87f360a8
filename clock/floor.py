"""A time that no layout of a trace beats: the busiest part of the machine, as if it never waited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nkilab.hardware import Policy

from .program import TENSOR, Floats, programs
from .timing import launch_ns, prepared

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nkilab.hardware import Hardware

    from .dma import Transfers
    from .expand import Device


def floor_ns(
    columns: Mapping[str, Mapping[str, Any]], names: Mapping[str, tuple[str, ...]], hw: Hardware
) -> tuple[float, str]:
    """The least `total_ns` that `time` can give for a trace, in ns, and the part of the machine that needs it.

    Costs, spills and loads are those of `time`, but nothing is scheduled, so this takes a fraction of it: of the parts
    `hbm`, `dma` (one of its engines), `tensor`, `vector`, `scalar`, `gpsimd` and `sync`, the one that is busy longest, on
    the core where that is longest.

    Raises:
        UsageError: the trace lacks a table, a column or a list of names.
    """
    busy = [_busy(one.device, one.moved, hw) for one in prepared(programs(columns, names), hw, Policy())]
    parts = [(ns, part) for core in busy for part, ns in core.items()]
    ns, part = max(parts, default=(0.0, "launch"))
    return ns + launch_ns(hw), part


def _busy(device: Device, moved: Transfers, hw: Hardware) -> dict[str, float]:
    """How long each part of a core is busy at least, in ns."""
    arrival = float(moved.latency.min(initial=np.inf)) if len(moved.row) else 0.0
    found = {
        "hbm": arrival + float(moved.hbm.sum()),
        "dma": arrival + float(_engines(moved, hw).max(initial=0.0)),
    }
    # Loads of weights hide behind multiplies, and multiplies on parts of the array run at once.
    alone = ~device.load & ((device.engine != TENSOR) | ~device.array.any())
    for engine, name in enumerate(("tensor", "vector", "scalar", "gpsimd", "sync")):
        spent = device.interval[alone & (device.engine == engine)]
        # An engine is free again after an instruction's interval, but the last one may end before.
        found[name] = float(spent.sum() - spent.max(initial=0.0))
    return found


def _engines(moved: Transfers, hw: Hardware) -> Floats:
    """What each DMA engine moves, in ns."""
    spent = np.zeros(hw.dma.engines + 1)
    np.add.at(spent, moved.first, moved.middle + hw.dma.semaphore_ns)
    np.add.at(spent, moved.last + 1, -moved.middle - hw.dma.semaphore_ns)
    total = np.cumsum(spent)[:-1]
    np.add.at(total, moved.first, moved.head - moved.middle)
    more = moved.last > moved.first
    np.add.at(total, moved.last[more], (moved.tail - moved.middle)[more])
    return np.asarray(total, dtype=np.float64)
