"""Copies, transposes, gathers and shuffles against NumPy written from their pages."""

from __future__ import annotations

import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkilab.simulator import Sim, execute
from tests.simulator.documented.harness import BF16, FP16, RNG, X, Y, out, run, same


def through_hbm(kernel, *arrays, target="trn2"):
    """Run a kernel on HBM tensors and return what it returns."""
    return execute(kernel, arrays, {}, Sim(target=target, on_finding="collect")).outputs[0]


def hbm(shape, dtype):
    return nl.ndarray(shape, dtype, nl.shared_hbm)


@pytest.mark.operation("nki.isa.dma_copy")
def test_dma_copy():
    same(run(nisa.dma_copy, X), X)
    same(run(nisa.dma_copy, X, outs=out(128, 24, dtype=nl.float16)), X.astype(FP16))
    large = np.array([[2**24 + 1, -(2**31), 7]], np.int32)
    same(run(nisa.dma_copy, large, outs=out(1, 3, dtype=nl.int32)), large)
    same(run(nisa.dma_copy, large), large.astype(np.float32))

    def between(x):
        there = hbm((4, 3), x.dtype)
        nisa.dma_copy(there, x.reshape((4, 3)))
        return there

    same(through_hbm(between, X[:1, :12].copy()), X[0, :12].reshape(4, 3))


@pytest.mark.operation("nki.isa.dma_copy")
def test_dma_copy_gathers_and_scatters_rows_and_skips_those_outside():
    rows = RNG.permutation(40)[:32].astype(np.uint32)[:, None]
    rows[[3, 9]] = 1000

    def gather(d, index, x):
        nisa.dma_copy(d, x.ap([[24, 32], [1, 24]], vector_offset=index, indirect_dim=0), oob_mode=nisa.oob_mode.skip)

    def gathered(index, x):
        tile, there = nl.full((32, 24), -1.0, nl.float32), hbm((32, 24), x.dtype)
        gather(tile, nl.load(index), x)
        nisa.dma_copy(there, tile)
        return there

    expected = np.where(rows < 128, X[np.minimum(rows[:, 0], 127)], np.float32(-1))
    same(through_hbm(gathered, rows, X), expected)

    def scattered(index, x):
        there = nl.zeros((40, 24), x.dtype, nl.shared_hbm)
        nisa.dma_copy(
            there.ap([[24, 32], [1, 24]], vector_offset=nl.load(index), indirect_dim=0),
            nl.load(x[:32]),
            oob_mode=nisa.oob_mode.skip,
        )
        return there

    expected, inside = np.zeros((40, 24), np.float32), rows[:, 0] < 40
    expected[rows[inside, 0]] = X[:32][inside]
    same(through_hbm(scattered, rows, X), expected)

    def at_register(x):
        there, register = hbm((8, 24), x.dtype), nisa.register_alloc(5)
        nisa.dma_copy(there, x.ap([[24, 8], [1, 24]], scalar_offset=register, indirect_dim=0))
        return there

    same(through_hbm(at_register, X), X[5:13])


@pytest.mark.operation("nki.isa.dma_transpose")
def test_dma_transpose():
    for shape, axes in (((24, 16), (1, 0)), ((6, 5, 16), (2, 1, 0)), ((6, 3, 2, 8), (3, 1, 2, 0))):
        x = RNG.standard_normal(shape).astype(BF16)
        expected = x.transpose(axes)
        same(run(nisa.dma_transpose, x, outs=out(*expected.shape, dtype=nl.bfloat16)), expected)


@pytest.mark.operation("nki.isa.dma_transpose")
def test_dma_transpose_of_gathered_rows():
    """`indices.T.flatten()` picks the rows of `src`, and dst is their transpose."""
    table = RNG.standard_normal((300, 64)).astype(BF16)
    indices = RNG.permutation(300)[:256].reshape(128, 2).astype(np.uint32)

    def kernel(x, index):
        tile, there = nl.ndarray((64, 256), x.dtype), hbm((64, 256), x.dtype)
        rows = x.ap([[64, 256], [1, 64]], vector_offset=nl.load(index), indirect_dim=0)
        nisa.dma_transpose(tile, rows, axes=(1, 0))
        nisa.dma_copy(there, tile)
        return there

    same(through_hbm(kernel, table, indices), table[indices.T.reshape(-1)].T)


