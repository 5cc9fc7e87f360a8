"""Device clocks: record times as picoseconds since the start of the execution."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .metadata import Capture, Clock

PS_PER_NS = 1000

Ints = NDArray[np.int64]


def to_ps(ticks: NDArray[np.uint64], owner: NDArray[np.integer], clocks: tuple[Clock, ...]) -> Ints:
    """Readings of per-unit clocks as picoseconds on a common scale.

    From version 5 on all clocks tick in picoseconds from one origin, and this returns the readings. Version 4 has one
    clock per engine and per DMA engine: (reading - init) * expected tick / tick.

    Args:
        ticks: readings.
        owner: index into `clocks` of the unit that took each reading; beyond it, the reading stays as it is.
        clocks: one per unit.
    """
    plain = ticks.view(np.int64)
    if all(clock == Clock(0, 1, 1) for clock in clocks):
        return plain
    inside = np.clip(owner, 0, len(clocks) - 1)
    init = np.array([clock.init for clock in clocks], np.uint64).view(np.int64)[inside]
    scale = np.array([clock.expected / clock.tick for clock in clocks])[inside]
    scaled = np.round((plain - init) * scale)
    limit = float(1 << 62)
    return np.where(owner < len(clocks), np.clip(scaled, -limit, limit).astype(np.int64), plain)


def origin(capture: Capture, notify_end: int | None) -> int:
    """The start of the execution in picoseconds on the device's clock.

    Version 6 states it. Before, it is the end of the last NOTIFY of the tensor engine's preamble: a rule that fits the
    vendor's counts, total times and byte sums on every version-5 file tried, not a field; 0 where there is none.
    """
    if capture.start_ps is not None:
        return capture.start_ps - (capture.start_ps >> 63 << 64)  # signed, as the times of the records
    return notify_end if notify_end is not None else 0


def total(capture: Capture) -> int | None:
    """Length of the execution in picoseconds, None where the file does not say."""
    if capture.start_ps is not None and capture.stop_ps is not None and capture.stop_ps > capture.start_ps:
        return capture.stop_ps - capture.start_ps
    longest = max((graph.total_ps for graph in capture.graphs), default=0)
    return longest or None


def ns(ps: Ints) -> NDArray[np.float64]:
    """Picoseconds as float nanoseconds, exact below 2**53 ps (2.5 hours)."""
    return ps / PS_PER_NS
