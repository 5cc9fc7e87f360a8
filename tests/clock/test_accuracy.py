"""The clock against end-to-end latencies measured on Trainium: public measurements of four steps of matmul tiling."""

from __future__ import annotations

import statistics
from functools import cache

import ml_dtypes
import numpy as np
import pytest

from nkilab.bench.accuracy_launches import active_ns
from nkilab.clock import Timing, time
from nkilab.hardware import Policy, load
from nkilab.kernels import matmul
from nkilab.simulator import Sim, execute

EVERY_LOAD = Policy(repeats=0.0)
STEPS = ("tiled", "hoisted", "blocked", "fully_blocked")
SMALL = ("trn2", "float32", 2048, 2048, 2048)
LARGE = ("trn2", "float32", 4096, 8192, 8192)
TRN1 = ("trn1", "bfloat16", 4096, 8192, 8192)
MEASURED_US = {
    SMALL: (1259, 1093, 1020, 906),
    LARGE: (39895, 28198, 28414, 28302),
    TRN1: (51800, 42960, 22070, 6970),
}


@cache
def timing_of(step: str, target: str, dtype: str, m: int, k: int, n: int, policy: Policy | None = None) -> Timing:
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    lhs, rhs = np.zeros((k, m), kind), np.zeros((k, n), kind)
    sim = Sim(target=target, values=False, on_finding="collect")
    trace = execute(getattr(matmul, f"matmul_{step}"), (lhs, rhs), {}, sim).trace
    return time(trace.columns(), trace.names, load(target), policy)


def totals(case: tuple[str, str, int, int, int]) -> list[float]:
    return [timing_of(step, *case).total_ns / 1e3 for step in STEPS]


def errors(case: tuple[str, str, int, int, int]) -> list[float]:
    return [abs(value / measured - 1) for value, measured in zip(totals(case), MEASURED_US[case], strict=True)]


def test_2048_cube_in_the_measured_order_and_close() -> None:
    values = totals(SMALL)
    assert values == sorted(values, reverse=True)
    assert max(errors(SMALL)) < 0.08


def test_2048_cube_moves_the_bytes_that_the_device_moved() -> None:
    """Those of its source, but lhsT half as often in the tiled step."""
    tile = 128 * 512 * 4
    expected = {
        "tiled": 512 * tile // 4 + 1024 * tile + 64 * tile,
        "hoisted": 256 * tile // 4 + 1024 * tile + 64 * tile,
        "blocked": 128 * tile // 2 + 256 * 2 * tile + 64 * tile,
        "fully_blocked": 64 * tile + 2 * 64 * tile + 64 * tile,
    }
    moved = {step: int(timing_of(step, *SMALL).dma["bytes"].sum()) for step in STEPS}
    assert moved == expected
    assert moved["tiled"] == pytest.approx(0.319e9, rel=0.01)
    every = {step: int(timing_of(step, *SMALL, EVERY_LOAD).dma["bytes"].sum()) for step in STEPS}
    assert every == expected | {"tiled": 1024 * (tile // 4 + tile) + 64 * tile}


@pytest.mark.slow
def test_4096_by_8192_by_8192_tiled_is_slowest_and_the_others_are_equal() -> None:
    tiled, *others = totals(LARGE)
    assert tiled > 1.1 * max(others)
    assert max(others) < 1.03 * min(others)


@pytest.mark.slow
def test_4096_by_8192_by_8192_spills_about_as_much_as_measured() -> None:
    moved = {step: timing_of(step, *LARGE).dma["bytes"].sum() / 1e9 for step in STEPS}
    assert moved == {
        "tiled": pytest.approx(10.87, rel=0.01),
        "hoisted": pytest.approx(8.86, rel=0.01),
        "blocked": pytest.approx(8.66, rel=0.05),
        "fully_blocked": pytest.approx(1.476 + 0.34, rel=0.05),
    }


@pytest.mark.slow
@pytest.mark.parametrize(("step", "measured"), [("tiled", 0.87), ("hoisted", 0.999)])
def test_4096_by_8192_by_8192_multiplies_as_often_and_as_long_as_measured(step: str, measured: float) -> None:
    timing = timing_of(step, *LARGE)
    multiply = timing.names["opcode"].index("MATMUL")
    assert (timing.instructions["opcode"] == multiply).sum() == 65536
    assert active_ns(timing, timing.names["engine"].index("tensor")) / timing.total_ns == pytest.approx(
        measured, abs=0.03
    )


@pytest.mark.slow
def test_all_twelve_latencies_with_one_set_of_constants_for_each_generation() -> None:
    found = [error for case in MEASURED_US for error in errors(case)]
    assert len(found) == 12
    assert max(found) < 0.15
    assert statistics.median(found) < 0.08
