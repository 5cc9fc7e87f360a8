"""Interval algebra: the one place where busy times are joined, met and taken away from each other.

`Intervals` is a sorted set of disjoint half-open spans of nanoseconds; its operations are single NumPy passes over
sorted borders. `fresh_ns` does the same for many groups of a table at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
_Keep = Callable[[NDArray[np.bool_], NDArray[np.bool_]], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """Disjoint half-open spans [start, end) in ascending order.

    Attributes:
        start: float64, ns.
        end: float64, ns, same length; every span is longer than 0.
    """

    start: Floats
    end: Floats

    @classmethod
    def of(cls, start: ArrayLike, end: ArrayLike) -> Intervals:
        """The union of spans in any order; touching ones join, empty and reversed ones vanish."""
        begin, stop = np.asarray(start, np.float64), np.asarray(end, np.float64)
        fine = stop > begin
        begin, stop = begin[fine], stop[fine]
        order = np.argsort(begin, kind="stable")
        begin, reach = begin[order], np.maximum.accumulate(stop[order]) if begin.size else stop
        first = np.ones(begin.size, bool)
        first[1:] = begin[1:] > reach[:-1]
        heads = np.flatnonzero(first)
        tails = np.append(heads[1:] - 1, begin.size - 1) if heads.size else heads
        return cls(begin[heads], reach[tails])

    @classmethod
    def from_frame(cls, frame: pl.DataFrame) -> Intervals:
        """The union of a table's start_ts and end_ts; rows without either are left out."""
        spans = frame.select("start_ts", "end_ts").drop_nulls()
        return cls.of(spans["start_ts"].to_numpy(), spans["end_ts"].to_numpy())

    @property
    def measure(self) -> float:
        """Total length, ns."""
        return float(np.sum(self.end - self.start))

    def __len__(self) -> int:
        return self.start.size

    def union(self, other: Intervals) -> Intervals:
        """Time in either."""
        return Intervals.of(np.concatenate([self.start, other.start]), np.concatenate([self.end, other.end]))

    def intersect(self, other: Intervals) -> Intervals:
        """Time in both."""
        return _sweep(self, other, np.logical_and)

    def subtract(self, other: Intervals) -> Intervals:
        """Time in this one and not in the other."""
        return _sweep(self, other, lambda mine, theirs: mine & ~theirs)

    def gaps(self, t0: float, t1: float) -> Intervals:
        """Time in [t0, t1) outside this one."""
        return Intervals.of([t0], [t1]).subtract(self)

    def clip(self, t0: float, t1: float) -> Intervals:
        """Time inside [t0, t1)."""
        return Intervals.of(np.clip(self.start, t0, t1), np.clip(self.end, t0, t1))

    def inside(self, borders: ArrayLike) -> Floats:
        """Time within each bucket between neighbouring borders: n borders give n - 1 lengths, ns."""
        return np.diff(self.before(borders))

    def before(self, points: ArrayLike) -> Floats:
        """Time before each point, ns."""
        edges = np.asarray(points, np.float64)
        if not len(self):
            return np.zeros(edges.size)
        knots = np.stack([self.start, self.end], axis=1).ravel()
        lengths = np.cumsum(self.end - self.start)
        reached = np.stack([lengths - (self.end - self.start), lengths], axis=1).ravel()
        return np.interp(edges, knots, reached)


def _sweep(a: Intervals, b: Intervals, keep: _Keep) -> Intervals:
    """The pieces between borders of `a` and `b` for which `keep(inside a, inside b)` holds."""
    borders = np.unique(np.concatenate([a.start, a.end, b.start, b.end]))
    if borders.size == 0:
        return a
    left, right = borders[:-1], borders[1:]
    kept = keep(_covers(a, left), _covers(b, left))
    return Intervals.of(left[kept], right[kept])


def _covers(spans: Intervals, points: Floats) -> NDArray[np.bool_]:
    """Which points stand inside."""
    before = np.searchsorted(spans.start, points, side="right")
    ended = np.searchsorted(spans.end, points, side="right")
    return before > ended


def fresh_ns(keys: list[str]) -> pl.Expr:
    """Per row, the part of [start_ts, end_ts) that no earlier row of the same group covers, ns.

    Rows must be sorted by start_ts. Its sum over a group is the measure of the group's union, exactly, so that unions
    for any number of groups cost one pass. A null in a key is a group of its own.
    """
    reached = pl.col("end_ts").cum_max().shift(1)
    reached = reached.over(keys) if keys else reached
    start = pl.max_horizontal(pl.col("start_ts"), reached)
    return (pl.col("end_ts") - start).clip(lower_bound=0.0)
