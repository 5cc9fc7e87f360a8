"""Dependences through boxes, and the order of loads."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nkilab.clock import Policy, time
from nkilab.clock.dependences import KINDS, dependences
from nkilab.clock.order import issue_order
from nkilab.clock.program import programs
from nkilab.hardware import load

from .building import TraceBuilder


def program_of(trace: TraceBuilder):
    (program,) = programs(*trace.build())
    return program


def edges_of(trace: TraceBuilder) -> set[tuple[int, int, str]]:
    """(producing instruction, consuming instruction, kind), every instruction on a stream of its own."""
    program = program_of(trace)
    found = dependences(program, np.arange(len(program)) % 60)
    row = program.accesses["instruction"]
    pairs = zip(row[found.producer].tolist(), row[found.consumer].tolist(), found.kind.tolist(), strict=True)
    return {(a, b, KINDS[kind]) for a, b, kind in pairs}


def test_the_three_kinds_of_dependence() -> None:
    trace = TraceBuilder()
    a, b, c = (trace.sbuf(8) for _ in range(3))
    trace.copy(b, a)
    trace.copy(c, b)
    trace.copy(b, a)
    assert edges_of(trace) == {(0, 1, "flow"), (1, 2, "anti"), (0, 2, "output")}


def test_tiles_of_one_matrix_in_hbm_are_told_apart_by_their_columns() -> None:
    trace = TraceBuilder()
    matrix, tile = trace.tensor("hbm", 1024, 256), trace.sbuf(512)
    trace.dma(matrix.at(0, 128, 0, 512), tile)
    trace.dma(matrix.at(0, 128, 512, 1024), tile)
    trace.dma(trace.sbuf(512), matrix.at(0, 128, 512, 1024))
    trace.dma(trace.sbuf(600), matrix.at(64, 192, 0, 600))
    flows = {(a, b) for a, b, kind in edges_of(trace) if kind == "flow"}
    assert flows == {(1, 2), (0, 3), (1, 3)}


boxes = st.tuples(st.booleans(), st.integers(0, 2), st.integers(0, 7), st.integers(1, 8))


@given(st.lists(boxes, min_size=1, max_size=20))
def test_no_dependence_is_lost_whatever_the_boxes(steps: list[tuple[bool, int, int, int]]) -> None:
    """Every pair that shares a byte, one of them a write, is joined by a path of dependences; none points backwards."""
    trace = TraceBuilder()
    tensors, other = [trace.sbuf(16) for _ in range(3)], trace.sbuf(16)
    touched = []
    for write, which, start, width in steps:
        box = tensors[which].at(c0=start, c1=start + width)
        trace.add("tensor_copy", "vector", {"dst": box} if write else {}, {} if write else {"src": box})
        touched.append((write, which, set(range(start, start + width))))
    assert other is not None
    reach = np.eye(len(steps), dtype=bool)
    for a, b, _ in sorted(edges_of(trace), key=lambda edge: edge[1]):
        assert a < b
        reach[b] |= reach[a]
    for j, (write, which, bytes_) in enumerate(touched):
        for i in range(j):
            if touched[i][1] == which and (write or touched[i][0]) and bytes_ & touched[i][2]:
                assert reach[j, i]


def moved(trace: TraceBuilder, **policy: str) -> list[int]:
    return issue_order(program_of(trace), load("trn2"), Policy(**policy)).rows.tolist()


def reused_and_streamed(width: int = 512) -> TraceBuilder:
    """Per step a tile that is read four times, then four tiles that are read once."""
    trace = TraceBuilder()
    source = trace.tensor("hbm", width, 128, kind="input")
    for _ in range(2):
        kept = trace.sbuf(width)
        trace.dma(kept, source)
        for _ in range(4):
            tile = trace.sbuf(width)
            trace.dma(tile, source)
            trace.add("tensor_tensor", "vector", {"dst": trace.sbuf(4)}, {"data1": kept, "data2": tile})
    return trace


def test_loads_that_are_used_more_often_go_ahead() -> None:
    order = moved(reused_and_streamed())
    assert order[:3] == [0, 9, 1]
    assert sorted(order) == list(range(18))
    assert moved(reused_and_streamed(), loads="overtake") == list(range(18))


def test_a_small_load_is_not_passed() -> None:
    """As above, but what is read once is small: behind four large loads it would hold up its readers."""
    trace = TraceBuilder()
    source = trace.tensor("hbm", 512, 128, kind="input")
    small = trace.sbuf(4)
    trace.dma(small, source.at(c1=4))
    tiles = [trace.sbuf(512) for _ in range(2)]
    trace.add("tensor_scalar", "vector", {"dst": trace.sbuf(4)}, {"data": small})
    for tile in tiles:
        trace.dma(tile, source)
    for tile in tiles * 2:
        trace.copy(trace.sbuf(4), tile)
    assert moved(trace)[0] == 0


def test_a_load_moved_ahead_takes_no_turn_from_gpsimd() -> None:
    """The last load goes ahead of all in issue order, but what stood before it and is ready goes first."""
    trace = TraceBuilder()
    source = trace.tensor("hbm", 512, 128, kind="input")
    once, twice = trace.sbuf(512), trace.sbuf(512)
    trace.dma(once, source)
    row = trace.add("iota", "gpsimd", {"dst": trace.sbuf(8)}, {})
    trace.dma(twice, source)
    for tile in (once, twice, twice):
        trace.copy(trace.sbuf(4), tile)
    timing = time(*trace.build(), load("trn2"), Policy(repeats=0.0))
    start = dict(zip(timing.instructions["trace_row"].tolist(), timing.instructions["start"].tolist(), strict=True))
    assert moved(trace)[0] == 2
    assert start[row] < 200.0


def test_they_stay_where_sbuf_has_no_room() -> None:
    assert moved(reused_and_streamed(width=12 * 1024)) == list(range(18))


def test_of_loads_in_a_row_the_one_needed_first_goes_first() -> None:
    trace = TraceBuilder()
    source = trace.tensor("hbm", 128, 128, kind="input")
    tiles = [trace.sbuf(128) for _ in range(3)]
    for tile in tiles:
        trace.dma(tile, source)
    for tile in reversed(tiles):
        trace.copy(trace.sbuf(128), tile)
    assert moved(trace) == [2, 1, 0, 3, 4, 5]


def test_a_load_of_what_the_kernel_wrote_stays() -> None:
    """The twin of the first test: the tile used often comes from a tensor that the kernel writes."""
    trace = TraceBuilder()
    source, middle = trace.tensor("hbm", 512, 128, kind="input"), trace.tensor("hbm", 512, 128)
    trace.dma(trace.sbuf(512), source)
    tile = trace.sbuf(512)
    trace.dma(middle, tile)
    kept = trace.sbuf(512)
    trace.dma(kept, middle)
    for _ in range(4):
        trace.copy(trace.sbuf(512), kept)
    assert moved(trace) == list(range(7))
