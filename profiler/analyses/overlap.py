"""`overlap`: how much of communication and data movement hides behind compute, and how much stands alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import polars as pl

from ..errors import NotInProfileError
from ..profile import Profile
from .base import Answer, Shown
from .intervals import Intervals
from .machine import total_ns, working

if TYPE_CHECKING:
    import plotly.graph_objects as go

COMPUTE = ("Tensor", "Vector", "Scalar", "GpSimd")
TRIGGERS = r"DMA|TRIGGER|^COLLECTIVE_|^ALL_(REDUCE|GATHER|TO_ALL)|^REDUCE_SCATTER|^CORE_BARRIER|^SENDRECV"


@dataclass(frozen=True, slots=True)
class Overlap(Answer):
    """Time in which kinds of work run alone or together.

    Attributes:
        rows: one row per kind: "compute" (any of Tensor, Vector, Scalar, GpSimd executes something other than a
            semaphore wait or the trigger of a DMA or collective, on any core), "dma" (any packet in flight), "collectives" (any collective),
            one "stream N" per collective stream, and "nothing" (none of these):
            active_ns (union), share (of the run),
            hidden_ns: the part during which compute is active too,
            exposed_ns: active_ns - hidden_ns; the communication or movement that compute waits beside,
            hidden: hidden_ns / active_ns.
        operations: one row per collective, in order of start: op_id, operation, stream (null where unknown), start_ts, end_ts,
            active_ns (its duration), hidden_ns, exposed_ns, hidden.
        total_ns: length of the run, ns.
        simulated: whether times are modelled.
    """

    title: ClassVar[str] = "Overlap"
    shown: ClassVar[tuple[Shown, ...]] = (
        Shown("kind", "kind"), Shown("active_ns", "active us", "us", "time with any of this kind (union over engines, queues and cores)"), Shown("share", "of the run", "percent"),
        Shown("hidden_ns", "behind compute us", "us", "the part of it with Tensor, Vector, Scalar or GpSimd computing"),
        Shown("exposed_ns", "exposed us", "us", "the rest: nothing computes beside it"), Shown("hidden", "hidden", "percent", "behind compute us / active us"),
    )  # fmt: skip

    rows: pl.DataFrame
    operations: pl.DataFrame
    total_ns: float
    simulated: bool

    def remarks(self) -> list[str]:
        """How much of the run belongs to a kind of work."""
        nothing = self.rows.filter(kind="nothing")["share"]
        return [f"{1 - nothing[0]:.1%} of the run has compute, DMA or a collective; the rest is the row nothing"]

    def figure(self) -> go.Figure:
        """Hidden and exposed time of each kind as stacked bars."""
        from .figures import stacked

        kinds = self.rows.filter(pl.col("hidden_ns").is_not_null()).reverse()
        parts = (("hidden_ns", "behind compute", "Vector"), ("exposed_ns", "exposed", "Collective"))
        return stacked(kinds, "kind", parts, "Data movement and compute, us")


def overlap(p: Profile) -> Overlap:
    """Compute, DMA and collectives: active, hidden behind compute, exposed.

    Raises:
        NotInProfileError: the profile has no instructions.
    """
    total = total_ns(p)
    if not p.has("Instruction") or not total:
        raise NotInProfileError(
            "overlap needs instructions, and this profile has none", fix="open the NTFF or the full JSON of the run"
        )
    compute, dma = compute_intervals(p), dma_intervals(p)
    collectives = Intervals.from_frame(p.rows("CcOp"))
    start = p.fact("first_hw_timestamp") or 0.0
    run = Intervals.of([start], [start + total])
    anything = compute.union(dma).union(collectives)
    kinds = [("compute", compute), ("dma", dma), ("collectives", collectives), *_streams(p)]
    present = [_row(name, spans, compute) for name, spans in kinds if len(spans)]
    rows = pl.DataFrame([*present, {"kind": "nothing", "active_ns": run.subtract(anything).measure}], schema=_SCHEMA)
    shares = rows.with_columns(share=pl.col("active_ns") / total)
    return Overlap(shares, _operations(p, compute), total, p.origin.simulated)


def compute_intervals(p: Profile) -> Intervals:
    """Time in which any compute engine executes something other than a semaphore wait or the trigger of a DMA or collective."""
    trigger = pl.col("opcode").str.contains(TRIGGERS).fill_null(value=False)
    return Intervals.from_frame(working(p).filter(pl.col("engine").is_in(COMPUTE) & ~trigger))


def dma_intervals(p: Profile) -> Intervals:
    """Time in which any DMA packet is in flight."""
    return Intervals.from_frame(p.rows("DmaPacket" if p.has("DmaPacket") else "DmaPacketAggregated"))


_SCHEMA = {
    "kind": pl.String,
    "active_ns": pl.Float64,
    "hidden_ns": pl.Float64,
    "exposed_ns": pl.Float64,
    "hidden": pl.Float64,
}


def _row(name: str, spans: Intervals, compute: Intervals) -> dict[str, object]:
    """One kind against compute; compute itself is neither hidden nor exposed."""
    if name == "compute":
        return {"kind": name, "active_ns": spans.measure}
    hidden = spans.intersect(compute).measure
    return {
        "kind": name,
        "active_ns": spans.measure,
        "hidden_ns": hidden,
        "exposed_ns": spans.measure - hidden,
        "hidden": hidden / spans.measure,
    }


def _operations(p: Profile, compute: Intervals) -> pl.DataFrame:
    """Every collective against compute."""
    rows = p.rows("CcOp").drop_nulls(["start_ts", "end_ts"]).sort("start_ts")
    hidden = compute.before(rows["end_ts"].to_numpy()) - compute.before(rows["start_ts"].to_numpy())
    length = pl.col("end_ts") - pl.col("start_ts")
    return rows.select(
        "op_id", "operation", "start_ts", "end_ts", stream="stream_id", active_ns=length, hidden_ns=pl.Series(hidden, dtype=pl.Float64),
    ).with_columns(
        exposed_ns=pl.col("active_ns") - pl.col("hidden_ns"),
        hidden=pl.when(pl.col("active_ns") > 0).then(pl.col("hidden_ns") / pl.col("active_ns")),
    )  # fmt: skip


def _streams(p: Profile) -> list[tuple[str, Intervals]]:
    """Collectives by stream, where there are several."""
    parts = p.rows("CcOp").drop_nulls("stream_id").partition_by("stream_id", as_dict=True)
    named = [(f"stream {key[0]}", Intervals.from_frame(part)) for key, part in sorted(parts.items())]
    return named if len(named) > 1 else []
