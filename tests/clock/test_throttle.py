"""TensorE's clock control on its grid of windows."""

from __future__ import annotations

import pytest

from nkilab.clock import throttle
from nkilab.hardware import load

from .building import TraceBuilder

WINDOW = 100.0


@pytest.fixture
def grid() -> throttle.Clock:
    hw = load("trn2").replace(**{"throttle.window_ns": WINDOW, "throttle.warm_above": 0.8, "throttle.cold_below": 0.24})
    return throttle.clock(hw.throttle)


def fill(grid: throttle.Clock, window: int, share: float) -> float:
    """Work for a share of a window, from its start; the factor it started with."""
    factor = grid.factor(window * WINDOW)
    grid.work(window * WINDOW, share * WINDOW)
    return factor


@pytest.mark.parametrize(("share", "after"), [(0.75, 2.0), (0.8, 2.0), (0.81, 1.0), (1.0, 1.0)])
def test_one_window_above_the_threshold_warms_it(grid, share: float, after: float) -> None:
    assert fill(grid, 0, share) == 2.0
    assert grid.factor(WINDOW) == after


@pytest.mark.parametrize(("share", "after"), [(0.51, 1.0), (0.25, 1.0), (0.24, 2.0), (0.0, 2.0)])
def test_one_idle_window_cools_it(grid, share: float, after: float) -> None:
    fill(grid, 0, 1.0)
    fill(grid, 1, share)
    assert grid.factor(2 * WINDOW) == after


def test_work_across_windows_counts_where_it_falls(grid) -> None:
    grid.factor(50.0)
    grid.work(50.0, 140.0)
    assert grid.factor(190.0) == 2.0
    grid.work(190.0, 10.0)
    assert grid.factor(200.0) == 1.0
    assert grid.changes == [(0.0, True), (200.0, False)]


def test_a_long_pause_is_one_change(grid) -> None:
    fill(grid, 0, 1.0)
    assert grid.factor(1e9) == 2.0
    assert [cold for _, cold in grid.changes] == [True, False, True]


def test_a_multiply_takes_twice_as_long_cold(timed) -> None:
    trace = TraceBuilder()
    for _ in range(100):
        trace.matmul(trace.psum(512), trace.sbuf(128, dtype="bfloat16"), trace.sbuf(512, dtype="bfloat16"))
    timing = timed(trace, load("trn2"))
    start = timing.instructions["start"][1::2]
    assert start[1] - start[0] == pytest.approx(2 * 215.3, rel=0.01)
    assert start[-1] - start[-2] == pytest.approx(215.3, rel=0.01)
    assert timing.throttle["cold"].tolist() == [True, False]


def test_a_generation_without_throttle_is_always_warm() -> None:
    grid = throttle.clock(load("trn1").throttle)
    assert (grid.factor(0.0), grid.factor(1e9)) == (1.0, 1.0)
