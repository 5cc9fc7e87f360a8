"""Loads of data that is still in SBUF: under a policy the second one is not done, as a measured matmul shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nkilab
from nkilab.clock import time
from nkilab.clock.program import programs
from nkilab.clock.repeats import without_repeats
from nkilab.discover import kernel_named
from nkilab.hardware import Policy, load

from .building import Box, Tensor, TraceBuilder

ROW = 512
"""Elements of a partition in a tile: 2 KiB, of SBUF's 224."""


def loads_of(*rows: int, between: int = 0) -> TraceBuilder:
    """A load of each of these rows of tiles of an input, each read once, with other loads after it."""
    trace = TraceBuilder()
    source = trace.tensor("hbm", ROW, 128 * 64, kind="input")
    others = iter(range(64 - max(rows) - 1))
    for row in rows:
        use(trace, block(source, row))
        for _ in range(between):
            use(trace, block(source, max(rows) + 1 + next(others)))
    return trace


def block(source: Tensor, row: int) -> Box:
    return source.at(128 * row, 128 * (row + 1))


def use(trace: TraceBuilder, source: Box | Tensor, tile: Tensor | None = None) -> Tensor:
    tile = tile or trace.sbuf(ROW)
    trace.dma(tile, source)
    trace.copy(trace.sbuf(ROW), tile)
    return tile


QUARTER, EVERY = Policy(repeats=0.25), Policy(repeats=0.0)


def kept(trace: TraceBuilder, policy: Policy = QUARTER) -> list[int]:
    """Places, among the loads, of those that are done."""
    (program,) = programs(*trace.build())
    done, _ = without_repeats(program, load("trn2"), policy)
    api = [program.names["api"][code] for code in program.instructions["api"]]
    every = [row for row, name in enumerate(api) if name == "dma_copy"]
    return [every.index(row) for row in done.rows.tolist() if row in every]


def test_the_second_load_of_the_same_data_is_not_done_and_its_readers_use_the_first_tile() -> None:
    trace = loads_of(0, 1, 0)
    assert kept(trace) == [0, 1]
    (program,) = programs(*trace.build())
    done, owner = without_repeats(program, load("trn2"), QUARTER)
    reads = done.accesses["tensor"][~done.accesses["write"] & (done.accesses["space"] == 1)]
    assert reads.tolist() == [1, 3, 1]
    assert owner.tolist() == [0, 1, 2, 3, 4, 1, 6]


def test_a_tile_is_used_again_once() -> None:
    assert kept(loads_of(0, 0, 0, 0, 0)) == [0, 2, 4]


def test_not_where_more_than_the_share_of_sbuf_is_loaded_in_between() -> None:
    """A quarter of 224 KiB are 28 tiles of 2 KiB: those in between, and the second of the two."""
    assert len(kept(loads_of(0, 0, between=27))) == 55
    assert len(kept(loads_of(0, 0, between=28))) == 58
    assert kept(loads_of(0, 0), EVERY) == [0, 1]


def test_loads_in_parts_count_as_much_as_whole_ones() -> None:
    trace = TraceBuilder()
    source, other = trace.tensor("hbm", ROW, 128, kind="input"), trace.tensor("hbm", 32 * ROW, 128, kind="input")
    use(trace, source)
    wide = trace.sbuf(32 * ROW)
    for half in (0, 16 * ROW):
        trace.dma(wide.at(c0=half, c1=half + 16 * ROW), other.at(c0=half, c1=half + 16 * ROW))
    use(trace, source)
    assert kept(trace) == [0, 1, 2, 3]


