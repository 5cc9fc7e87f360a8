"""Re-ordering of independent instructions, as a policy: what depends on each other keeps its order, memory keeps its room."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nkilab.clock import time
from nkilab.clock.placement import alive, place
from nkilab.clock.program import programs
from nkilab.clock.ready import ready_order
from nkilab.hardware import Policy, load

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
