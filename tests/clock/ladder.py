"""The four steps of matmul tiling as traces, without a simulator: what each step loads, multiplies and stores, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .building import Tensor, TraceBuilder

if TYPE_CHECKING:
    from collections.abc import Callable

P, N_TILE = 128, 512


class Matmul:
    """lhsT[K, M] and rhs[K, N] in HBM and the operations that all steps share."""

    def __init__(self, m: int, k: int, n: int, dtype: str) -> None:
        self.trace = TraceBuilder()
        self.m, self.k, self.n, self.dtype = m, k, n, dtype
        self.lhs = self.trace.tensor("hbm", m, k, dtype, "input")
        self.rhs = self.trace.tensor("hbm", n, k, dtype, "input")
        self.out = self.trace.tensor("hbm", n, m, dtype, "output")

    def load(self, source: Tensor, row: int, column: int, columns: int) -> Tensor:
        tile = self.trace.sbuf(columns, dtype=self.dtype)
        self.trace.dma(tile, source.at(row, row + P, column, column + columns))
        return tile

    def multiply(self, lhs: list[Tensor], rhs: list[Tensor], i: int = 0, j: int = 0) -> Tensor:
        psum = self.trace.psum(N_TILE)
        for a, b in zip(lhs, rhs, strict=True):
            self.trace.matmul(psum, a.at(c0=i, c1=i + P), b.at(c0=j, c1=j + N_TILE))
        return psum

    def store(self, psum: Tensor, row: int, column: int) -> None:
        tile = self.trace.sbuf(N_TILE, dtype=self.dtype)
        self.trace.copy(tile, psum)
        self.trace.dma(self.out.at(row, row + P, column, column + N_TILE), tile)


def tiled(mm: Matmul) -> None:
    for m in range(0, mm.m, P):
        for n in range(0, mm.n, N_TILE):
            psum = mm.trace.psum(N_TILE)
            for k in range(0, mm.k, P):
                a, b = mm.load(mm.lhs, k, m, P), mm.load(mm.rhs, k, n, N_TILE)
                mm.trace.matmul(psum, a, b)
            mm.store(psum, m, n)


def hoisted(mm: Matmul) -> None:
    for m in range(0, mm.m, P):
        lhs = [mm.load(mm.lhs, k, m, P) for k in range(0, mm.k, P)]
        for n in range(0, mm.n, N_TILE):
            rhs = [mm.load(mm.rhs, k, n, N_TILE) for k in range(0, mm.k, P)]
            mm.store(mm.multiply(lhs, rhs), m, n)


def blocked(mm: Matmul, block_m: int = 2, block_n: int = 2) -> None:
    for m in range(0, mm.m, block_m * P):
        lhs = [mm.load(mm.lhs, k, m, block_m * P) for k in range(0, mm.k, P)]
        for n in range(0, mm.n, block_n * N_TILE):
            rhs = [mm.load(mm.rhs, k, n, block_n * N_TILE) for k in range(0, mm.k, P)]
            for i in range(block_m):
                for j in range(block_n):
                    psum = mm.multiply(lhs, rhs, i * P, j * N_TILE)
                    mm.store(psum, m + i * P, n + j * N_TILE)


def fully_blocked(mm: Matmul, block_m: int = 16, block_n: int = 2, block_k: int = 8) -> None:
    width_m, width_n = min(block_m * P, mm.m), min(block_n * N_TILE, mm.n)
    for n in range(0, mm.n, width_n):
        sums = [mm.trace.sbuf(width_n, dtype=mm.dtype) for _ in range(0, mm.m, P)]
        for k in range(0, mm.k, block_k * P):
            rows = range(k, min(k + block_k * P, mm.k), P)
            rhs = [mm.load(mm.rhs, row, n, width_n) for row in rows]
            for m in range(0, mm.m, width_m):
                lhs = [mm.load(mm.lhs, row, m, width_m) for row in rows]
                for i in range(0, width_m, P):
                    for j in range(0, width_n, N_TILE):
                        part = sums[(m + i) // P].at(c0=j, c1=j + N_TILE)
                        psum = mm.multiply(lhs, rhs, i, j)
                        if k == 0:
                            mm.trace.copy(part, psum)
                        else:
                            mm.trace.add(
                                "tensor_tensor", "vector", {"dst": part}, {"data1": part, "data2": psum}, function="add"
                            )
        for row, total in enumerate(sums):
            mm.trace.dma(mm.out.at(row * P, (row + 1) * P, n, n + width_n), total)


STEPS: dict[str, Callable[[Matmul], None]] = {
    "tiled": tiled,
    "hoisted": hoisted,
    "blocked": blocked,
    "fully_blocked": fully_blocked,
}


def trace_of(step: str, m: int, k: int, n: int, dtype: str = "float32") -> TraceBuilder:
    """The trace of one step for a shape."""
    mm = Matmul(m, k, n, dtype)
    STEPS[step](mm)
    return mm.trace