@pytest.mark.parametrize("fault", ["other columns", "written tile", "written source", "internal", "placed", "register"])
def test_loads_that_are_not_the_same_are_done(fault: str) -> None:
    trace = TraceBuilder()
    kind = "internal" if fault == "internal" else "input"
    source = trace.tensor("hbm", 2 * ROW, 128, kind=kind)
    flags = ("dynamic_address",) if fault == "register" else ()
    for start in (0, ROW if fault == "other columns" else 0):
        tile = trace.sbuf(ROW, address=start if fault == "placed" else -1)
        trace.dma(tile, source.at(c0=start, c1=start + ROW), flags=flags)
        if fault == "written tile":
            trace.copy(tile, trace.sbuf(ROW))
        trace.copy(trace.sbuf(ROW), tile)
    if fault == "written source":
        trace.dma(source.at(c1=ROW), trace.sbuf(ROW))
    assert kept(trace)[:2] == [0, 1]


def test_the_twin_of_these_is_done_once() -> None:
    trace = TraceBuilder()
    source = trace.tensor("hbm", 2 * ROW, 128, kind="input")
    for _ in range(2):
        use(trace, source.at(c1=ROW))
    assert kept(trace) == [0]


def test_not_where_the_longer_life_of_the_tile_takes_more_than_sbuf_has() -> None:
    trace = TraceBuilder()
    source = trace.tensor("hbm", ROW, 128, kind="input")
    use(trace, source)
    full = trace.sbuf(52 * 1024)
    trace.add("memset", "gpsimd", {"dst": full}, {})
    trace.copy(trace.sbuf(4), full)
    use(trace, source)
    assert kept(trace) == [0, 1]


def test_bytes_of_a_load_that_is_not_done_are_not_counted() -> None:
    trace = loads_of(0, 1, 0)
    tile = 128 * ROW * 4
    assert time(*trace.build(), load("trn2"), EVERY).dma["bytes"].sum() == 3 * tile
    assert time(*trace.build(), load("trn2"), QUARTER).dma["bytes"].sum() == 2 * tile


SHUFFLED = """
import nki
import nki.isa as nisa
import nki.language as nl


@nki.jit
def columns(x, other):
    out = nl.ndarray((256, 1024), dtype=x.dtype, buffer=nl.shared_hbm)
    straight, turned = [[1024, 128], [512, 2], [256, 2], [1, 256]], [[1024, 128], [256, 2], [512, 2], [1, 256]]
    for i in range(2):
        tile = nl.ndarray((128, 1024), dtype=x.dtype, buffer=nl.sbuf)
        source = x.ap(pattern=turned if other and i else straight, offset=0)
        nisa.dma_copy(dst=tile.ap(pattern=straight, offset=0), src=source)
        nisa.dma_copy(dst=out[128 * i : 128 * (i + 1), :], src=tile)
    return out


@nki.jit
def beside(x, other):
    out = nl.ndarray((256, 512), dtype=x.dtype, buffer=nl.shared_hbm)
    core = nl.program_id(0)
    for i in range(2):
        if core == 0:
            tile = nl.ndarray((128, 512), dtype=x.dtype, buffer=nl.sbuf)
            nisa.dma_copy(dst=tile, src=x[0:128, :])
            nisa.dma_copy(dst=out[128 * i : 128 * (i + 1), :], src=tile)
        nisa.core_barrier(out, (0, 1))
        if core == 1 and other and i == 0:
            seven = nl.ndarray((128, 512), dtype=x.dtype, buffer=nl.sbuf)
            nisa.memset(seven, 7.0)
            nisa.dma_copy(dst=x[0:128, :], src=seven)
        nisa.core_barrier(out, (0, 1))
    return out, x
"""


@pytest.mark.parametrize(("kernel", "width", "cores"), [("columns", 1024, 1), ("beside", 512, 2)])
def test_what_only_looks_the_same_is_loaded(kernel: str, width: int, cores: int, tmp_path: Path) -> None:
    """One box in another order, and a source that the other core writes in between; the twins are left out."""
    file = tmp_path / "kernels.py"
    file.write_text(SHUFFLED)
    function = kernel_named(f"{file}:{kernel}")
    for other, left_out in ((False, 1), (True, 0)):
        x = np.arange(128 * width, dtype=np.float32).reshape(128, width)
        run = nkilab.simulate(function[cores] if cores > 1 else function, x, other, mutates=("x",))
        assert run.loads_left_out == left_out
