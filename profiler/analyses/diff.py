"""`diff`: what changed between two runs and what it cost; a gate for continuous integration."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import polars as pl

from nkilab.errors import UsageError

from ..profile import Profile
from .base import Answer, Shown
from .bounds import bounds
from .computed import computed
from .machine import total_ns, working
from .readings import recorded

if TYPE_CHECKING:
    import plotly.graph_objects as go

BY = ("line", "function", "engine", "opcode", "collective")
_GATE = re.compile(r"^\s*([a-z][a-z0-9_]*)\s*(>|<|>=|<=)\s*([+-]?\d+(?:\.\d+)?)\s*(%?)\s*$")


@dataclass(frozen=True, slots=True)
class Diff(Answer):
    """Two runs side by side; "a" is before, "b" after.

    Attributes:
        rows: by (line, function, engine, opcode, collective), key, a_ns, b_ns (instruction time, semaphore waits left
            out; 0 where only the other run has the key), delta_ns, a_count, b_count; largest change first within each.
        metrics: metric, a, b, delta, relative (delta / a): metrics of `summary` that both runs have.
        losses: where the runs' lengths lie, by the ladder of `bounds`: loss, a_ns, b_ns, delta_ns. The parts of each run add up
            to its length: "launch" (measured - body), "stalls" (body - no stalls), "reloads", "DMA below peak" (no reloads -
            ideal DMA), "TensorE below peak" (ideal DMA - ideal TensorE), "ideal" (the last step). Where a profile does not determine a
            step, its loss is 0 and counted in the next. Empty where a profile has no instructions.
        recorded: per table that both runs recorded, and for total and active times: table, a, b (rows), equal (to the
            nanosecond), odd (what only one has, as text). See `readings.recorded`.
        a_total_ns, b_total_ns: lengths of the runs, ns.
    """

    title: ClassVar[str] = "Difference"
    shown: ClassVar[tuple[Shown, ...]] = (
        Shown("by", "by"), Shown("key", "what"), Shown("a_ns", "before us", "us", "instruction time: durations added up, semaphore waits left out"), Shown("b_ns", "after us", "us"),
        Shown("delta_ns", "change us", "us"), Shown("a_count", "before", "count"), Shown("b_count", "after", "count"),
    )  # fmt: skip

    rows: pl.DataFrame
    metrics: pl.DataFrame
    losses: pl.DataFrame
    recorded: pl.DataFrame
    a_total_ns: float
    b_total_ns: float

    @property
    def same_run(self) -> bool:
        """Whether every table that both recorded is equal: two readings of one run."""
        return self.recorded.height > 0 and bool(self.recorded["equal"].all())

    def remarks(self) -> list[str]:
        """What moved, in one paragraph."""
        if self.same_run:
            counts = ", ".join(f"{rows:,} rows of {name}" for name, rows in self.recorded.select("table", "a").rows())
            return [f"the same run: {counts} are equal to the nanosecond"]
        change = self.b_total_ns - self.a_total_ns
        words = f"{self.a_total_ns / 1e3:,.2f} us before, {self.b_total_ns / 1e3:,.2f} us after: {change / 1e3:+,.2f} us ({change / self.a_total_ns:+.1%})"
        best = "line" if "line" in self.rows["by"] else "engine"
        moved = self.rows.filter(pl.col("by") == best, pl.col("delta_ns").abs() > 0).head(3)
        parts = [f"{key} {delta / 1e3:+,.2f} us" for key, delta in moved.select("key", "delta_ns").rows()]
        size = pl.col("delta_ns").abs()
        where = self.losses.filter(size > 0.01 * abs(change)).sort(size, descending=True)
        lost = [
            f"{loss} {delta / 1e3:+,.2f} us" for loss, delta in where.head(3).select("loss", "delta_ns").iter_rows()
        ]
        because = f", of it {', '.join(lost)}" if lost else ""
        return [
            words + because + (f"; instruction time moved most in {', '.join(parts)}" if parts else ""),
            *self._unlike(),
        ]

    def _unlike(self) -> list[str]:
        """Of two readings of one run: the tables that are not alike."""
        rest = self.recorded.filter(~pl.col("equal"))
        if rest.height == self.recorded.height:
            return []
        words = "; ".join(
            f"{name} ({a:,} and {b:,} rows{': ' + odd if odd else ''})"
            for name, a, b, odd in rest.select("table", "a", "b", "odd").rows()
        )
        same = self.recorded.filter("equal")
        equal = ", ".join(f"{rows:,} rows of {name}" for name, rows in same.select("table", "a").rows())
        return [f"two readings of one run: {equal} are equal to the nanosecond; unlike in {words}"]

    def printed(self) -> pl.DataFrame:
        """The ten largest changes of each kind."""
        return self.rows.filter(pl.col("delta_ns") != 0).group_by("by", maintain_order=True).head(10)

    def broken(self, rule: str) -> str | None:
        """Whether this change breaks a rule such as "total_us>+5%" or "hbm_read_bytes>1000000".

        A signed number or a percentage is a change against the run before, a plain one a limit for the run after. The
        name is a metric of `summary`, or total_us.

        Returns:
            The sentence that says how it is broken, None where it holds.

        Raises:
            UsageError: a rule that is not understood, or a metric that not both runs have.
        """
        match = _GATE.match(rule)
        if match is None:
            raise UsageError(f"fail-if: {rule!r} is not understood", rule="metric>+5%, metric>+10, metric>100 (or <)")
        name, sign, number, percent = match.groups()
        before, after = self._pair(name)
        relative = bool(percent) or number[0] in "+-"
        limit = before * (1 + float(number) / 100) if percent else (before if relative else 0.0) + float(number)
        worse = after > limit if sign[0] == ">" else after < limit
        if not worse and not (sign.endswith("=") and after == limit):
            return None
        return f"{name} is {after:,.6g}, was {before:,.6g}: breaks {rule.strip()} (limit {limit:,.6g})"

    def _pair(self, name: str) -> tuple[float, float]:
        """One metric before and after."""
        if name == "total_us":
            return self.a_total_ns / 1e3, self.b_total_ns / 1e3
        found = self.metrics.filter(metric=name)
        if found.is_empty():
            known = ("total_us", *self.metrics["metric"])
            near = difflib.get_close_matches(name, known, n=1)
            raise UsageError(
                f"fail-if: not both runs have {name!r}",
                values=", ".join(known),
                fix=f"did you mean {near[0]!r}?" if near else "",
            )
        return float(found["a"][0]), float(found["b"][0])

    def figure(self) -> go.Figure:
        """A waterfall from the run before to the one after, over the losses of `bounds`, which add up to the change."""
        from .figures import waterfall

        moved = self.losses.filter(pl.col("delta_ns") != 0)
        changes = (moved["delta_ns"] / 1e3).to_list()
        if not changes:
            changes = [(self.b_total_ns - self.a_total_ns) / 1e3]
        names = moved["loss"].to_list() or ["all"]
        return waterfall(names, changes, (self.a_total_ns / 1e3, self.b_total_ns / 1e3), "What changed, us")


def diff(a: Profile, b: Profile) -> Diff:
    """What changed from `a` to `b`, aligned by line, function, engine, opcode and collective.

    Raises:
        UsageError: a profile does not say how long its run was.
    """
    lengths = total_ns(a), total_ns(b)
    if not lengths[0] or not lengths[1]:
        raise UsageError(
            "diff: a profile does not say how long its run was", fix="open the NTFF or the full JSON of the run"
        )
    parts = [_aligned(_spent(a, by), _spent(b, by), by) for by in BY]
    metrics = _metrics(a, b)
    rows = pl.concat([part for part in parts if part.height] or parts)
    return Diff(rows, metrics, _losses(a, b), recorded(a, b), lengths[0], lengths[1])


_LOSSES = {
    "launch": "body", "stalls": "no stalls", "reloads": "no reloads", "DMA below peak": "ideal DMA", "TensorE below peak": "ideal TensorE",
}  # fmt: skip


def _losses(a: Profile, b: Profile) -> pl.DataFrame:
    """The parts of both runs' lengths."""
    schema = dict.fromkeys(("a_ns", "b_ns"), pl.Float64)
    parts = [_parts(p) if p.has("Instruction") else {} for p in (a, b)]
    names = list(parts[0]) if all(parts) else []
    rows = [(name, parts[0][name], parts[1][name]) for name in names]
    frame = pl.DataFrame(rows, schema={"loss": pl.String, **schema}, orient="row")
    return frame.with_columns(delta_ns=pl.col("b_ns") - pl.col("a_ns"))


