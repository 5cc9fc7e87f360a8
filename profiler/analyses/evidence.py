"""The numbers that the advice rules look at, gathered once."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from ..profile import Profile
from .bounds import Bounds, bounds
from .computed import Values, computed
from .dma import Dma, dma
from .intervals import Intervals
from .machine import Machine, added, machine, working
from .overlap import COMPUTE, compute_intervals, dma_intervals, overlap


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
        work: instructions other than waits, sorted by start.
        spilled_bytes: bytes of intermediate tensors saved to HBM and loaded again for want of SBUF.
        spill_stated: whether the source states them; else they are the transfers that a simulated run added to instructions
            that move no data by themselves, so at least so many.
        spilling: ids of the instructions that issue those transfers.
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
    work: pl.DataFrame
    spilled_bytes: float
    spill_stated: bool
    spilling: pl.Series

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
    stated, added_moves = _stated_spill(p), _added_moves(p)
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
        work=work,
        spilled_bytes=added(added_moves["transfer_bytes"]) if stated is None else stated,
        spill_stated=stated is not None,
        spilling=added_moves["instruction_id"].drop_nulls(),
    )


def _stated_spill(p: Profile) -> float | None:
    """Spilled bytes as the source's own summary has them."""
    rows = p.rows("Summary").filter(pl.col("metric").is_in(["spill_save_bytes", "spill_reload_bytes"]))
    values = rows["value"].drop_nulls()
    return float(values.sum()) if len(values) else None


def _added_moves(p: Profile) -> pl.DataFrame:
    """Of a simulated run, the transfers of instructions that are no DMA: saves and reloads of spilled tensors."""
    on_chip = (pl.col("source") == "sbuf") & (pl.col("dest") == "sbuf")
    rows = p.rows("DmaPacketAggregated").filter(on_chip & ~pl.col("op").str.starts_with("dma"))
    return rows if p.origin.simulated else rows.clear()
