"""The interval algebra against a brute-force grid: every operation asks, cell by cell, what it should have kept."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nkilab.profiler.analyses.intervals import Intervals, fresh_ns

CELLS = 40
Pairs = list[tuple[int, int]]
pairs = st.lists(st.tuples(st.integers(0, CELLS), st.integers(0, CELLS)), max_size=12)


def grid(spans: Pairs) -> np.ndarray:
    """Which unit cells the spans cover."""
    cells = np.zeros(CELLS, bool)
    for start, end in spans:
        cells[start:end] = True
    return cells


def of(spans: Pairs) -> Intervals:
    """The spans as intervals."""
    return Intervals.of([s for s, _ in spans], [e for _, e in spans])


def cells(spans: Intervals) -> np.ndarray:
    """Intervals with whole borders back on the grid."""
    return grid([(int(s), int(e)) for s, e in zip(spans.start, spans.end, strict=True)])


@given(pairs)
def test_union_covers_what_any_span_covers_in_disjoint_sorted_pieces(spans: Pairs) -> None:
    union = of(spans)
    assert np.array_equal(cells(union), grid(spans))
    assert union.measure == grid(spans).sum()
    assert np.all(union.end > union.start)
    assert np.all(union.start[1:] > union.end[:-1])


@given(pairs, pairs)
def test_two_sets(left: Pairs, right: Pairs) -> None:
    a, b = of(left), of(right)
    in_a, in_b = grid(left), grid(right)
    assert np.array_equal(cells(a.union(b)), in_a | in_b)
    assert np.array_equal(cells(a.intersect(b)), in_a & in_b)
    assert np.array_equal(cells(a.subtract(b)), in_a & ~in_b)
    assert a.measure == a.intersect(b).measure + a.subtract(b).measure


@given(pairs, st.integers(0, CELLS), st.integers(0, CELLS))
def test_gaps_and_clip_share_a_window(spans: Pairs, t0: int, t1: int) -> None:
    t0, t1 = sorted((t0, t1))
    a = of(spans)
    window = grid([(t0, t1)])
    assert np.array_equal(cells(a.clip(t0, t1)), grid(spans) & window)
    assert np.array_equal(cells(a.gaps(t0, t1)), ~grid(spans) & window)


@given(pairs, st.lists(st.integers(0, CELLS), min_size=2, max_size=6, unique=True).map(sorted))
def test_buckets_hold_the_time_between_their_borders(spans: Pairs, borders: list[int]) -> None:
    expected = [grid(spans)[a:b].sum() for a, b in pairwise(borders)]
    assert np.allclose(of(spans).inside(borders), expected)


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, CELLS), st.integers(0, CELLS)), max_size=15)
)
def test_fresh_time_adds_up_to_the_union_of_every_group(rows: list[tuple[str | None, int, int]]) -> None:
    rows = [(key, min(s, e), max(s, e)) for key, s, e in rows]
    frame = pl.DataFrame(rows, schema={"key": pl.String, "start_ts": pl.Float64, "end_ts": pl.Float64}, orient="row")
    summed = frame.sort("start_ts").with_columns(fresh=fresh_ns(["key"])).group_by("key").agg(pl.col("fresh").sum())
    found = dict(summed.iter_rows())
    assert found == {key: grid([(s, e) for k, s, e in rows if k == key]).sum() for key in {k for k, _, _ in rows}}
    whole = frame.sort("start_ts").select(fresh_ns([]).sum()).item()
    assert whole == grid([(s, e) for _, s, e in rows]).sum()


def test_touching_spans_join_and_empty_ones_vanish() -> None:
    joined = of([(5, 5), (3, 7), (0, 3), (9, 2)])
    assert joined.start.tolist() == [0]
    assert joined.end.tolist() == [7]
    assert len(Intervals.of([], [])) == 0
    assert Intervals.of([], []).measure == 0


def test_a_table_with_nulls_gives_the_spans_that_it_has() -> None:
    frame = pl.DataFrame({"start_ts": [0.0, None, 4.0], "end_ts": [2.5, 9.0, None]})
    assert Intervals.from_frame(frame).measure == pytest.approx(2.5)
