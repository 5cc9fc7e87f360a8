"""Space: placement, what reuse of space makes wait, pieces of long rows, spills."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nkilab.clock.pieces import in_pieces
from nkilab.clock.placement import lives, place
from nkilab.clock.program import PSUM, SBUF, programs
from nkilab.hardware import load

from .building import TraceBuilder

KIB = 1024


def program_of(trace: TraceBuilder):
    (program,) = programs(*trace.build())
    return program


def chain(trace: TraceBuilder, kib: int, count: int) -> None:
    """Tiles that each live from their copy to the next one."""
    last = trace.sbuf(kib * KIB // 4)
    for _ in range(count):
        tile = trace.sbuf(kib * KIB // 4)
        trace.copy(tile, last)
        last = tile


def test_space_is_reused_as_late_as_possible(hw) -> None:
    trace = TraceBuilder()
    chain(trace, 56, 5)
    assert (place(program_of(trace), hw).address // (56 * KIB)).tolist() == [0, 1, 2, 3, 0, 1]


def test_an_explicit_address_is_respected(hw) -> None:
    trace = TraceBuilder()
    fixed = trace.sbuf(256, address=4096)
    trace.copy(trace.sbuf(2048), fixed)
    address = place(program_of(trace), hw).address
    assert address.tolist() == [4096, 5120]


def test_psum_is_given_by_whole_banks(hw) -> None:
    trace = TraceBuilder()
    for width in (512, 128, 512):
        trace.copy(trace.psum(width), trace.sbuf(4))
    address = place(program_of(trace), hw).address
    assert address[[0, 2, 4]].tolist() == [0, 2048, 4096]


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 4)), min_size=1, max_size=30))
def test_tensors_alive_together_never_share_a_byte(tiles: list[tuple[int, int]]) -> None:
    hw = load("trn2")
    trace = TraceBuilder()
    made = []
    for kib, back in tiles:
        tile = trace.sbuf(kib * KIB // 4)
        trace.copy(tile, made[-min(back, len(made))] if made else trace.sbuf(8))
        made.append(tile)
    program = program_of(trace)
    placement, living = place(program, hw), lives(program, SBUF)
    size = program.tensors["bytes"]
    rows = [r for r in zip(living.tensor, living.first, living.last, strict=True) if placement.address[r[0]] >= 0]
    for i, (a, a0, a1) in enumerate(rows):
        for b, b0, b1 in rows[i + 1 :]:
            if a0 <= b1 and b0 <= a1:
                low, high = sorted([a, b], key=lambda t: placement.address[t])
                assert placement.address[low] + size[low] <= placement.address[high]
    assert all(placement.address[t] + size[t] <= hw.sbuf.partition_bytes for t, _, _ in rows)


def loads_and_uses(width: int, count: int) -> TraceBuilder:
    trace = TraceBuilder()
    source = trace.tensor("hbm", width, 128, kind="input")
    for _ in range(count):
        tile = trace.sbuf(width)
        trace.dma(tile, source)
        trace.add("activation", "scalar", {"dst": trace.sbuf(1)}, {"data": tile}, function="exp")
    return trace


def test_a_load_waits_for_the_reader_of_the_space_it_takes(timed, hw) -> None:
    """One tile of 200 KiB fills SBUF, so that loading and computing take turns; in a larger SBUF they overlap."""
    trace = loads_and_uses(50 * KIB, 4)
    large = hw.replace(**{"sbuf.partition_bytes": 4 * 224 * KIB})
    tight, roomy = timed(trace), timed(trace, large)
    resource = tight.names["kind"].index("resource")
    assert (tight.flows["kind"] == resource).any()
    assert not (roomy.flows["kind"] == resource).any()
    assert tight.body_ns > 1.3 * roomy.body_ns


def test_occupancy_counts_bytes_up_and_down(timed) -> None:
    trace = loads_and_uses(512, 2)
    timing = timed(trace)
    rows = timing.occupancy["space"] == SBUF
    levels = timing.occupancy["bytes"][rows]
    assert levels.max() == 2 * 2048 + 2 * 4
    assert levels[-1] == 0
    assert (np.diff(timing.occupancy["t"]) >= 0).all()
    assert not (timing.occupancy["space"] == PSUM).any()


def tile_by_columns(step: int) -> TraceBuilder:
    """One tile of 8 KiB rows, read `step` columns at a time."""
    trace = TraceBuilder()
    tile = trace.sbuf(2048)
    trace.dma(tile, trace.tensor("hbm", 4096, 128, kind="input").at(c1=2048))
    for column in range(0, 2048, step):
        trace.copy(trace.sbuf(step), tile.at(c0=column, c1=column + step))
    return trace


def test_a_load_of_long_rows_comes_in_pieces(hw) -> None:
    program = in_pieces(program_of(tile_by_columns(512)), hw)
    assert len(program) == 2 + 4
    assert program.rows.tolist() == [0, 0, 1, 2, 3, 4]
    access = program.accesses
    far = (access["space"] == 0).nonzero()[0]
    assert access["b0"][far].tolist() == [0, 4096]
    assert (access["elements"][far] == 128 * 1024).all()
    reads = ~access["write"] & (access["space"] == SBUF)
    assert program.tensors["origin"][access["tensor"][reads]].tolist() == [0] * 4
    assert access["b0"][reads].tolist() == [0, 2048, 0, 2048]
    assert len(set(access["tensor"][reads].tolist())) == 2


def test_a_tile_is_not_cut_where_an_instruction_straddles(hw) -> None:
    program = program_of(tile_by_columns(2048))
    assert in_pieces(program, hw) is program


def test_pieces_move_the_same_bytes(timed, hw) -> None:
    whole = hw.replace(**{"dma.piece_bytes": 8192})
    cut, uncut = timed(tile_by_columns(512)), timed(tile_by_columns(512), whole)
    assert cut.dma["bytes"].sum() == uncut.dma["bytes"].sum() == 128 * 8192
    assert cut.instructions["trace_row"].tolist().count(0) == 2


def working_set(tiles: int, sweeps: int, written: bool = False, width: int = 1024) -> TraceBuilder:
    """`tiles` tiles of 4 KiB, or of another width, loaded once and read in order, sweep after sweep."""
    trace = TraceBuilder()
    source = trace.tensor("hbm", width, 128, kind="input")
    held = [trace.sbuf(width) for _ in range(tiles)]
    for tile in held:
        if written:
            trace.copy(tile, trace.sbuf(4))
        else:
            trace.dma(tile, source)
    for _ in range(sweeps):
        for tile in held:
            trace.copy(trace.sbuf(1), tile.at(c1=width))
    return trace


def test_what_fits_is_not_spilled(timed) -> None:
    timing = timed(working_set(50, 3))
    assert timing.dma["bytes"].sum() == 50 * 128 * 4096


def test_what_does_not_fit_is_loaded_again_for_each_visit(timed, hw) -> None:
    """80 tiles of 4 KiB in 224 KiB: of those that go, each of the two later sweeps loads all bytes again."""
    timing = timed(working_set(80, 3))
    extra = timing.dma["bytes"].sum() - 80 * 128 * 4096
    gone = extra / (2 * 128 * 4096)
    assert gone == int(gone)
    assert 80 * 4096 - gone * 4096 <= hw.sbuf.partition_bytes
    assert (timing.placements["address"] >= 0).all()


@pytest.mark.parametrize(("tiles", "spills"), [(8, True), (4, False)])
def test_few_large_tiles_spill_however_short_the_way_between_their_uses(timed, tiles: int, spills: bool) -> None:
    """Tiles of 32 KiB, filled one after the other and then read: fewer instructions apart than the policy tells visits."""
    timing = timed(working_set(tiles, 2, width=8192))
    assert (timing.dma["spill"] > 0).any() == spills
    assert (timing.placements["address"] >= 0).all()


def test_the_compiler_keeps_some_sbuf_for_itself(timed, hw) -> None:
    """54 tiles of 4 KiB fit in 224 KiB but not beside 16 KiB; with nothing reserved they stay."""
    trace = working_set(54, 3)
    loaded = 54 * 128 * 4096
    assert timed(trace).dma["bytes"].sum() > loaded
    assert timed(trace, reserved=0).dma["bytes"].sum() == loaded


def crowded(ahead: int) -> TraceBuilder:
    """Computed tiles that fill SBUF but for 24 KiB, beside loads of tiles that are read twice and could go ahead."""
    trace = TraceBuilder()
    source = trace.tensor("hbm", 1024, 128, kind="input")
    for _ in range(ahead):
        kept = [trace.sbuf(1024) for _ in range(40)]
        for tile in kept:
            trace.copy(tile, trace.sbuf(4))
        once, twice = trace.sbuf(1024), trace.sbuf(1024)
        trace.dma(once, source)
        trace.dma(twice, source)
        for tile in (once, twice, twice, *kept):
            trace.copy(trace.sbuf(1), tile)
    return trace


def test_loads_moved_ahead_make_no_spills(timed) -> None:
    assert timed(crowded(12)).dma["bytes"].sum() == 12 * 2 * 128 * 4096


def test_tensors_that_fit_in_no_free_piece_wait_and_are_not_spilled(timed) -> None:
    """Every second tile of 8 KiB dies; one of 80 KiB then fits by bytes only."""
    trace = TraceBuilder()
    tiles = [trace.sbuf(2048) for _ in range(24)]
    for tile in tiles:
        trace.copy(tile, trace.sbuf(4))
    for tile in tiles[::2]:
        trace.copy(trace.sbuf(1), tile.at(c1=2048))
    trace.copy(trace.sbuf(80 * KIB // 4), trace.sbuf(4))
    for tile in tiles[1::2]:
        trace.copy(trace.sbuf(1), tile.at(c1=2048))
    assert len(timed(trace).dma["bytes"]) == 0


def test_what_was_computed_is_saved_too(timed) -> None:
    timing = timed(working_set(80, 3, written=True))
    stored = timing.names["queue"].index("scalar_hardware")
    rows = timing.dma["queue"] == stored
    assert timing.dma["bytes"][rows].sum() > 0
    assert timing.dma["bytes"][~rows].sum() == pytest.approx(3 * timing.dma["bytes"][rows].sum())
