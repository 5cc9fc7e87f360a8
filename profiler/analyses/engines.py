"""`engines`: how busy each engine was, and what TensorE made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl

from ..errors import NotInProfileError
from ..profile import Profile
from ..schema import ENGINES
from .base import Answer, Shown
from .intervals import Intervals, fresh_ns
from .machine import WAIT_OPCODES, Machine, added, machine, total_ns

if TYPE_CHECKING:
    import plotly.graph_objects as go

ALL = "all"
DMA = "DMA"
BUCKETS = 100
_CORES = ("#0072B2", "#56B4E9", "#E69F00", "#009E73")
_COLUMNS = (
    "core", "engine", "active_ns", "idle_ns", "active", "stalled_ns", "useful_ns", "instruction_ns", "instructions", "flops", "transpose_flops", "mfu", "hfu",
    "transposing",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Engines(Answer):
    """Use of the engines.

    Attributes:
        rows: one row per core ("0", "1", … and "all": union over the cores of the LNC) and engine:
            active_ns: time with at least one instruction other than a semaphore wait (union).
            idle_ns: total_ns - active_ns.
            active: active_ns / total_ns.
            stalled_ns: the part of idle_ns between its first and its last instruction; null for DMA.
            useful_ns: of TensorE: flops without transposes at its peak rate, the least time for its work.
            instruction_ns: durations added up, overlapping ones twice, waits left out.
            instructions: number of instructions, waits included.
            flops, transpose_flops: TensorE's work, 2 per multiply-add.
            hfu (of TensorE): flops / (peak FLOP/s x total time); mfu: (flops - transpose_flops) / the same; peak of one core in
            a core's row, of all cores in the row "all".
            DMA has rows of its own: active_ns is the time with a packet in flight, instructions counts packets.
            transposing: share of TensorE's instruction time spent on transposes.
        over_time: active share in `BUCKETS` equal parts of the run: engine, start_ns, end_ns, active (over all cores).
        throttled: share of the run in which the throttle held TensorE below full rate; null where not recorded.
        total_ns: length of the run, ns.
        simulated: whether times are modelled.
    """

    title: ClassVar[str] = "Engines"
    shown: ClassVar[tuple[Shown, ...]] = (
        Shown("core", "core"), Shown("engine", "engine"), Shown("active_ns", "active us", "us", "time with at least one instruction other than a semaphore wait (union); of DMA, with a packet in flight"),
        Shown("active", "active", "percent", "active us / length of the run"),
        Shown("idle_ns", "idle us", "us", "length of the run - active us"),
        Shown("stalled_ns", "stalled us", "us", "the part of idle us between the engine's first and last instruction"),
        Shown("useful_ns", "useful us", "us", "FLOPs without transposes at TensorE's peak rate"),
        Shown("instruction_ns", "instructions us", "us", "durations added up, overlapping ones twice, semaphore waits left out"), Shown("instructions", "count", "count"),
        Shown("mfu", "MFU", "percent", "FLOPs without transposes / (peak FLOP/s x length of the run)"), Shown("hfu", "HFU", "percent", "all FLOPs / the same"),
        Shown("transposing", "transposing", "percent", "transposes' share of TensorE's instruction time"),
    )  # fmt: skip

    rows: pl.DataFrame
    over_time: pl.DataFrame
    throttled: float | None
    total_ns: float
    simulated: bool

    def remarks(self) -> list[str]:
        """The length of the run and whose times these are."""
        whose = "modelled" if self.simulated else "measured"
        works = self.rows.filter(pl.col("engine") == "Tensor")["active_ns"].sum()
        known = self.throttled is not None and works
        lost = self.rows.filter(
            pl.col("core") == ALL, ~pl.col("engine").is_in([*ENGINES, DMA]) | pl.col("engine").is_null()
        )
        unknown = (
            f"; {added(lost['instruction_ns']) / 1e3:,.2f} us of instructions have no known engine"
            if lost.height
            else ""
        )
        slow = f"; the throttle held TensorE below full rate for {self.throttled:.1%} of the run" if known else ""
        return [f"{self.total_ns / 1e3:,.2f} us {whose}; active leaves semaphore waits out{slow}{unknown}"]

    def figure(self) -> go.Figure:
        """Active share per engine as bars, one group per core."""
        import plotly.graph_objects as go

        from .figures import styled

        parts = self.rows.partition_by("core", maintain_order=True)
        parts = parts[1:] or parts
        bars = [
            go.Bar(name=f"core {part['core'][0]}", x=part["engine"].to_list(), y=part["active"].to_list())
            for part in parts
        ]
        axis = {"title": "active share of the run", "tickformat": ".0%", "range": [0, 1]}
        return styled(go.Figure(bars), "Engine activity", yaxis=axis, colorway=_CORES, showlegend=len(bars) > 1)


def engines(p: Profile) -> Engines:
    """Active, idle and instruction time, counts, MFU and HFU per engine, per core and over all cores.

    Raises:
        NotInProfileError: the profile has no instructions.
    """
    total = total_ns(p)
    if not p.has("Instruction") or not total:
        raise NotInProfileError(
            "engines need instructions, and this profile has none", fix="open the NTFF or the full JSON of the run"
        )
    work = _work(p)
    cores = work["pcore_idx"].drop_nulls().n_unique()
    parts = [_use(work, []), *([_use(work.drop_nulls("pcore_idx"), ["pcore_idx"])] if cores > 1 else [])]
    rows = pl.concat(parts, how="diagonal_relaxed")
    return Engines(
        rows=_finish(rows, total, machine(p)),
        over_time=_over_time(work, p.fact("first_hw_timestamp") or 0.0, total),
        throttled=_throttled(p, total),
        total_ns=total,
        simulated=p.origin.simulated,
    )


def _over_time(work: pl.DataFrame, start: float, total: float) -> pl.DataFrame:
    """Active share of each engine in equal parts of the run."""
    borders = np.linspace(start, start + total, BUCKETS + 1)
    parts = work.filter(~pl.col("waits")).drop_nulls("engine").partition_by("engine", maintain_order=True)
    buckets = [
        pl.DataFrame(
            {
                "start_ns": borders[:-1],
                "end_ns": borders[1:],
                "active": Intervals.from_frame(part).inside(borders) / np.diff(borders),
            }
        ).select(pl.lit(part["engine"][0]).alias("engine"), pl.all())
        for part in parts
    ]
    return pl.concat(buckets) if buckets else pl.DataFrame()


def _throttled(p: Profile, total: float) -> float | None:
    """Share of the run with the throttle below full rate, any core."""
    if not p.has("Throttle", "k", "n", "duration"):
        return None
    slow = p.table("Throttle").filter(pl.col("k") < pl.col("n"))
    return Intervals.of(slow["timestamp"].to_numpy(), (slow["timestamp"] + slow["duration"]).to_numpy()).measure / total


def _work(p: Profile) -> pl.DataFrame:
    """Instructions and DMA packets (engine "DMA") in one frame, semaphore waits marked."""
    waits = pl.col("opcode").is_in(WAIT_OPCODES).fill_null(value=False)
    columns = ["engine", "pcore_idx", "start_ts", "end_ts", "raw_flops", "flops_transpose", "tensor_instruction_type"]
    instructions = p.table("Instruction").select(*columns, waits=waits)
    packets = p.rows("DmaPacket" if p.has("DmaPacket") else "DmaPacketAggregated")
    dma = packets.select(pl.lit(DMA).alias("engine"), "pcore_idx", "start_ts", "end_ts", waits=pl.lit(value=False))
    return pl.concat([instructions, dma], how="diagonal").sort("start_ts")


def _use(work: pl.DataFrame, core: list[str]) -> pl.DataFrame:
    """Times and counts per engine, and per core where `core` names its column."""
    keys = [*core, "engine"]
    spent = pl.col("end_ts") - pl.col("start_ts")
    busy = work.filter(~pl.col("waits")).with_columns(fresh=fresh_ns(keys), spent=spent)
    kind = pl.col("tensor_instruction_type")
    flipped = pl.when(kind.is_not_null().any()).then(pl.col("spent").filter(kind == "TRANSPOSE").sum())
    times = busy.group_by(keys).agg(
        active_ns=pl.col("fresh").sum(),
        instruction_ns=pl.col("spent").sum(),
        transposing=flipped,
        span_ns=pl.col("end_ts").max() - pl.col("start_ts").min(),
    )
    known = pl.col("raw_flops").is_not_null().any()
    flops = [
        pl.when(known).then(pl.col(c).sum()).alias(n)
        for n, c in (("flops", "raw_flops"), ("transpose_flops", "flops_transpose"))
    ]
    counts = work.group_by(keys).agg(pl.len().cast(pl.Int64).alias("instructions"), *flops)
    name = pl.col("pcore_idx").cast(pl.String) if core else pl.lit(ALL)
    return counts.join(times, on=keys, how="left", nulls_equal=True).with_columns(core=name)


def _finish(rows: pl.DataFrame, total: float, of: Machine) -> pl.DataFrame:
    """Shares of the run and of the peak; engines in the usual order."""
    active = pl.col("active_ns").fill_null(0.0)
    cores = pl.when(pl.col("core") == ALL).then(of.cores).otherwise(1)
    peak = None if of.core_flops is None else of.core_flops * total * 1e-9
    order = {name: rank for rank, name in enumerate((*ENGINES, DMA))}
    multiplies = pl.col("engine") == "Tensor"
    useful = pl.col("flops") - pl.col("transpose_flops").fill_null(0)
    return (
        rows.with_columns(
            active_ns=active,
            instruction_ns=pl.col("instruction_ns").fill_null(0.0),
            idle_ns=total - active,
            active=active / total,
            stalled_ns=pl.when(pl.col("engine") != DMA).then(pl.col("span_ns") - active),
            useful_ns=pl.when(multiplies).then(useful / (of.core_flops * cores) * 1e9) if of.core_flops else None,
            transposing=pl.when(pl.col("engine") == "Tensor").then(pl.col("transposing") / pl.col("instruction_ns")),
            hfu=pl.when(multiplies).then(pl.col("flops") / (peak * cores)) if peak else None,
            mfu=pl.when(multiplies).then(useful / (peak * cores)) if peak else None,
            rank=pl.col("engine").replace_strict(order, default=len(order), return_dtype=pl.Int64),
        )
        .sort(pl.col("core") != ALL, "core", "rank", "engine")
        .select(*_COLUMNS)
    )
