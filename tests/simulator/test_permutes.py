"""Permutes by pairs and round rings, and what kernels make of them."""

from __future__ import annotations

import nki.collectives as ncc
import nki.isa as nisa
import nki.language as nl
import numpy as np

from tests.simulator.ranks import ALL, RANKS, copied, hbm, ring_all_reduce, run


def test_permute_by_pairs_leaves_others_alone(arrays):
    def kernel(x):
        own = copied(x)
        ncc.collective_permute([own], [own], [(0, 1), (1, 0), (0, 0)][:2])
        return own

    outputs = run(kernel, arrays)
    for rank, source in enumerate([1, 0, 2, 3]):
        assert (outputs[rank] == arrays[source]).all()


def test_implicit_permute_on_two_channels(arrays):
    def kernel(x):
        a, b = hbm(x.shape, x), hbm(x.shape, x)
        group = ncc.ReplicaGroup(ALL)
        ncc.collective_permute_implicit([[x], [copied(x)]], [[a], [b]], group, channel_ids=[0, 1])
        return a, b

    for rank, (a, b) in enumerate(run(kernel, arrays)):
        assert (a == arrays[rank - 1]).all()
        assert (b == arrays[rank - 1]).all()


def test_a_ring_all_reduce_equals_numpy(arrays):
    for output in run(ring_all_reduce, arrays):
        np.testing.assert_allclose(output, np.add.reduce(arrays), rtol=1e-5, atol=1e-6)


def test_a_ring_reduce_scatter_by_permutes_with_reduction(arrays):
    """Step by step each rank adds its part to what its predecessor sent on; after three steps a part is complete."""

    def kernel(x):
        group, rank = ncc.ReplicaGroup(ALL), ncc.rank_id()
        zero, part = nl.zeros((2, 16), x.dtype, buffer=nl.shared_hbm), hbm((2, 16), x)
        parts = copied(x)
        for step in range(RANKS):
            source = zero if step == 0 else part
            number = ncc.collective_permute_implicit_current_processing_rank_id(step, group)
            mine = hbm((2, 16), x)
            nisa.dma_copy(mine, parts.reshape((4, 2, 16))[number])
            ncc.collective_permute_implicit_reduce([[source]], [[mine]], [[part]], group, nl.add)
        del rank
        return part

    total = np.add.reduce(arrays)
    for rank, output in enumerate(run(kernel, arrays)):
        where = 2 * rank
        np.testing.assert_allclose(output, total[where : where + 2], rtol=1e-5, atol=1e-6)


def gather_and_multiply(x, weights):
    """Rows of every rank times the own weights: each step multiplies the rows that are there while they move on."""
    group = ncc.ReplicaGroup([list(range(RANKS))])
    m = x.shape[1]
    out = hbm((RANKS, m, weights.shape[1]), x)
    right, buffers = nl.load(weights), [copied(x), hbm(x.shape, x)]
    for step in range(RANKS):
        here, there = buffers[step % 2], buffers[(step + 1) % 2]
        rows = nl.load(here)
        if step < RANKS - 1:
            ncc.collective_permute_implicit([[here]], [[there]], group)
        product = nl.ndarray((m, weights.shape[1]), nl.float32, buffer=nl.psum)
        nisa.nc_matmul(product, rows, right)
        tile = nl.ndarray(product.shape, x.dtype)
        nisa.tensor_copy(tile, product)
        source = ncc.collective_permute_implicit_current_processing_rank_id(step, group)
        nisa.dma_copy(out[source], tile)
    return out


def test_an_all_gather_overlapped_with_a_matmul_equals_numpy():
    rng = np.random.default_rng(3)
    rows = [rng.standard_normal((64, 32), dtype=np.float32) for _ in range(RANKS)]
    weights = [rng.standard_normal((64, 48), dtype=np.float32) for _ in range(RANKS)]
    for rank, output in enumerate(run(gather_and_multiply, rows, weights)):
        for source in range(RANKS):
            np.testing.assert_allclose(output[source], rows[source].T @ weights[rank], rtol=1e-4, atol=1e-4)
