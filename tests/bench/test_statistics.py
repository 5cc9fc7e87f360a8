"""Statistics of repeated times, and when repetition stops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nkilab.bench.statistics import (
    Rule,
    advice,
    collect,
    median_interval,
    outliers,
    ratio_interval,
    statistics,
)

TIMES = st.lists(st.floats(1.0, 1e6), min_size=1, max_size=60)


def test_a_sample_by_hand() -> None:
    stats = statistics([5.0, 1.0, 3.0, 2.0, 4.0])
    assert (stats.count, stats.median, stats.fastest, stats.slowest) == (5, 3.0, 1.0, 5.0)
    assert (stats.p90, stats.p99) == (None, None)


def test_percentiles_need_enough_times() -> None:
    assert statistics([float(n) for n in range(1, 11)]).p90 == pytest.approx(9.1)
    assert statistics([float(n) for n in range(1, 101)]).p99 == pytest.approx(99.01)


@pytest.mark.parametrize("bad", [[], [0.0], [-1.0], [math.nan], [math.inf]])
def test_what_is_no_time_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="finite positive"):
        statistics(bad)


@pytest.mark.parametrize(("count", "low", "high"), [(6, 1, 6), (10, 2, 9), (20, 6, 15), (100, 40, 61)])
def test_ranks_of_the_interval_are_those_of_the_binomial_table(count: int, low: int, high: int) -> None:
    interval = median_interval([float(n) for n in range(1, count + 1)])
    assert interval is not None
    assert (interval.low, interval.high) == (low, high)
    assert 0.95 <= interval.coverage < 1.0


def test_below_six_times_there_is_no_interval_of_95_percent() -> None:
    assert median_interval([1.0] * 5) is None
    assert median_interval([1.0] * 6) is not None


def test_the_interval_covers_the_median_as_often_as_it_says_for_a_skewed_distribution() -> None:
    rng = np.random.default_rng(1)
    samples = rng.lognormal(0.0, 1.5, (2000, 25))
    intervals = [median_interval(sample.tolist()) for sample in samples]
    held = np.mean([i is not None and i.low <= 1.0 <= i.high for i in intervals])
    coverage = intervals[0].coverage if intervals[0] else 0.0
    assert held == pytest.approx(coverage, abs=0.015)


@given(TIMES)
def test_median_lies_in_its_interval_and_between_the_extremes(times: list[float]) -> None:
    stats = statistics(times)
    assert stats.fastest <= stats.median <= stats.slowest
    if stats.interval:
        assert stats.interval.low <= stats.median <= stats.interval.high


def test_outliers_are_named_by_their_position() -> None:
    assert outliers([10.0, 10.1, 9.9, 50.0, 10.0, 9.8]) == (3,)
    assert outliers([10.0] * 20 + [10.5]) == (20,)
    assert outliers([10.0, 10.1, 9.9, 10.2]) == ()


def test_ratio_of_exact_times_is_exact_and_of_noisy_ones_holds_the_truth() -> None:
    exact = ratio_interval([6.0], [5.0])
    assert (exact.low, exact.high) == (pytest.approx(1.2), pytest.approx(1.2))
    rng = np.random.default_rng(2)
    old, new = rng.normal(100, 2, 50).tolist(), rng.normal(110, 2, 50).tolist()
    noisy = ratio_interval(new, old)
    assert 1.05 < noisy.low < 1.1 < noisy.high < 1.15
    assert ratio_interval(new, old) == noisy


class Source:
    """Times from a list, in order; remembers how many were asked for."""

    def __init__(self, *times: float) -> None:
        self.times, self.asked = list(times), []

    def __call__(self, count: int) -> list[float]:
        self.asked.append(count)
        start = sum(self.asked[:-1])
        return [self.times[n % len(self.times)] for n in range(start, start + count)]


def test_quiet_times_stop_at_once() -> None:
    source = Source(100.0, 100.1)
    collected = collect(source, Rule(least=10))
    assert (collected.stopped, len(collected.times_us), source.asked) == ("narrow", 10, [10])


def test_noisy_times_stop_when_the_interval_no_longer_narrows() -> None:
    # Two modes of equal weight: the median's interval spans both however many times are taken.
    collected = collect(Source(100.0, 200.0), Rule(least=10, most=10_000))
    assert collected.stopped == "no longer narrows"
    assert len(collected.times_us) < 10_000


def test_the_limit_holds() -> None:
    rng = np.random.default_rng(3)
    collected = collect(Source(*rng.lognormal(0, 1, 997)), Rule(least=10, most=64, patience=99))
    assert (collected.stopped, len(collected.times_us)) == ("limit", 64)


def test_advice_holds_the_next_action() -> None:
    rule = Rule()
    assert advice(statistics([10.0] * 20), "narrow", rule) == ()
    said = advice(statistics([10.0] * 19 + [90.0]), "limit", rule)
    assert "1 of 20 times are outliers (runs 19)" in said[0]
    assert "--most" in said[1]