@pytest.mark.operation("nki.isa.dma_compute")
def test_dma_compute():
    same(run(lambda d, a, b: nisa.dma_compute(d, [a, b, a], nl.add), X, Y), X + Y + X)
    halves = [X.astype(BF16), Y.astype(FP16)]
    total = halves[0].astype(np.float32) + halves[1].astype(np.float32)
    found = run(
        lambda d, a, b: nisa.dma_compute(d, [a, b], nl.add, scales=[1.0, 1.0]),
        *halves,
        outs=out(128, 24, dtype=nl.bfloat16),
    )
    same(found, total.astype(BF16))


@pytest.mark.operation("nki.isa.dma_compute")
def test_dma_compute_adds_to_scattered_and_from_gathered_rows():
    rows = RNG.permutation(40)[:32].astype(np.uint32)[:, None]

    def scatter(x, index, more):
        there = nl.ndarray((40, 24), x.dtype, nl.shared_hbm)
        nisa.dma_copy(there, x)
        target = there.ap([[24, 32], [1, 24]], vector_offset=nl.load(index), indirect_dim=0)
        nisa.dma_compute(target, [target, nl.load(more)], nl.add)
        return there

    expected = X[:40].copy()
    expected[rows[:, 0]] += Y[:32]
    same(through_hbm(scatter, X[:40], rows, Y[:32]), expected)

    def gather(x, index, more):
        tile, there = nl.load(more), hbm((32, 24), x.dtype)
        source = x.ap([[24, 32], [1, 24]], vector_offset=nl.load(index), indirect_dim=0)
        nisa.dma_compute(tile, [source, tile], nl.add)
        nisa.dma_copy(there, tile)
        return there

    same(through_hbm(gather, X[:40], rows, Y[:32]), X[:40][rows[:, 0]] + Y[:32])


@pytest.mark.operation("nki.isa.nc_transpose")
def test_nc_transpose():
    special = X.copy()
    special[3, 5], special[7, 2] = np.nan, np.inf

    def by_tensor_engine(d, x):
        psum = nl.ndarray((24, 128), x.dtype, nl.psum)
        nisa.nc_transpose(psum, x, nisa.engine.tensor)
        nisa.tensor_copy(d, psum)

    same(run(by_tensor_engine, special, outs=out(24, 128)), special.T)
    same(run(by_tensor_engine, X.astype(BF16), outs=out(24, 128, dtype=nl.bfloat16)), X.astype(BF16).T)
    same(run(by_tensor_engine, X, outs=out(24, 128), target="trn1"), X.T)

    def by_vector_engine(d, x):
        nisa.nc_transpose(d, x.reshape((32, 4, 6)), nisa.engine.vector)

    same(run(by_vector_engine, special[:32], outs=out(24, 32)), special[:32].T)


@pytest.mark.operation("nki.isa.nc_stream_shuffle")
def test_nc_stream_shuffle():
    mask = [int(m) for m in RNG.integers(0, 32, 32)]
    mask[4] = mask[31] = 255
    expected = np.full((128, 24), -1, np.float32)
    for p in range(128):
        if mask[p % 32] != 255:
            expected[p] = X[p // 32 * 32 + mask[p % 32]]
    same(run(lambda d, x: nisa.nc_stream_shuffle(d, x, mask), X, outs=out(128, 24, fill=-1.0)), expected)

    def in_place(d, x):
        nisa.nc_stream_shuffle(x, x, list(range(31, -1, -1)))
        nisa.tensor_copy(d, x)

    same(run(in_place, X), X.reshape(4, 32, 24)[:, ::-1].reshape(128, 24))


@pytest.mark.operation("nki.isa.local_gather")
def test_local_gather():
    """Each group of 16 partitions reads its own indices, partition first, and gathers from its 16 partitions."""
    index = RNG.integers(0, 21, (128, 3)).astype(np.uint16)
    for per_index, valid in ((1, None), (4, None), (2, 37)):
        count = valid or 48
        expected = np.zeros((128, count, per_index), np.float32)
        for p in range(128):
            group = index[p // 16 * 16 : p // 16 * 16 + 16]
            for i, place in enumerate(group.T.reshape(-1)[:count].astype(int)):
                expected[p, i] = X[p, place : place + per_index]

        def body(d, x, places, per_index=per_index, valid=valid):
            nisa.local_gather(d, x, places, per_index, valid)

        same(run(body, X, index, outs=out(128, count * per_index)), expected.reshape(128, -1))


@pytest.mark.operation("nki.isa.nc_n_gather")
def test_nc_n_gather():
    indices = RNG.integers(0, 24, (128, 2, 5)).astype(np.uint32)
    expected = np.take_along_axis(X, indices.reshape(128, 10).astype(int), axis=1).reshape(128, 2, 5)
    same(run(nisa.nc_n_gather, X.reshape(128, 4, 6), indices, outs=out(128, 2, 5)), expected)
