"""`lines`: what each line of the kernel's source cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import polars as pl

from ..errors import NotInProfileError
from ..profile import Profile
from ..schema import ENGINES
from .base import Answer, Shown
from .fused import located, part
from .intervals import fresh_ns
from .loops import loops
from .machine import WAIT_OPCODES, total_ns
from .stalls import stalled

if TYPE_CHECKING:
    import plotly.graph_objects as go

_KEYS = ["file", "line"]
_SUMS = (
    "raw_flops",
    "hbm_read_bytes",
    "hbm_write_bytes",
    "sbuf_read_bytes",
    "sbuf_write_bytes",
    "psum_read_bytes",
    "psum_write_bytes",
)
NO_SOURCE = "(no source)"


@dataclass(frozen=True, slots=True)
class Lines(Answer):
    """Cost per source line.

    Attributes:
        rows: one row per file and line, most expensive first; one with file null for work without a source line:
            function, source (the line's text where the profile carries it),
            instruction_ns: durations of the line's instructions added up over engines, semaphore waits left out; an
            instruction that the compiler fused from several lines is shared among them in equal parts,
            fused_ns: the part of instruction_ns that is such shares (null where the profile has no fused instructions),
            active_ns: time in which at least one of them ran (union over engines and cores; fused ones in full),
            share: instruction_ns / that of all rows,
            instructions: number that serve the line, waits included; fused ones count in each of their lines,
            <engine>_ns: the part of instruction_ns on each engine,
            dma_ns, dma_bytes: time with one of the line's DMA transfers in flight (union), bytes they moved,
            stall_caused_ns: stalls of any engine that waited for the line (see `stalls`),
            stall_suffered_ns: gaps in front of the line's own instructions,
            raw_flops and the byte columns of Instruction: sums, shared like the time.
        attributed: share of all instruction time that has a source line, 0 to 1.
        fused: share of all instruction time in instructions of several lines, 0 to 1.
        why: why the rest has none.
        loops: time per iteration of each loop, see `analyses.loops`.
        total_ns: length of the run, ns (null where unknown).
        simulated: whether times are modelled.
    """

    title: ClassVar[str] = "Source lines"
    shown: ClassVar[tuple[Shown, ...]] = (
        Shown("where", "line"),
        Shown("instruction_ns", "time us", "us", "durations of the line's instructions added up over engines, semaphore waits left out"),
        Shown("share", "share", "percent"),
        Shown("fused_ns", "fused us", "us", "of that, the line's equal shares in instructions that the compiler made of several lines"),
        Shown("instructions", "count", "count"),
        *(Shown(f"{name.lower()}_ns", name, "us") for name in ENGINES),
        Shown("stall_caused_ns", "caused us", "us", "stalls of any engine that waited for the line"),
        Shown("stall_suffered_ns", "waits us", "us", "gaps in front of the line's own instructions"),
        Shown("dma_ns", "DMA us", "us", "time with one of the line's transfers in flight"), Shown("dma_bytes", "DMA", "bytes"), Shown("source", "source", "code"),
    )  # fmt: skip

    rows: pl.DataFrame
    attributed: float
    fused: float
    why: str
    loops: pl.DataFrame
    total_ns: float | None
    simulated: bool

    def remarks(self) -> list[str]:
        """The attributed share and why the rest has no line."""
        several = f"; {self.fused:.1%} is in instructions of several lines, shared equally" if self.fused else ""
        return [
            f"{self.attributed:.1%} of instruction time has a source line{several}{'; ' + self.why if self.why else ''}"
        ]

    def printed(self) -> pl.DataFrame:
        """Rows with file name and line in one column, without engines that no line uses."""
        name = pl.col("file").str.split("/").list.last()
        where = (
            pl.when(pl.col("file").is_null())
            .then(pl.lit(NO_SOURCE))
            .otherwise(name + ":" + pl.col("line").cast(pl.String))
        )
        idle = [f"{name.lower()}_ns" for name in ENGINES if not float(self.rows[f"{name.lower()}_ns"].sum() or 0.0)]
        return self.rows.with_columns(pl.lit(None, pl.Float64).alias(name) for name in idle).with_columns(
            where=where, source=pl.col("source").str.strip_chars()
        )

    def files(self) -> list[str]:
        """Source files with time, most expensive first."""
        return (
            self.rows.drop_nulls("file")
            .group_by("file")
            .agg(pl.col("instruction_ns").sum())
            .sort("instruction_ns", descending=True)["file"]
            .to_list()
        )

    def functions(self) -> pl.DataFrame:
        """The rows added up per function: file, function, instruction_ns, instructions, share."""
        keys = ["file", "function"]
        sums = self.rows.group_by(keys).agg(pl.col("instruction_ns", "instructions", "share").sum())
        return sums.sort("instruction_ns", "function", descending=[True, False])

    def figure(self) -> go.Figure:
        """Time per line as stacked bars, one colour per engine."""
        from .figures import stacked

        parts = [(f"{name.lower()}_ns", name, name) for name in ENGINES]
        return stacked(self.printed().head(30).reverse(), "where", parts, "Time per source line, us")


def lines(p: Profile) -> Lines:
    """Time, instructions, engines, bytes and FLOPs per source line.

    Raises:
        NotInProfileError: the profile has no instructions.
    """
    if not p.has("Instruction"):
        raise NotInProfileError(
            "lines need instructions, and this profile has none", fix="open the NTFF or the full JSON of the run"
        )
    rows = _instructions(p).join(_dma(p), on=_KEYS, how="full", coalesce=True, nulls_equal=True)
    spent = float(rows["instruction_ns"].sum())
    found = float(rows.drop_nulls("file")["instruction_ns"].sum())
    shares = rows.with_columns(share=pl.col("instruction_ns") / spent if spent else pl.lit(None, pl.Float64))
    sourced = _with_stalls(shares, p).join(_texts(p), on=_KEYS, how="left")
    ordered = sourced.sort(
        pl.col("file").is_null(), pl.col("instruction_ns"), "file", "line", descending=[False, True, False, False]
    )
    fused = float(rows["fused_ns"].sum())
    return Lines(
        rows=ordered if fused else ordered.with_columns(fused_ns=pl.lit(None, pl.Float64)),
        attributed=found / spent if spent else 0.0,
        fused=fused / spent if spent else 0.0,
        why=_why(p, found, spent),
        loops=loops(p),
        total_ns=total_ns(p),
        simulated=p.origin.simulated,
    )


def _instructions(p: Profile) -> pl.DataFrame:
    """Instructions per line."""
    waits = pl.col("opcode").is_in(WAIT_OPCODES).fill_null(value=False)
    spent = pl.when(waits).then(0.0).otherwise((pl.col("end_ts") - pl.col("start_ts")) / pl.col("lines"))
    table = located(p.table("Instruction")).sort("start_ts")
    active = (
        table.filter(~waits).with_columns(fresh=fresh_ns(_KEYS)).group_by(_KEYS).agg(active_ns=pl.col("fresh").sum())
    )
    per_engine = [
        pl.col("spent").filter(pl.col("engine") == name).sum().alias(f"{name.lower()}_ns") for name in ENGINES
    ]
    sums = [pl.when(pl.col(c).is_not_null().any()).then(part(c).sum()).alias(c) for c in _SUMS]
    counted = (
        table.with_columns(spent=spent)
        .group_by(_KEYS)
        .agg(
            pl.col("function").drop_nulls().first(),
            pl.col("spent").sum().alias("instruction_ns"),
            pl.col("spent").filter(pl.col("lines") > 1).sum().alias("fused_ns"),
            pl.len().cast(pl.Int64).alias("instructions"),
            *per_engine,
            *sums,
        )
    )
    return counted.join(active, on=_KEYS, how="left", nulls_equal=True).with_columns(pl.col("active_ns").fill_null(0.0))


def _dma(p: Profile) -> pl.DataFrame:
    """DMA transfers per line of the instruction that issued them; nothing where the source does not say which did."""
    if not p.has("DmaPacketAggregated", "instruction_id"):
        return pl.DataFrame(schema={"file": pl.String, "line": pl.Int64, "dma_ns": pl.Float64, "dma_bytes": pl.Int64})
    where = p.table("Instruction").select(pl.col("id").alias("instruction_id"), *_KEYS).unique("instruction_id")
    moved = p.table("DmaPacketAggregated").join(where, on="instruction_id", how="left").sort("start_ts")
    return (
        moved.with_columns(fresh=fresh_ns(_KEYS))
        .group_by(_KEYS)
        .agg(dma_ns=pl.col("fresh").sum(), dma_bytes=pl.col("transfer_bytes").sum())
    )


def _with_stalls(rows: pl.DataFrame, p: Profile) -> pl.DataFrame:
    """Stalls that each line caused and suffered; 0 where the analysis finds none, null without a line."""
    gaps = stalled(p)
    places = located(p.table("Instruction")).unique(["id", "nth"], keep="first", maintain_order=True)
    places = places.select("id", *_KEYS, "lines")
    share = pl.col("gap_ns") / pl.col("lines").fill_null(1)
    by_cause = gaps.join(places, left_on="cause_id", right_on="id", how="left", maintain_order="left")
    caused = by_cause.group_by(
        file=pl.coalesce("file_right", "cause_file"), line=pl.coalesce("line_right", "cause_line"), maintain_order=True
    ).agg(stall_caused_ns=share.sum())
    own_places = gaps.drop(_KEYS).join(places, on="id", how="left", maintain_order="left")
    suffered = own_places.group_by(_KEYS, maintain_order=True).agg(stall_suffered_ns=share.sum())
    joined = rows.join(caused.drop_nulls(_KEYS), on=_KEYS, how="left").join(
        suffered.drop_nulls(_KEYS), on=_KEYS, how="left"
    )
    own = pl.when(pl.col("line").is_not_null())
    return joined.with_columns(own.then(pl.col("stall_caused_ns", "stall_suffered_ns").fill_null(0.0)))


def _texts(p: Profile) -> pl.DataFrame:
    """The text of every line of the sources that the profile carries."""
    split = p.rows("Source").select("file", pl.col("text").str.split("\n").alias("source"))
    numbered = split.with_columns(line=pl.int_ranges(1, pl.col("source").list.len() + 1)).explode("source", "line")
    return numbered.select("file", "line", "source").unique(_KEYS, keep="first")


def _why(p: Profile, found: float, spent: float) -> str:
    """Why some instructions have no line."""
    if found >= spent:
        return ""
    if found:
        return "the rest is the runtime's and the compiler's own code (prologue, queues, semaphores), which has no source line"
    if p.origin.kind == "ntff":
        return "no debug info in the NEFF, or no NEFF: compile with NKI_DEBUG_INFO=True or NEURON_FRAMEWORK_DEBUG=1 and profile again"
    return "the source has none: compile with NKI_DEBUG_INFO=True or NEURON_FRAMEWORK_DEBUG=1 and profile again"
