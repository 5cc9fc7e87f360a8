"""The sample profile: eight tiles of `softmax(a @ b)`. Its times are made up; it is for looking round, not for measuring."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from . import encode as e
from .run import EXECUTED, PACKETS, Core, Op, Run

FILE = "sample_kernel.py"
KERNEL = "softmax_matmul"
SOURCE = '''"""The kernel of nkilab's sample profile."""

import nki
import nki.isa as nisa
import nki.language as nl


@nki.jit
def softmax_matmul(a, b):
    """Row-wise softmax of a.T @ b, tile by tile: a is (128, 1024), b is (128, 512)."""
    out = nl.ndarray((1024, 512), dtype=nl.float32, buffer=nl.shared_hbm)
    moving = nl.ndarray((128, 512), dtype=b.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=moving, src=b)
    for i in nl.affine_range(8):
        stationary = nl.ndarray((128, 128), dtype=a.dtype, buffer=nl.sbuf)
        nisa.dma_copy(dst=stationary, src=a[:, nl.ds(i * 128, 128)])
        scores = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.psum)
        nisa.nc_matmul(dst=scores, stationary=stationary, moving=moving)
        largest = nl.ndarray((128, 1), dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_reduce(dst=largest, op=nl.maximum, data=scores, axis=1, negate=True, keepdims=True)
        powers = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.sbuf)
        nisa.activation(dst=powers, op=nl.exp, data=scores, bias=largest)
        total = nl.ndarray((128, 1), dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_reduce(dst=total, op=nl.add, data=powers, axis=1, keepdims=True)
        share = nl.ndarray((128, 1), dtype=nl.float32, buffer=nl.sbuf)
        nisa.reciprocal(dst=share, data=total)
        nisa.tensor_scalar(dst=powers, data=powers, op0=nl.multiply, operand0=share)
        nisa.dma_copy(dst=out[nl.ds(i * 128, 128), :], src=powers)
    return out
'''
TILES = 8
_HBM, _SBUF = 0x8005C0000000, 0x802000000000
_MOVING, _WEIGHTS, _SCORES, _POWERS, _ROWS = 0x0, 0x400, e.PSUM, 0x1000, 0x800
_TENSOR, _SCALAR, _VECTOR, _SYNC = 0, 1, 3, 4
_PS = 1000
_PACKETS_PER_TRANSFER, _DMA_ENGINES = 128, 16


@dataclass(slots=True)
class _Builder:
    """Programs and times while they grow: each engine goes on when it is free and what it needs is done."""

    programs: list[list[Op]] = field(default_factory=lambda: [[] for _ in range(5)])
    executed: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    packets: list[tuple[int, int, int, int, int, int]] = field(default_factory=list)
    free: list[int] = field(default_factory=lambda: [2000 * _PS] * 5)
    rings: list[int] = field(default_factory=lambda: [0] * _DMA_ENGINES)
    done: dict[int, int] = field(default_factory=dict)

    def run(self, engine: int, image: bytes, name: str, line: int, length_ns: int, after: tuple[int, ...] = ()) -> int:
        """Add one instruction, executed once; its BIR id."""
        bir = 100 + sum(map(len, self.programs))
        ready = max([self.free[engine], *(self.done[one] + 60 * _PS for one in after)])
        end = ready + length_ns * _PS
        waited = min((ready - self.free[engine]) * 12 // (10 * _PS), 0xFFFF)
        self.executed.append((engine, len(self.programs[engine]), ready, end, waited))
        self.programs[engine].append(Op(image, bir, name, line, after))
        self.free[engine] = end + 40 * _PS
        self.done[bir] = end
        return bir

    def transfer(self, bir: int, row_bytes: int, length_ns: int) -> None:
        """The packets of a DMA instruction: one per row, over all DMA engines; the transfer is done with the last."""
        start = self.done[bir] + 1300 * _PS
        for row in range(_PACKETS_PER_TRANSFER):
            engine = row % _DMA_ENGINES
            begin = max(start, self.rings[engine]) + 5 * _PS
            end = begin + length_ns * _PS
            self.packets.append((engine, 1, begin, end, row_bytes, (row * 257) & 0xFFFF))
            self.rings[engine] = end
        self.done[bir] = max(self.rings)


def _line(text: str, turn: int = 0) -> int:
    """The line of the source that holds `text` (the one after `turn` others)."""
    found = [number for number, line in enumerate(SOURCE.splitlines(), 1) if text in line]
    return found[turn]


def _tile(build: _Builder, tile: int, moving: int) -> None:
    """One tile: load, multiply, softmax, store."""
    scores = _SCORES + 2048 * (tile % 2)
    load = build.run(
        _SYNC, e.dma(_HBM + tile * 0x8000, _SBUF + _WEIGHTS, 256, 8 + tile), f"load-{tile}", _line("dst=stationary"), 60
    )
    build.transfer(load, 256, 24)
    weights = build.run(
        _TENSOR, e.load_weights(_WEIGHTS, wait=(8 + tile, 16)), f"matmul-{tile}", _line("nc_matmul"), 64, (load,)
    )
    product = build.run(
        _TENSOR, e.matmul(_MOVING, scores, 512, signal=5), f"matmul-{tile}", _line("nc_matmul"), 220, (weights, moving)
    )
    largest = build.run(
        _VECTOR,
        e.reduce(scores, _ROWS, 512, add=False, negate=True, wait=(5, tile + 1), signal=6),
        f"max-{tile}",
        _line("nl.maximum"),
        590,
        (product,),
    )
    powers = build.run(
        _SCALAR, e.exp(scores, _POWERS, 512, _ROWS, signal=4), f"exp-{tile}", _line("nl.exp"), 690, (largest, product)
    )
    total = build.run(
        _VECTOR,
        e.reduce(_POWERS, _ROWS + 4, 512, add=True, wait=(4, tile + 1), signal=6),
        f"sum-{tile}",
        _line("nl.add"),
        590,
        (powers,),
    )
    share = build.run(
        _VECTOR,
        e.reciprocal(_ROWS + 4, _ROWS + 8, 1, signal=6),
        f"share-{tile}",
        _line("nisa.reciprocal"),
        70,
        (total,),
    )
    scaled = build.run(
        _VECTOR,
        e.multiply(_POWERS, _POWERS, 512, _ROWS + 8, signal=6),
        f"scale-{tile}",
        _line("tensor_scalar"),
        580,
        (share,),
    )
    store = build.run(
        _SYNC,
        e.dma(_SBUF + _POWERS, _HBM + 0x100000 + tile * 0x40000, 2048, 16 + tile),
        f"store-{tile}",
        _line("dst=out"),
        60,
        (scaled,),
    )
    build.transfer(store, 2048, 160)


def demo() -> Run:
    """The sample's run."""
    build = _Builder()
    moving = build.run(_SYNC, e.dma(_HBM + 0x80000, _SBUF + _MOVING, 1024, 24), "load-moving", _line("dst=moving"), 60)
    build.transfer(moving, 1024, 90)
    for tile in range(TILES):
        _tile(build, tile, moving)
    total = max(build.done.values()) + 2000 * _PS
    half = total // 2 // _PS * _PS
    core = Core(
        programs=tuple(tuple(program) for program in build.programs),
        executed=pl.DataFrame(build.executed, EXECUTED, orient="row"),
        packets=pl.DataFrame(build.packets, PACKETS, orient="row"),
        semaphores=_semaphores(build),
        throttles=pl.DataFrame({"t": [0, half], "k": [8, 4], "n": [8, 8], "type": [0, 1]}),
    )
    return Run((core,), total, kernel=KERNEL, file=FILE)


def _semaphores(build: _Builder) -> pl.DataFrame:
    """Every engine that counts a semaphore up when an instruction is done: tensor 5, vector 6, scalar 4."""
    rows = []
    for engine, index in ((_TENSOR, 5), (_VECTOR, 6), (_SCALAR, 4)):
        ends = np.sort(
            [end for which, pc, _, end, _ in build.executed if which == engine and build.programs[which][pc].image[7]]
        )
        rows += [(int(end), index, value + 1) for value, end in enumerate(ends)]
    return pl.DataFrame(sorted(rows), {"t": pl.Int64, "index": pl.Int64, "value": pl.Int64}, orient="row")
