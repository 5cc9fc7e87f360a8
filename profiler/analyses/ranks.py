"""Across ranks: who comes late to which collective, who holds up the others, how much communication is hidden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl

from ..errors import NotInProfileError
from ..profile import Profile
from .arrivals import aligned, arrivals
from .base import Answer, Shown
from .machine import total_ns, working
from .overlap import COMPUTE, compute_intervals

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ..fleet import Fleet

SLOW = 1.05
"""Without collectives, a rank whose compute takes this many times the middle rank's is a straggler."""
WORTH = 0.01
"""A rank that holds up the others for less than this share of the run is not named."""


@dataclass(frozen=True, slots=True)
class Skew(Answer):
    """How far apart the ranks come to each collective.

    Attributes:
        rows: one row per collective operation that several ranks share, in order of time: operation, stream, group
            (its ranks), position (in the stream of the group, from 0), ranks, at_ns (first arrival), skew_ns (last
            arrival - first), held_ns (last - second to last: what the last rank alone costs the others), last_rank (null where all come together),
            waited_ns (added up over ranks: last arrival - own).
        arrivals: one row per rank and operation: rank, operation, stream, group, position, arrival_ns, end_ns, late_ns (own
            arrival - first).
        clock: how the ranks' clocks were brought together: "shared" (simulated: one clock), or "ends" (shifted so that a
            rank's collectives end when those of the lowest rank of its group do, in the median).
        simulated: whether times are modelled.

    An arrival is the moment a rank triggers the operation (trigger_start_ts), else the start of the operation; in a simulated
    run the end of what the trigger waited for in its own rank.
    """

    title: ClassVar[str] = "Skew"
    shown: ClassVar[tuple[Shown, ...]] = (
        Shown("operation", "operation"), Shown("stream", "stream"), Shown("position", "number"), Shown("ranks", "ranks", "count"),
        Shown("at_ns", "at us", "us"), Shown("skew_ns", "skew us", "us"), Shown("last_rank", "last rank"),
        Shown("held_ns", "it alone us", "us"),
    )  # fmt: skip

    rows: pl.DataFrame
    arrivals: pl.DataFrame
    clock: str
    simulated: bool

    def remarks(self) -> list[str]:
        """The widest skew and how clocks were aligned."""
        if self.rows.is_empty():
            return ["no collective is shared by several ranks"]
        worst = self.rows.sort("skew_ns", descending=True).row(0, named=True)
        if not worst["skew_ns"]:
            return ["all ranks come to their collectives together"]
        said = f"widest: {worst['skew_ns'] / 1e3:,.2f} us at {worst['operation']} {worst['position']}, rank {worst['last_rank']} last"
        return [said] + (["clocks are aligned on the ends of collectives"] if self.clock == "ends" else [])

    def figure(self) -> go.Figure:
        """Lateness of every rank at every collective."""
        from .figures import heat

        late = self.arrivals.with_columns(late_us=pl.col("late_ns") / 1e3)
        return heat(late, x="position", y="rank", value="late_us", title="Lateness at collectives, us")


@dataclass(frozen=True, slots=True)
class Stragglers(Answer):
    """Which ranks the others wait for.

    Attributes:
        rows: one row per rank, the one that costs most first: rank, straggler (see below), held_ns (time by which it
            alone held up others at collectives), last (collectives at which it came last), collectives (that it shares),
            total_ns, compute_ns (time with a compute engine active), slower (compute_ns / that of the middle rank),
            engine (the compute engine that took longest compared with the middle rank), engine_slower (that ratio).
            A rank is a straggler if it held up the others for at least `WORTH` of the run and for half of the time by which any
            rank did; without collectives, if slower is at least `SLOW`.
        simulated: whether times are modelled.
    """

    title: ClassVar[str] = "Ranks"
    shown: ClassVar[tuple[Shown, ...]] = (
        Shown("rank", "rank"), Shown("note", ""), Shown("held_ns", "holds up us", "us"), Shown("last", "last", "count"),
        Shown("collectives", "of", "count"), Shown("total_ns", "total us", "us"), Shown("compute_ns", "compute us", "us"),
        Shown("slower", "x middle", "number"), Shown("engine", "most on"), Shown("engine_slower", "x middle", "number"),
    )  # fmt: skip

    rows: pl.DataFrame
    simulated: bool

    @property
    def named(self) -> tuple[int, ...]:
        """The stragglers, worst first."""
        return tuple(self.rows.filter("straggler")["rank"].to_list())

    def printed(self) -> pl.DataFrame:
        """The rows with a word for stragglers."""
        own = pl.when(pl.col("engine_slower") > 1)
        return self.rows.with_columns(
            pl.col("slower").round(3),
            own.then(pl.col("engine_slower").round(3)),
            own.then("engine"),
            note=pl.when("straggler").then(pl.lit("straggler")),
        )

    def remarks(self) -> list[str]:
        """The names, or that there is none."""
        if not self.named:
            return ["no rank holds up the others"]
        rows = self.rows.filter("straggler").head(3).to_dicts()
        return [_sentence(row) for row in rows]


