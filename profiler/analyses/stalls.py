"""`stalls`: every gap of every engine, and what it waited for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import polars as pl

from ..errors import NotInProfileError
from ..profile import Profile
from ..schema import ENGINES
from .base import Answer, Shown
from .causes import blamed
from .critical import critical_path
from .intervals import fresh_ns
from .machine import added, total_ns, working

if TYPE_CHECKING:
    import plotly.graph_objects as go

STALLED = ("dma", "dependence", "semaphore", "barrier", "issue", "dispatch", "unknown")
IDLE = ("before first", "after last")
CAUSES = {
    "active": "Tensor", "dma": "DMA", "dependence": "Other", "semaphore": "Sync", "barrier": "Host",
    "issue": "Tensor: weights and transposes", "dispatch": "Full rate", "unknown": "Throttled",
}  # fmt: skip
"""Class of the palette by which views show each cause; idle time is left empty."""
_ENGINE = ["pcore_idx", "engine"]


@dataclass(frozen=True, slots=True)
class Stalls(Answer):
    """Where engines stood still.

    Active time (union of instructions other than semaphore waits) and the gaps between them are all of an engine's
    time. A gap belongs to the instruction that ends it and has one of these causes:
    dma (a transfer or its queue's semaphore), dependence (an instruction that ended inside the gap), semaphore (of an
    engine, named in the operands), barrier (the runtime's semaphores), issue
    (preparing a DMA, at most `causes.ISSUE_NS`), dispatch (at most `causes.DISPATCH_NS`, the
    hand-over from one instruction to the next), unknown; before first and after last are idle, not stalled.

    Attributes:
        rows: core, engine, cause, stall_ns, gaps, share (of the run): active time is a row with cause "active".
        gaps: every gap: pcore_idx, engine, id and file, line, opcode of the instruction that suffered, start_ts, end_ts,
            gap_ns, cause, by (engine or queue waited for), cause_file, cause_line.
        by_line: cause_file, cause_line, caused_ns: stalls that a source line caused on any engine, most first.
        path: the critical path: instructions and transfers from the end of the run back to its start, each the latest
            that its successor waited for; empty where the profile has no dependences.
        path_ns: its length, first start to last end, ns; null without a path.
        explained: share of stalled time whose cause is known.
        simulated: whether times are modelled.
    """

    title: ClassVar[str] = "Stalls"
    shown: ClassVar[tuple[Shown, ...]] = (
        Shown("core", "core"), Shown("engine", "engine"),
        Shown("cause", "cause", "text", "what the instruction that ends the gap waited for; active, all causes and idle (before first, after last) are 100 % of an engine's time"),
        Shown("stall_ns", "us", "us"),
        Shown("share", "of the run", "percent"), Shown("gaps", "gaps", "count"),
    )  # fmt: skip
    most: ClassVar[int] = 100

    rows: pl.DataFrame
    gaps: pl.DataFrame
    by_line: pl.DataFrame
    path: pl.DataFrame
    path_ns: float | None
    explained: float | None
    simulated: bool

    def figure(self) -> go.Figure:
        """All of each engine's time by cause as stacked bars."""
        from .figures import shares

        return shares(self.rows.with_columns(label=pl.concat_str("engine", pl.lit(" "), "core")), CAUSES)

    def remarks(self) -> list[str]:
        """How much of the stalled time has a cause."""
        share = "" if self.explained is None else f"{self.explained:.1%} of stalled time has a known cause"
        path = (
            "" if self.path_ns is None else f"critical path {self.path_ns / 1e3:,.2f} us over {self.path.height} steps"
        )
        return [line for line in (share, path) if line]


def stalls(p: Profile) -> Stalls:
    """Gaps per engine with their causes, summed by cause and by the line that caused them; the critical path.

    Raises:
        NotInProfileError: the profile has no instructions.
    """
    total = total_ns(p)
    if not p.has("Instruction") or not total:
        raise NotInProfileError(
            "stalls need instructions, and this profile has none", fix="open the NTFF or the full JSON of the run"
        )
    start = p.fact("first_hw_timestamp") or 0.0
    gaps = blamed(p, _gaps(p, start))
    ends = _ends(p, start + total)
    rows = pl.concat([_active(p), _summed(gaps), _summed(ends)]).with_columns(share=pl.col("stall_ns") / total)
    order = {cause: rank for rank, cause in enumerate(("active", *STALLED, *IDLE))}
    rank = pl.col("cause").replace_strict(order, return_dtype=pl.Int64)
    engine = pl.col("engine").replace_strict({name: k for k, name in enumerate(ENGINES)}, default=len(ENGINES))
    path = critical_path(p)
    stalled = added(rows.filter(pl.col("cause").is_in(STALLED))["stall_ns"])
    unknown = added(rows.filter(pl.col("cause") == "unknown")["stall_ns"])
    return Stalls(
        rows=rows.sort("core", engine, "engine", rank),
        gaps=pl.concat([gaps, ends], how="diagonal").sort("start_ts"),
        by_line=_by_line(gaps),
        path=path,
        path_ns=float(path["end_ts"][-1] - path["start_ts"][0]) if path.height else None,
        explained=1 - unknown / stalled if stalled else None,
        simulated=p.origin.simulated,
    )


def stalled(p: Profile) -> pl.DataFrame:
    """The rows of `Stalls.gaps` in which an engine stands still between two of its instructions."""
    gaps = blamed(p, _gaps(p, p.fact("first_hw_timestamp") or 0.0))
    return gaps.filter(pl.col("cause").is_in(STALLED)).sort("start_ts", "engine", "id")


def _gaps(p: Profile, start: float) -> pl.DataFrame:
    """Gaps in front of an instruction; those before an engine's first one are "before first"."""
    rows = working(p).with_columns(pl.col("pcore_idx").fill_null(0)).sort(*_ENGINE, "start_ts")
    reached = pl.col("end_ts").cum_max().shift(1).over(_ENGINE)
    return (
        rows.with_columns(
            cause=pl.when(reached.is_null()).then(pl.lit("before first")), gap_start=reached.fill_null(start)
        )
        .with_columns(gap_ns=pl.col("start_ts") - pl.col("gap_start"))
        .filter(pl.col("gap_ns") > 0)
        .select(
            *_ENGINE,
            "id",
            "opcode",
            "operands",
            "file",
            "line",
            "cause",
            "gap_ns",
            start_ts="gap_start",
            end_ts="start_ts",
        )
    )


def _ends(p: Profile, end: float) -> pl.DataFrame:
    """From each engine's last instruction to the end of the run."""
    rows = (
        working(p).with_columns(pl.col("pcore_idx").fill_null(0)).group_by(_ENGINE).agg(start_ts=pl.col("end_ts").max())
    )
    gap = pl.max_horizontal(pl.lit(end) - pl.col("start_ts"), pl.lit(0.0))
    return rows.with_columns(end_ts=pl.lit(end), gap_ns=gap, cause=pl.lit("after last")).filter(pl.col("gap_ns") > 0)


def _active(p: Profile) -> pl.DataFrame:
    """Active time per engine as rows of the account."""
    rows = working(p).with_columns(pl.col("pcore_idx").fill_null(0)).with_columns(fresh=fresh_ns(_ENGINE))
    sums = rows.group_by(_ENGINE).agg(stall_ns=pl.col("fresh").sum(), gaps=pl.lit(None, pl.Int64))
    return sums.select(
        core=pl.col("pcore_idx").cast(pl.String),
        engine="engine",
        cause=pl.lit("active"),
        stall_ns="stall_ns",
        gaps="gaps",
    )


def _summed(gaps: pl.DataFrame) -> pl.DataFrame:
    """Gaps added up by engine and cause."""
    sums = gaps.group_by(*_ENGINE, "cause").agg(stall_ns=pl.col("gap_ns").sum(), gaps=pl.len().cast(pl.Int64))
    return sums.select(
        core=pl.col("pcore_idx").cast(pl.String), engine="engine", cause="cause", stall_ns="stall_ns", gaps="gaps"
    )


def _by_line(gaps: pl.DataFrame) -> pl.DataFrame:
    """Stalls by the line that caused them."""
    known = gaps.filter(pl.col("cause").is_in(STALLED)).drop_nulls("cause_line")
    sums = known.group_by("cause_file", "cause_line").agg(
        caused_ns=pl.col("gap_ns").sum(), gaps=pl.len().cast(pl.Int64)
    )
    return sums.sort("caused_ns", "cause_file", "cause_line", descending=[True, False, False])
