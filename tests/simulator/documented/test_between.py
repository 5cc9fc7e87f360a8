"""Cores and ranks: every collective, `sendrecv` and `core_barrier`, against NumPy written from their pages."""

from __future__ import annotations

import nki
import nki.collectives as ncc
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkilab.simulator import Sim, execute
from tests.simulator.documented.harness import RANKS, RNG, on_ranks, same

ALL = ncc.ReplicaGroup([[0, 1, 2, 3]])
PAIRS = ncc.ReplicaGroup([[0, 1], [3, 2]])
ARRAYS = [RNG.integers(-99, 99, (8, 6)).astype(np.float32) for _ in range(RANKS)]


def hbm(shape, dtype=nl.float32):
    return nl.ndarray(shape, dtype, nl.shared_hbm)


def copied(x):
    there = hbm(x.shape, x.dtype)
    nisa.dma_copy(there, x)
    return there


@pytest.mark.operation("nki.collectives.all_reduce")
def test_all_reduce():
    for group, lists in ((ALL, [[0, 1, 2, 3]]), (PAIRS, [[0, 1], [3, 2]])):
        for op, function in ((nl.add, np.add), (nl.minimum, np.minimum), (nl.maximum, np.maximum)):

            def kernel(x, group=group, op=op):
                there = hbm(x.shape)
                ncc.all_reduce([x], [there], group, op)
                return there

            outputs = on_ranks(kernel, ARRAYS)
            for ranks in lists:
                for rank in ranks:
                    same(outputs[rank], function.reduce([ARRAYS[r] for r in ranks]))


@pytest.mark.operation("nki.collectives.all_gather")
def test_all_gather():
    def in_hbm(x):
        there = hbm((16, 6))
        ncc.all_gather([x], [there], PAIRS, 0)
        return there

    for rank, output in enumerate(on_ranks(in_hbm, ARRAYS)):
        same(output, np.concatenate([ARRAYS[r] for r in ([0, 1] if rank < 2 else [3, 2])]))

    def in_sbuf(x):
        tile, gathered = nl.load(x), nl.ndarray((8, 24), nl.float32)
        ncc.all_gather([tile], [gathered], ALL, 1)
        return copied(gathered)

    for output in on_ranks(in_sbuf, ARRAYS):
        same(output, np.concatenate(ARRAYS, axis=1))


@pytest.mark.operation("nki.collectives.reduce_scatter")
def test_reduce_scatter():
    def kernel(x):
        there = hbm((2, 6))
        ncc.reduce_scatter([x], [there], ALL, 0, nl.add)
        return there

    for rank, output in enumerate(on_ranks(kernel, ARRAYS)):
        same(output, np.add.reduce(ARRAYS)[2 * rank : 2 * rank + 2])


@pytest.mark.operation("nki.collectives.all_to_all")
def test_all_to_all():
    def kernel(x):
        there = hbm(x.shape)
        ncc.all_to_all([x], [there], ALL, 0)
        return there

    for rank, output in enumerate(on_ranks(kernel, ARRAYS)):
        same(output, np.concatenate([array[2 * rank : 2 * rank + 2] for array in ARRAYS]))


FLAT = [np.arange(32, dtype=np.float32) + 100 * rank for rank in range(RANKS)]


def sent(sender, receiver):
    return (sender + 2 * receiver) % 4 + 1


def to_each(split):
    """A kernel with `all_to_all_v`, in one or in two parts, and the counts it received."""

    def kernel(x, counts):
        there, table = nl.zeros(x.shape, x.dtype, nl.shared_hbm), copied(counts)
        if split:
            ncc.all_to_all_v_trigger(ncc.all_to_all_v_prepare([x], [there], ALL, table))
        else:
            ncc.all_to_all_v([x], [there], ALL, table)
        return there, table

    return kernel


def check_all_to_all_v(split):
    tables = []
    for rank in range(RANKS):
        tables.append(np.zeros((3, RANKS), np.uint32))
        tables[-1][0] = [sent(rank, r) for r in range(RANKS)]
        tables[-1][1] = [8 * r for r in range(RANKS)]
    for rank, (output, table) in enumerate(on_ranks(to_each(split), FLAT, tables)):
        expected = np.zeros((RANKS, 8), np.float32)
        for sender in range(RANKS):
            count = sent(sender, rank)
            expected[sender, :count] = FLAT[sender][8 * rank : 8 * rank + count]
        same(output.reshape(RANKS, 8), expected)
        same(table[2], np.array([sent(sender, rank) for sender in range(RANKS)], np.uint32))


@pytest.mark.operation("nki.collectives.all_to_all_v")
def test_all_to_all_v():
    check_all_to_all_v(split=False)


@pytest.mark.operation("nki.collectives.all_to_all_v_prepare")
@pytest.mark.operation("nki.collectives.all_to_all_v_trigger")
def test_all_to_all_v_in_two_parts():
    check_all_to_all_v(split=True)


