"""Which resource bounds a kernel: its body with one resource free at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .timing import time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nkilab.hardware import Hardware, Policy

_TINY = 1e-3
_DMA = ("_issue_ns", "_row_ns", "_start_ns", "_latency_ns", "completion_ns", "semaphore_ns", "element_ns", "overlap_ns")
_OVERHEAD: tuple[str, ...] = (
    "handover.",
    ".issue_ns",
    ".issue_cycles",
    ".pipeline_ns",
    ".pipeline_cycles",
    "_start_ns",
    "_latency_ns",
)
_OVERHEAD += ("completion_ns", "function_ns", "operand_ns", "sbuf_ns", "table_load_ns", "register_ns", "load_fixed_ns")
_LINKS = ("links.hop_ns", "links.chip_gbps", "links.node_hop_ns", "links.node_gbps")


@dataclass(frozen=True, slots=True)
class Step:
    """One rung: the body where a resource costs nothing, and what that saves against the body as modelled."""

    free: str
    body_ns: float
    saved_ns: float


@dataclass(frozen=True, slots=True)
class Ladder:
    """The body as modelled, and one step for each resource, the one that saves most first.

    A resource that hides behind another saves nothing alone, and the savings of two do not add up.
    """

    body_ns: float
    steps: tuple[Step, ...]

    @property
    def bound(self) -> str:
        """The resource that bounds the kernel: the one whose cost, taken away, saves most."""
        return self.steps[0].free


def ladder(
    columns: Mapping[str, Mapping[str, Any]],
    names: Mapping[str, tuple[str, ...]],
    hw: Hardware,
    policy: Policy | None = None,
) -> Ladder:
    """Time a trace with DMA, each engine, all overhead, and the links of collectives free in turn.

    Arguments and errors as of `time`.
    """
    body = time(columns, names, hw, policy, ranges=False).body_ns
    steps = []
    for name, keys in _resources(hw, several=len(np.unique(columns["instructions"]["rank"])) > 1).items():
        table = hw.replace(**{key: _free(key, hw.source(key).value) for key in keys})
        free = time(columns, names, table, policy, ranges=False).body_ns
        steps.append(Step(name, free, body - free))
    return Ladder(body, tuple(sorted(steps, key=lambda step: -step.saved_ns)))


def _resources(hw: Hardware, *, several: bool) -> dict[str, list[str]]:
    """The numbers of the table that each resource costs."""
    costs = [key for key, source in hw.sources.items() if isinstance(source.value, float | tuple)]
    found = {
        "DMA": [key for key in costs if key.startswith("dma.") and key.endswith(_DMA)] + ["hbm.gbps"],
        "overhead": [key for key in costs if key not in _LINKS and any(word in key for word in _OVERHEAD)],
        "links": [key for key in costs if several and key in _LINKS],
    }
    for engine, shown in (("tensor", "TensorE"), ("vector", "VectorE"), ("scalar", "ScalarE"), ("gpsimd", "GpSimdE")):
        own = [key for key in costs if key.startswith(f"{engine}.") and ("cycles" in key or key.endswith("_ns"))]
        found[shown] = own
    return {name: keys for name, keys in found.items() if keys}


def _free(key: str, value: Any) -> Any:
    """The value at which a number costs nothing."""
    if isinstance(value, tuple):
        return tuple(_TINY for _ in value)
    return 1e9 if key.endswith("gbps") else _TINY