def _sentence(row: dict[str, Any]) -> str:
    """What is known of one straggler: ratios are null where the middle rank computes nothing."""
    parts = []
    if row["slower"] is not None:
        most = (
            f", most on {row['engine']} ({row['engine_slower']:.2f} times)" if row["engine_slower"] is not None else ""
        )
        parts.append(f"computes {row['slower']:.2f} times as long as the middle rank{most}")
    if row["held_ns"]:
        parts.append(f"holds up the others for {row['held_ns'] / 1e3:,.2f} us")
    return f"rank {row['rank']} " + (" and ".join(parts) or "is a straggler")


@dataclass(frozen=True, slots=True)
class RankOverlap(Answer):
    """`overlap` of every rank.

    Attributes:
        rows: rank and the rows of `overlap`.
        operations: rank and the rows of its `overlap().operations`: one per collective.
        simulated: whether times are modelled.
    """

    title: ClassVar[str] = "Overlap by rank"
    shown: ClassVar[tuple[Shown, ...]] = (
        Shown("rank", "rank"), Shown("kind", "kind"), Shown("active_ns", "active us", "us"), Shown("share", "of the run", "percent"),
        Shown("hidden_ns", "behind compute us", "us"), Shown("exposed_ns", "exposed us", "us"), Shown("hidden", "hidden", "percent"),
    )  # fmt: skip

    rows: pl.DataFrame
    operations: pl.DataFrame
    simulated: bool

    def figure(self) -> go.Figure:
        """Compute, exposed collectives and the rest of every rank as stacked bars."""
        from .figures import rank_bars

        return rank_bars(self.rows)


def skew(fleet: Fleet) -> Skew:
    """Arrivals of all ranks at the collectives that they share.

    Raises:
        NotInProfileError: no rank has a collective.
    """
    found = fleet.each(lambda p: (arrivals(p), p.origin.simulated))
    simulated = all(modelled for _, modelled in found.values())
    each, clock = aligned({rank: rows for rank, (rows, _) in found.items()}, shared=simulated)
    if each.is_empty():
        raise NotInProfileError("no rank of this fleet has a collective")
    return Skew(*_spread(each), clock, simulated)


_OPERATION = ["stream", "group", "position"]


