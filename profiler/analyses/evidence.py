"""The numbers that the advice rules look at, gathered once."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from ..profile import Profile
from .bounds import Bounds, bounds
from .computed import Values, computed
from .dma import Dma, dma
from .intervals import Intervals
from .machine import Machine, machine, working
from .overlap import COMPUTE, compute_intervals, dma_intervals, overlap
from .spills import Spills, spills


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the rules see. Times in ns.

    Attributes:
        p: the profile.
        total_ns: length of the run.
        values: metrics computed from its tables.
        of: its machine.
        dma: its DMA analysis, None where it has no DMA.
        bounds: its ladder.
        overlap: active_ns, hidden_ns, exposed_ns by kind.
        busy: active time of each compute engine.
        inner_dma_ns: DMA that no compute hides, between the first and the last compute: without filling and draining.
        inner_ns: from the first to the last compute; all of the body where nothing computes.
        work: instructions other than waits, sorted by start.
        spills: intermediate tensors saved to HBM and loaded again for want of SBUF.
    """

    p: Profile
    total_ns: float
    values: Values
    of: Machine
    dma: Dma | None
    bounds: Bounds
    overlap: dict[str, dict[str, float | None]]
    busy: dict[str, float]
    inner_dma_ns: float
    inner_ns: float
    work: pl.DataFrame
    spills: Spills

    @property
    def body_ns(self) -> float:
        """The kernel's own part of the run."""
        own = self.bounds.rows.filter(pl.col("step").is_in(["as measured", "body"]))["ns"]
        return float(own[-1])

    @property
    def busiest(self) -> str:
        """The compute engine with most active time."""
        return max(self.busy, key=lambda name: self.busy[name])

    @property
    def above_bound_ns(self) -> float:
        """How far the kernel's own part is above the roofline; all of it where the roofline is not known."""
        ideal = self.bounds.rows.filter(step="ideal TensorE")["ns"]
        return max(self.body_ns - (float(ideal[0]) if len(ideal) else 0.0), 0.0)

    @property
    def moving_ns(self) -> float:
        """Time with a DMA packet in flight."""
        return (self.overlap.get("dma") or {}).get("active_ns") or 0.0

    def exposed_ns(self, kind: str) -> float:
        """Exposed time of one kind of movement."""
        return (self.overlap.get(kind) or {}).get("exposed_ns") or 0.0

    def lines(self, rows: pl.DataFrame) -> str:
        """The lines that hold most time of some instructions, as "file:line"."""
        spent = (pl.col("end_ts") - pl.col("start_ts")).sum().alias("ns")
        top = (
            rows.drop_nulls("line")
            .group_by("file", "line")
            .agg(spent)
            .sort("ns", "line", descending=[True, False])
            .head(3)
        )
        return ", ".join(
            f"{(file or '').rpartition('/')[2]}:{line}" for file, line in top.select("file", "line").rows()
        )


def gather(p: Profile, total: float) -> Evidence:
    """Everything that the rules need of a profile with instructions."""
    work = working(p)
    kinds = {row["kind"]: row for row in overlap(p).rows.to_dicts()}
    compute, moving = compute_intervals(p), dma_intervals(p)
    inner = moving.subtract(compute).clip(compute.start[0], compute.end[-1]).measure if len(compute) else 0.0
    has_dma = p.has("DmaPacket") or p.has("DmaPacketAggregated")
    return Evidence(
        p=p,
        total_ns=total,
        values=computed(p),
        of=machine(p),
        dma=dma(p) if has_dma else None,
        bounds=bounds(p),
        overlap=kinds,
        busy={name: Intervals.from_frame(work.filter(engine=name)).measure for name in COMPUTE},
        inner_dma_ns=inner,
        inner_ns=float(compute.end[-1] - compute.start[0]) if len(compute) else total,
        work=work,
        spills=spills(p),
    )