def _parts(p: Profile) -> dict[str, float]:
    """One run's length in parts, from what a kernel's author cannot change to what is left at the roofline."""
    steps = dict(bounds(p).rows.select("step", "ns").rows())
    parts, above = {}, steps["as measured"]
    for loss, step in _LOSSES.items():
        below = steps.get(step, above)
        parts[loss], above = above - below, below
    return {**parts, "ideal": above}


_KEYED = {"key": pl.String, "ns": pl.Float64, "count": pl.Int64}


def _spent(p: Profile, by: str) -> pl.DataFrame:
    """Instruction time by one key; rows without the key are left out."""
    if by == "collective":
        rows = p.rows("CcOp").with_columns(key=pl.col("operation"))
    else:
        rows = working(p).with_columns(key=_line() if by == "line" else pl.col(by))
    spent = (pl.col("end_ts") - pl.col("start_ts")).sum()
    return rows.drop_nulls("key").group_by("key").agg(ns=spent, count=pl.len().cast(pl.Int64)).cast(_KEYED)  # type: ignore[arg-type]


def _line() -> pl.Expr:
    """A line by its file's name, as folders differ between machines."""
    return pl.col("file").str.split("/").list.last() + ":" + pl.col("line").cast(pl.String)


def _aligned(a: pl.DataFrame, b: pl.DataFrame, by: str) -> pl.DataFrame:
    """Both runs by key."""
    both = a.join(b, on="key", how="full", coalesce=True, suffix="_b").with_columns(
        pl.all().exclude("key").fill_null(0)
    )
    rows = both.select(
        "key",
        by=pl.lit(by),
        a_ns="ns",
        b_ns="ns_b",
        delta_ns=pl.col("ns_b") - pl.col("ns"),
        a_count="count",
        b_count="count_b",
    )
    order = rows.sort(pl.col("delta_ns").abs(), "key", descending=[True, False])
    return order.select("by", "key", "a_ns", "b_ns", "delta_ns", "a_count", "b_count")


def _metrics(a: Profile, b: Profile) -> pl.DataFrame:
    """Metrics computed from the tables of both."""
    before, after = computed(a), computed(b)
    names = [name for name in before if name in after]
    rows = pl.DataFrame(
        {"metric": names, "a": [float(before[n]) for n in names], "b": [float(after[n]) for n in names]},
        schema={"metric": pl.String, "a": pl.Float64, "b": pl.Float64},
    )
    delta = pl.col("b") - pl.col("a")
    return rows.with_columns(delta=delta, relative=pl.when(pl.col("a") != 0).then(delta / pl.col("a")))