def _spread(each: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Operations that ranks share, and arrivals with their lateness."""
    first = pl.col("arrival_ns").min()
    late = each.with_columns(late_ns=pl.col("arrival_ns") - first.over(_OPERATION))
    ordered = late.sort("arrival_ns", "rank")
    rows = ordered.group_by(_OPERATION, maintain_order=True).agg(
        pl.col("operation").first(),
        ranks=pl.len().cast(pl.Int64),
        at_ns=pl.col("arrival_ns").first(),
        skew_ns=pl.col("late_ns").last(),
        held_ns=pl.col("arrival_ns").last() - pl.col("arrival_ns").shift(1).last(),
        last_rank=pl.when(pl.col("late_ns").last() > 0).then(pl.col("rank").last()),
        waited_ns=(pl.col("arrival_ns").max() - pl.col("arrival_ns")).sum(),
    )
    shared = rows.filter(pl.col("ranks") > 1).sort("at_ns", *_OPERATION)
    return shared.select(
        "operation", *_OPERATION, "ranks", "at_ns", "skew_ns", "held_ns", "last_rank", "waited_ns"
    ), late


def stragglers(fleet: Fleet) -> Stragglers:
    """Ranks by how long they hold up the others, with the engine that is slow.

    Raises:
        NotInProfileError: no rank has instructions.
    """
    found = fleet.each(lambda p: (arrivals(p), _work(p), p.origin.simulated))
    work = pl.DataFrame([{"rank": rank, **mine} for rank, (_, mine, _) in found.items() if mine])
    if work.is_empty():
        raise NotInProfileError("no rank of this fleet has instructions")
    simulated = all(modelled for *_, modelled in found.values())
    each, _ = aligned({rank: rows for rank, (rows, *_) in found.items()}, shared=simulated)
    rows = (
        _slower(work)
        .join(_held(each), on="rank", how="left")
        .with_columns(pl.col("held_ns").fill_null(0.0), pl.col("last", "collectives").fill_null(0))
    )
    late = (pl.col("held_ns") >= WORTH * pl.col("total_ns")) & (2 * pl.col("held_ns") >= pl.col("held_ns").sum())
    named = pl.when(pl.col("collectives") > 0).then(late).otherwise(pl.col("slower") >= SLOW)
    columns = (
        "rank",
        "straggler",
        "held_ns",
        "last",
        "collectives",
        "total_ns",
        "compute_ns",
        "slower",
        "engine",
        "engine_slower",
    )
    ordered = rows.with_columns(straggler=named.fill_null(value=False)).sort(
        "held_ns", "slower", descending=True, nulls_last=True
    )
    return Stragglers(ordered.select(columns), simulated)


def _work(p: Profile) -> dict[str, float | None]:
    """Length, compute time and time per compute engine of one rank; nothing without instructions."""
    if not p.has("Instruction"):
        return {}
    spent = working(p).group_by("engine").agg(ns=(pl.col("end_ts") - pl.col("start_ts")).sum())
    engines = dict(spent.rows())
    return {
        "total_ns": total_ns(p),
        "compute_ns": compute_intervals(p).measure,
        **{name: float(engines.get(name, 0.0)) for name in COMPUTE},
    }


def _slower(work: pl.DataFrame) -> pl.DataFrame:
    """Each rank against the middle one, and the engine with most time above the middle rank's."""
    middle = work.select(pl.col("compute_ns", *COMPUTE).quantile(0.5, "lower")).row(0, named=True)
    above = [(pl.col(name) - middle[name]).alias(f"above_{name}") for name in COMPUTE]
    most = pl.concat_list([f"above_{name}" for name in COMPUTE]).list.arg_max().cast(pl.Int64)
    names = dict(enumerate(COMPUTE))
    engine = work.with_columns(above).with_columns(engine=most.replace_strict(names, return_dtype=pl.String))
    ratio = pl.coalesce(
        pl.when((pl.col("engine") == name) & (middle[name] > 0)).then(pl.col(name) / (middle[name] or 1.0))
        for name in COMPUTE
    )
    slower = pl.when(middle["compute_ns"] > 0).then(pl.col("compute_ns") / (middle["compute_ns"] or 1.0))
    return engine.with_columns(engine_slower=ratio, slower=slower)


def _held(each: pl.DataFrame) -> pl.DataFrame:
    """Per rank: collectives it shares, how often it came last, and how long it alone held up the others."""
    if each.is_empty():
        return pl.DataFrame(schema={"rank": pl.Int64, "held_ns": pl.Float64, "last": pl.Int64, "collectives": pl.Int64})
    rows, late = _spread(each)
    shared = late.join(rows.select(_OPERATION), on=_OPERATION, how="semi")
    counted = shared.group_by("rank").agg(collectives=pl.len().cast(pl.Int64))
    wide = rows.filter(pl.col("skew_ns") > 0)
    last = wide.group_by(rank="last_rank").agg(held_ns=pl.col("held_ns").sum(), last=pl.len().cast(pl.Int64))
    return counted.join(last, on="rank", how="left")


def rank_overlap(fleet: Fleet) -> RankOverlap:
    """Active, hidden and exposed time of every rank.

    Raises:
        NotInProfileError: a rank has no instructions.
    """
    found = fleet.each(lambda p: p.overlap())
    rank = {number: pl.lit(number, pl.Int64).alias("rank") for number in found}
    rows = pl.concat([answer.rows.select(rank[n], pl.all()) for n, answer in found.items()])
    operations = pl.concat([answer.operations.select(rank[n], pl.all()) for n, answer in found.items()])
    return RankOverlap(rows, operations, all(answer.simulated for answer in found.values()))
