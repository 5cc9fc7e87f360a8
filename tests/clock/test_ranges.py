"""Ranges hold what the model assumes too; ladders say which resource bounds."""

from __future__ import annotations

import pytest

from nkilab.clock import ladder, time
from nkilab.hardware import load

from .building import TraceBuilder


def multiplies(count: int) -> TraceBuilder:
    trace = TraceBuilder()
    for _ in range(count):
        trace.matmul(trace.psum(512), trace.sbuf(128, dtype="bfloat16"), trace.sbuf(512, dtype="bfloat16"))
    return trace


def loads(count: int) -> TraceBuilder:
    trace = TraceBuilder()
    for _ in range(count):
        trace.dma(trace.sbuf(128), trace.tensor("hbm", 128, 128, kind="input"))
    return trace


def test_the_range_holds_the_body_wherever_the_throttle_s_grid_lies() -> None:
    columns, names = multiplies(60).build()
    timing = time(columns, names, load("trn2"))
    for phase in (500.0, 1706.0, 2500.0):
        body = time(columns, names, load("trn2").replace(**{"throttle.phase_ns": phase})).body_ns
        assert timing.range_ns[0] < body < timing.range_ns[1]


def test_without_a_throttle_the_range_is_narrower() -> None:
    columns, names = multiplies(60).build()
    warm = time(columns, names, load("trn2").replace(**{"throttle.enabled": False}))
    low, high = warm.range_ns
    free = time(columns, names, load("trn2"))
    assert (high - low) / warm.body_ns < (free.range_ns[1] - free.range_ns[0]) / free.body_ns


@pytest.mark.parametrize(("trace", "bound"), [(multiplies(60), "TensorE"), (loads(60), "DMA")])
def test_a_ladder_names_the_resource_that_bounds(trace: TraceBuilder, bound: str) -> None:
    columns, names = trace.build()
    found = ladder(columns, names, load("trn2").replace(**{"throttle.enabled": False}))
    assert found.bound == bound
    assert found.steps[0].body_ns < 0.2 * found.body_ns
    assert found.steps[0].saved_ns == pytest.approx(found.body_ns - found.steps[0].body_ns)


def test_what_no_profile_has_is_not_calibrated() -> None:
    trace = TraceBuilder()
    for dtype, function in (("float32", "exp"), ("float32", "tanh"), ("bfloat16", "exp")):
        data = trace.sbuf(512, dtype=dtype)
        trace.add("activation", "scalar", {"dst": trace.sbuf(512, dtype=dtype)}, {"data": data}, function=function)
    trace.matmul(trace.psum(512), trace.sbuf(128, dtype="float8_e4m3"), trace.sbuf(512, dtype="float8_e4m3"))
    columns, names = trace.build()
    timing = time(columns, names, load("trn2"))
    opcode = [timing.names["opcode"][code] for code in timing.instructions["opcode"]]
    classes = [timing.names["cost_class"][code] for code in timing.instructions["cost_class"]]
    known = [cls for name, cls in zip(opcode, classes, strict=True) if name in {"ACTIVATE", "MATMUL"}]
    assert known == ["calibrated", "documented", "documented", "documented"]
