"""What engines share: ports on trn1, PSUM banks and the bus of the performance mode on trn2, tiles of the array."""

from __future__ import annotations

import numpy as np
import pytest

from nkilab.clock import Timing
from nkilab.clock.array import WHOLE, Tiles
from nkilab.hardware import load

from .building import TraceBuilder

VECTOR, SCALAR, GPSIMD = 1, 2, 3


def starts(timing: Timing, engine: int) -> list[float]:
    return timing.instructions["start"][timing.instructions["engine"] == engine].tolist()


def ends(timing: Timing, engine: int) -> list[float]:
    return timing.instructions["end"][timing.instructions["engine"] == engine].tolist()


def two_readers(bank_of_second: int, second: str = "scalar") -> TraceBuilder:
    """VectorE reads bank 0 of PSUM while another engine reads a bank, neither waiting for the other's data."""
    trace = TraceBuilder()
    first = trace.psum(512, address=0)
    other = first if bank_of_second == 0 else trace.psum(512, address=2048 * bank_of_second)
    trace.copy(trace.sbuf(512), first, engine="vector")
    trace.copy(trace.sbuf(512), other, engine=second)
    return trace


@pytest.mark.parametrize(("target", "bank", "together"), [("trn2", 1, True), ("trn2", 0, False), ("trn1", 1, False)])
def test_two_engines_read_psum_together_where_the_hardware_can(timed, target: str, bank: int, together: bool) -> None:
    timing = timed(two_readers(bank), load(target))
    assert (starts(timing, SCALAR) == [0.0]) is together


@pytest.mark.parametrize(("target", "together"), [("trn1", False), ("trn2", True)])
def test_vector_and_gpsimd_use_sbuf_together_from_trn2_on(timed, target: str, together: bool) -> None:
    trace = TraceBuilder()
    trace.copy(trace.sbuf(512), trace.sbuf(512), engine="vector")
    trace.add("iota", "gpsimd", {"dst": trace.sbuf(512)}, {})
    timing = timed(trace, load(target))
    assert (starts(timing, GPSIMD) == [0.0]) is together


def durations_beside_gpsimd(timed, dtype: str, api: str, busy: bool) -> float:
    trace = TraceBuilder()
    if busy:
        trace.add("iota", "gpsimd", {"dst": trace.sbuf(4096)}, {})
    trace.add(api, "vector", {"dst": trace.sbuf(512, dtype=dtype)}, {"data": trace.sbuf(512, dtype=dtype)})
    timing = timed(trace)
    return ends(timing, VECTOR)[0] - starts(timing, VECTOR)[0]


def test_performance_mode_needs_the_bus_that_gpsimd_uses(timed, hw) -> None:
    alone = durations_beside_gpsimd(timed, "bfloat16", "tensor_copy", busy=False)
    beside = durations_beside_gpsimd(timed, "bfloat16", "tensor_copy", busy=True)
    cycles = hw.vector.cycles
    assert beside - alone == pytest.approx(512 * (cycles.copy_psum - cycles.copy_2byte) / hw.vector.clock_ghz)


def test_what_runs_at_the_plain_rate_does_not_mind_gpsimd(timed) -> None:
    busy, alone = (durations_beside_gpsimd(timed, "float32", "tensor_reduce", busy=busy) for busy in (True, False))
    assert busy == alone


def multiplies(tiles: tuple[int, ...]) -> TraceBuilder:
    trace = TraceBuilder()
    for _ in range(4):
        for tile in tiles:
            stationary, moving = trace.sbuf(128, dtype="bfloat16"), trace.sbuf(512, dtype="bfloat16")
            row = trace.matmul(trace.psum(512), stationary, moving)
            trace.array[row] = tile
    return trace


def test_multiplies_on_other_tiles_of_the_array_run_side_by_side(timed) -> None:
    rows = tuple(0b1111 << 4 * row for row in range(4))
    apart, same = timed(multiplies(rows)), timed(multiplies(rows[:1] * 4))
    whole = timed(multiplies((0,) * 4))
    assert same.body_ns == pytest.approx(whole.body_ns)
    assert apart.body_ns < 0.5 * same.body_ns
    assert apart.confidence["guessed"] > 0.5


def test_parallel_multiplies_count_once_as_work() -> None:
    tiles = Tiles(apart=10.0)
    assert tiles.multiply(0b1111, 0.0, 100.0) == 100.0
    assert tiles.may_multiply(0b1111 << 4) == 10.0
    assert tiles.multiply(0b1111 << 4, 10.0, 100.0) == 10.0
    assert tiles.may_multiply(WHOLE) == 110.0
    assert np.isclose(tiles.may_load(0b1111), 0.0)