def check_all_gather_v(split):
    def kernel(x, counts):
        there, table = nl.zeros((RANKS * 8,), x.dtype, nl.shared_hbm), copied(counts)
        if split:
            ncc.all_gather_v_trigger(ncc.all_gather_v_prepare([x], [there], ALL, table))
        else:
            ncc.all_gather_v([x], [there], ALL, table)
        return there, table

    counts = [np.full((3, RANKS), [[rank + 2], [3 * rank], [0]], np.uint32) for rank in range(RANKS)]
    for output, table in on_ranks(kernel, FLAT, counts, cores=2):
        expected = np.zeros((RANKS, 8), np.float32)
        for rank in range(RANKS):
            expected[rank, : rank + 2] = FLAT[rank][3 * rank : 4 * rank + 2]
        same(output.reshape(RANKS, 8), expected)
        same(table[2], np.array([2, 3, 4, 5], np.uint32))


@pytest.mark.operation("nki.collectives.all_gather_v")
def test_all_gather_v():
    check_all_gather_v(split=False)


@pytest.mark.operation("nki.collectives.all_gather_v_prepare")
@pytest.mark.operation("nki.collectives.all_gather_v_trigger")
def test_all_gather_v_in_two_parts():
    check_all_gather_v(split=True)


@pytest.mark.operation("nki.collectives.collective_permute")
def test_collective_permute():
    def kernel(x):
        there = copied(x)
        ncc.collective_permute([x], [there], [(0, 2), (2, 3), (3, 0)])
        return there

    outputs = on_ranks(kernel, ARRAYS)
    for rank, source in enumerate([3, 1, 0, 2]):
        same(outputs[rank], ARRAYS[source])


@pytest.mark.operation("nki.collectives.collective_permute_implicit")
def test_collective_permute_implicit():
    def kernel(x):
        first, second = hbm(x.shape), hbm(x.shape)
        ncc.collective_permute_implicit([[x], [x]], [[first], [second]], ALL, [0, 1])
        return first, second

    for rank, (first, second) in enumerate(on_ranks(kernel, ARRAYS)):
        same(first, ARRAYS[rank - 1])
        same(second, ARRAYS[rank - 1])


@pytest.mark.operation("nki.collectives.collective_permute_implicit_reduce")
def test_collective_permute_implicit_reduce():
    def kernel(x, y):
        there = hbm(x.shape)
        ncc.collective_permute_implicit_reduce([[x]], [[y]], [[there]], ALL, nl.maximum)
        return there

    others = [array[::-1].copy() for array in ARRAYS]
    for rank, output in enumerate(on_ranks(kernel, ARRAYS, others)):
        same(output, np.maximum(ARRAYS[rank - 1], others[rank - 1]))


@pytest.mark.operation("nki.collectives.collective_permute_implicit_current_processing_rank_id")
@pytest.mark.operation("nki.collectives.rank_id")
def test_the_rank_and_whose_data_a_step_of_the_ring_works_on():
    def kernel():
        there = hbm((1, RANKS + 1), nl.int32)
        nisa.register_store(there[:, 0:1], ncc.rank_id())
        for step in range(RANKS):
            source = ncc.collective_permute_implicit_current_processing_rank_id(step, ALL)
            nisa.register_store(there[:, step + 1 : step + 2], source)
        return there

    for rank, output in enumerate(on_ranks(kernel)):
        same(output, np.array([[rank, *((rank - step) % RANKS for step in range(RANKS))]], np.int32))


def on_two_cores(kernel, *arrays):
    return execute(nki.jit(kernel)[2], arrays, {}, Sim()).outputs[0]


@pytest.mark.operation("nki.isa.sendrecv")
def test_sendrecv():
    def kernel(x):
        core = nl.program_id(0)
        mine, theirs = nl.load(x[nl.ds(4 * core, 4)]), nl.ndarray((4, 6), nl.float32)
        nisa.sendrecv(src=mine, dst=theirs, send_to_rank=1 - core, recv_from_rank=1 - core, pipe_id=0)
        there = hbm(x.shape)
        nisa.dma_copy(there[nl.ds(4 * core, 4)], theirs)
        return there

    same(on_two_cores(kernel, ARRAYS[0]), np.concatenate([ARRAYS[0][4:], ARRAYS[0][:4]]))


@pytest.mark.operation("nki.isa.core_barrier")
def test_core_barrier():
    """Each core reads what the other one wrote before the barrier; without it that is a race, and a finding."""

    def kernel(x):
        core = nl.program_id(0)
        middle, there = hbm(x.shape), hbm(x.shape)
        nisa.dma_copy(middle[nl.ds(4 * core, 4)], nl.load(x[nl.ds(4 * core, 4)]))
        nisa.core_barrier(middle, (0, 1))
        nisa.dma_copy(there[nl.ds(4 * core, 4)], nl.load(middle[nl.ds(4 - 4 * core, 4)]))
        return there

    same(on_two_cores(kernel, ARRAYS[0]), np.concatenate([ARRAYS[0][4:], ARRAYS[0][:4]]))
