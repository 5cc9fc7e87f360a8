"""Re-ordering of independent instructions, as a policy: what depends on each other keeps its order, memory keeps its room."""

from __future__ import annotations

from contextlib import nullcontext

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nkilab.clock import time
from nkilab.clock.placement import alive, place
from nkilab.clock.program import programs
from nkilab.clock.ready import ready_order
from nkilab.hardware import Policy, load
from nkilab.simulator import Sim, execute

from .building import TraceBuilder

HW, READY = load("trn2"), Policy(order="ready")


def order_of(trace: TraceBuilder, policy: Policy = READY) -> list[int]:
    (program,) = programs(*trace.build())
    return ready_order(program, HW, policy).rows.tolist()


def tiles_that_go_from_engine_to_engine(count: int, width: int = 512) -> TraceBuilder:
    """For each tile: VectorE, ScalarE, VectorE again, one after the other."""
    trace = TraceBuilder()
    for _ in range(count):
        first, second, third = (trace.sbuf(width) for _ in range(3))
        trace.add("memset", "vector", {"dst": first}, {})
        trace.add("activation", "scalar", {"dst": second}, {"data": first}, function="exp")
        trace.add("tensor_scalar", "vector", {"dst": third}, {"data": second})
    return trace


def test_an_engine_works_on_the_next_tile_while_this_one_is_elsewhere() -> None:
    trace = tiles_that_go_from_engine_to_engine(8)
    body = {policy: time(*trace.build(), HW, policy).body_ns for policy in (Policy(), READY)}
    assert body[READY] < 0.8 * body[Policy()]
    assert order_of(trace, Policy()) == list(range(24))
    assert order_of(trace) != list(range(24))


def test_a_chain_keeps_its_order() -> None:
    trace = TraceBuilder()
    tile = trace.sbuf(64)
    for engine in ("vector", "scalar", "gpsimd") * 10:
        trace.copy(tile, tile, engine)
    assert order_of(trace) == list(range(30))


def test_barriers_keep_their_order_among_themselves() -> None:
    trace = TraceBuilder()
    slow, fast = trace.sbuf(8192), trace.sbuf(8)
    trace.add("memset", "vector", {"dst": slow}, {})
    trace.add("core_barrier", "gpsimd", {}, {"data": slow})
    trace.add("core_barrier", "sync", {}, {"data": fast})
    assert order_of(trace) == [0, 1, 2]


@pytest.mark.parametrize(("width", "room"), [(512, True), (17 * 1024, True), (25 * 1024, False)])
def test_no_more_is_alive_than_memory_holds(width: int, room: bool) -> None:
    (program,) = programs(*tiles_that_go_from_engine_to_engine(30, width).build())
    found = ready_order(program, HW, READY)
    assert not place(found, HW).overflow.any()
    assert alive(found).max() <= HW.sbuf.partition_bytes - READY.reserved
    assert (found.rows.tolist() != program.rows.tolist()) == room


def test_a_program_that_does_not_fit_stays_as_it_is() -> None:
    trace = TraceBuilder()
    tiles = [trace.sbuf(30 * 1024) for _ in range(4)]
    for tile in tiles:
        trace.add("memset", "vector", {"dst": tile}, {})
        trace.add("iota", "gpsimd", {"dst": trace.sbuf(8)}, {})
    for tile in tiles:
        trace.copy(trace.sbuf(8), tile)
    assert order_of(trace) == list(range(12))


@pytest.mark.parametrize("between", [58, 59, 60, 61, 62, 121, 122, 183])
def test_a_write_stays_behind_the_store_that_reads_it_however_far(between: int) -> None:
    """The store waits for a slow load queue; the second write of its tile is ready at once."""
    trace = TraceBuilder()
    source, result = trace.tensor("hbm", 512, 128, kind="input"), trace.tensor("hbm", 512, 128, kind="output")
    tile = trace.sbuf(512)
    trace.add("memset", "vector", {"dst": tile}, {})
    for _ in range(25):
        trace.dma(trace.sbuf(512), source)
    store = trace.dma(result, tile)
    for _ in range(between - 1):
        trace.add("memset", "scalar", {"dst": trace.sbuf(4)}, {})
    again = trace.add("memset", "vector", {"dst": tile}, {})
    order = order_of(trace)
    assert order.index(store) < order.index(again)


def test_none_passes_more_than_the_window() -> None:
    trace = TraceBuilder()
    source = trace.tensor("hbm", 512, 128, kind="input")
    for _ in range(300):
        trace.dma(trace.sbuf(8), source.at(c1=8))
    trace.add("memset", "vector", {"dst": trace.sbuf(8)}, {})
    order = order_of(trace)
    assert max(row - place for place, row in enumerate(order)) <= 60


def test_a_block_without_re_ordering_keeps_its_order() -> None:
    trace, fixed = TraceBuilder(), TraceBuilder()
    for made, flags in ((trace, ()), (fixed, ("no_reorder",))):
        for _ in range(8):
            first, second = made.sbuf(512), made.sbuf(512)
            made.add("memset", "vector", {"dst": first}, {}, flags=flags)
            made.add("activation", "scalar", {"dst": second}, {"data": first}, function="exp", flags=flags)
            made.add("tensor_scalar", "vector", {"dst": made.sbuf(512)}, {"data": second}, flags=flags)
    assert order_of(trace) != list(range(24))
    assert order_of(fixed) == list(range(24))


steps = st.lists(
    st.tuples(
        st.booleans(), st.integers(0, 2), st.integers(0, 7), st.integers(1, 8), st.sampled_from(["vector", "scalar"])
    ),
    min_size=1,
    max_size=90,
)


@given(steps)
def test_what_shares_a_byte_keeps_its_order(made: list[tuple[bool, int, int, int, str]]) -> None:
    trace = TraceBuilder()
    tensors = [trace.sbuf(16) for _ in range(3)]
    touched = []
    for write, which, start, width, engine in made:
        box = tensors[which].at(c0=start, c1=start + width)
        trace.add("tensor_copy", engine, {"dst": box} if write else {}, {} if write else {"src": box})
        touched.append((write, which, set(range(start, start + width))))
    order = order_of(trace)
    assert sorted(order) == list(range(len(made)))
    place = np.argsort(order)
    for j, (write, which, columns) in enumerate(touched):
        for i in range(j):
            if touched[i][1] == which and (write or touched[i][0]) and columns & touched[i][2]:
                assert place[i] < place[j]


@nki.jit
def rows_of_two_engines(x, fixed):
    """Every row goes to ScalarE and back to VectorE, in a block without re-ordering if so wanted."""
    out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    with nl.no_reorder() if fixed else nullcontext():
        for row in range(8):
            tile = nl.ndarray((128, 512), x.dtype)
            nisa.memset(tile, float(row))
            nisa.activation(tile, nl.exp, tile)
            nisa.tensor_scalar(tile, tile, nl.add, 1.0)
            nisa.dma_copy(out[row * 128 : (row + 1) * 128], tile)
    return out


def test_the_kernel_s_own_block_keeps_its_order_and_its_range() -> None:
    x = np.zeros((1024, 512), np.float32)
    bodies = {}
    for fixed in (False, True):
        trace = execute(rows_of_two_engines, (x, fixed), {}, Sim(values=False, target="trn2")).trace
        for policy in (Policy(), READY):
            bodies[fixed, policy.order] = time(trace.columns(), trace.names, HW, policy, ranges=False).body_ns
    assert bodies[False, "ready"] < bodies[False, "program"]
    assert bodies[True, "ready"] == bodies[True, "program"] == bodies[False, "program"]
