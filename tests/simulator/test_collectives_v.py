"""Collectives whose sizes are known only when they run, whole and in two halves."""

from __future__ import annotations

import nki.collectives as ncc
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkilab.simulator import KernelError, UnsupportedError
from tests.simulator.ranks import ALL, RANKS, copied, hbm, run


def counts_of(rank):
    """What each rank sends: r + 1 elements to rank r, from 8 r on; rows 2 and 3 are free."""
    table = np.zeros((3, RANKS), np.uint32)
    table[0] = [(rank + r) % 3 + 1 for r in range(RANKS)]
    table[1] = [8 * r for r in range(RANKS)]
    return table


@pytest.mark.parametrize("split", [False, True], ids=["at once", "prepare and trigger"])
@pytest.mark.parametrize("known", [False, True])
def test_all_to_all_v(split, known):
    def kernel(x, counts):
        own, table = nl.zeros(x.shape, x.dtype, buffer=nl.shared_hbm), copied(counts)
        group = ncc.ReplicaGroup(ALL)
        if split:
            prepared = ncc.all_to_all_v_prepare([x], [own], group, table, recv_counts_known=known)
            assert isinstance(prepared, nisa.NkiInstruction)
            ncc.all_to_all_v_trigger(prepared)
        else:
            ncc.all_to_all_v([x], [own], group, table, recv_counts_known=known)
        return own, table

    arrays = [np.arange(32, dtype=np.float32) + 100 * rank for rank in range(RANKS)]
    outputs = run(kernel, arrays, [counts_of(rank) for rank in range(RANKS)])
    for rank, (output, table) in enumerate(outputs):
        expected = np.zeros((RANKS, 8), np.float32)
        for sender in range(RANKS):
            count = (rank + sender) % 3 + 1
            expected[sender, :count] = arrays[sender][8 * rank : 8 * rank + count]
        assert (output.reshape(RANKS, 8) == expected).all()
        received = [0] * RANKS if known else [(rank + sender) % 3 + 1 for sender in range(RANKS)]
        assert table[2].tolist() == received


def test_all_to_all_v_with_receive_displacements():
    def kernel(x, counts):
        out = nl.zeros((RANKS,), x.dtype, buffer=nl.shared_hbm)
        ncc.all_to_all_v([x], [out], ncc.ReplicaGroup(ALL), copied(counts), has_rdispls=True)
        return out

    table = np.stack([np.ones(RANKS), np.arange(RANKS), np.zeros(RANKS), np.arange(RANKS)[::-1]]).astype(np.uint32)
    arrays = [np.arange(RANKS, dtype=np.float32) + 10 * rank for rank in range(RANKS)]
    outputs = run(kernel, arrays, table, target="trn3")
    assert outputs[1].tolist() == [31.0, 21.0, 11.0, 1.0]
    with pytest.raises(KernelError, match="trn3"):
        run(kernel, arrays, table, target="trn2")


def test_all_gather_v_with_metadata_in_sbuf():
    def kernel(x, counts):
        own = nl.zeros((RANKS * 4,), x.dtype, buffer=nl.shared_hbm)
        table = nl.ndarray((1, 3, RANKS), nl.uint32)
        nisa.dma_copy(table, counts.reshape((1, 3, RANKS)))
        ncc.all_gather_v([x], [own], ncc.ReplicaGroup(ALL), table)
        received = hbm((1, RANKS), counts)
        nisa.dma_copy(received, table[:, 2])
        return own, received

    arrays = [np.arange(8, dtype=np.float32) + 10 * rank for rank in range(RANKS)]
    counts = [np.full((3, RANKS), [[rank + 1], [2], [0]], np.uint32) for rank in range(RANKS)]
    for output, received in run(kernel, arrays, counts, cores=2):
        for rank in range(RANKS):
            slot = output[4 * rank : 4 * rank + 4]
            assert slot.tolist() == [*arrays[rank][2 : 3 + rank], *[0.0] * (3 - rank)]
        assert received.tolist() == [[1, 2, 3, 4]]
    with pytest.raises(KernelError, match="LNC=2"):
        run(kernel, arrays, counts, cores=1)


def test_elements_outside_are_refused():
    def kernel(x, counts):
        ncc.all_to_all_v([x], [hbm(x.shape, x)], ncc.ReplicaGroup(ALL), copied(counts))
        return x

    x, counts = np.zeros(32, np.float32), counts_of(0)
    counts[1, 3] = 32
    with pytest.raises(KernelError, match="leave the source of 32"):
        run(kernel, x, counts)
    counts = counts_of(0)
    counts[0, 0] = 9
    with pytest.raises(KernelError, match="the room for rank 0's chunk of 8"):
        run(kernel, x, counts)


def test_a_prepare_has_exactly_one_trigger():
    def start(x, counts):
        return ncc.all_to_all_v_prepare([x], [hbm(x.shape, x)], ncc.ReplicaGroup([[0]]), copied(counts))

    def never(x, counts):
        start(x, counts)
        return x

    def second(x, counts):
        start(x, counts)
        start(x, counts)
        return x

    def twice(x, counts):
        prepared = start(x, counts)
        ncc.all_to_all_v_trigger(prepared)
        ncc.all_to_all_v_trigger(prepared)
        return x

    x, counts = np.zeros(8, np.float32), np.zeros((3, 1), np.uint32)
    for kernel, message in ((never, "without its trigger"), (second, "another prepare"), (twice, "exactly once")):
        with pytest.raises(KernelError, match=message):
            run(kernel, x, counts, ranks=1)
    with pytest.raises(UnsupportedError, match=r"NKI 0\.6"):
        run(never, x, counts, ranks=1, nki="0.6")
