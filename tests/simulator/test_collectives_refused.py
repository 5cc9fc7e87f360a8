"""Calls of collectives that do not fit, ranks that disagree, collectives that do not match."""

from __future__ import annotations

import nki.collectives as ncc
import nki.language as nl
import pytest

from nkilab.simulator import DeadlockError, KernelError
from tests.simulator.ranks import ALL, copied, hbm, run


def reduced(x, groups=ALL, op=nl.add, dst=None, priority=None):
    ncc.all_reduce([x], [hbm(x.shape, x) if dst is None else dst(x)], ncc.ReplicaGroup(groups), op, priority)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: reduced(x, op=nl.multiply), "op=nl.multiply"),
        (lambda x: reduced(x, groups=[[0, 1], [1, 2, 3]]), "do not overlap"),
        (lambda x: reduced(x, groups=[[0, 1, 2, 3, 4]]), r"Sim\(ranks=5\)"),
        (lambda x: reduced(x, groups=[[1, 2, 3]]), "rank 0 calls"),
        (lambda x: reduced(x, dst=nl.load), "all tensors in HBM, or all in SBUF"),
        (lambda x: reduced(x, dst=lambda x: hbm((4, 16), x)), "same shape"),
        (lambda x: reduced(x, dst=lambda x: nl.ndarray(x.shape, nl.bfloat16, buffer=nl.shared_hbm)), "same dtype"),
        (lambda x: reduced(x, priority=0), "trn3 only"),
        (lambda x: ncc.all_reduce([x], [], ncc.ReplicaGroup(ALL), nl.add), "at least one tensor"),
        (lambda x: ncc.all_reduce([x], [copied(x)], ALL, nl.add), "ReplicaGroup"),
        (lambda x: ncc.all_gather([x], [hbm((8, 64), x)], ncc.ReplicaGroup(ALL), 1), "collective_dim=1"),
        (lambda x: ncc.all_gather([x], [hbm((16, 16), x)], ncc.ReplicaGroup(ALL), 0), "4 times"),
        (lambda x: ncc.reduce_scatter([x], [hbm((4, 16), x)], ncc.ReplicaGroup(ALL), 0, nl.add), "4 times"),
        (lambda x: ncc.all_to_all([nl.load(x)], [nl.load(x)], ncc.ReplicaGroup(ALL), 0), "tensors are in HBM"),
        (lambda x: ncc.collective_permute([x], [copied(x)], [(0, 1), (0, 2)]), "at most once"),
        (lambda x: ncc.collective_permute([x], [copied(x)], [(0, 9)]), "ranks 0 to 3"),
        (lambda x: ncc.collective_permute([x, x], [copied(x), copied(x)], [(0, 1)]), "exactly one"),
        (
            lambda x: ncc.collective_permute_implicit([[x]], [[copied(x)]], ncc.ReplicaGroup(ALL), channel_ids=[1]),
            "channel_ids",
        ),
        (lambda x: ncc.all_to_all_v([x], [copied(x)], ncc.ReplicaGroup(ALL), x), "metadata_tensor"),
    ],
)
def test_calls_that_do_not_fit_are_refused_at_their_line(arrays, call, message):
    def kernel(x):
        call(x)
        return x

    with pytest.raises(KernelError, match=message) as caught:
        run(kernel, arrays)
    assert caught.value.where.file == __file__


def test_ranks_that_disagree_are_told_with_both_lines(arrays):
    def kernel(x, rows):
        ncc.all_reduce([x[:rows]], [hbm((rows, 16), x)], ncc.ReplicaGroup(ALL), nl.add)
        return x

    with pytest.raises(KernelError, match="disagree on shapes") as caught:
        run(kernel, arrays, [8, 8, 4, 8])
    assert caught.value.values.count(__file__) == 2


def test_a_mismatched_collective_is_a_deadlock_told_at_once(arrays):
    def kernel(x, first):
        a, b = hbm(x.shape, x), hbm((32, 16), x)
        group = ncc.ReplicaGroup(ALL)
        if first:
            ncc.all_reduce([x], [a], group, nl.add)
            ncc.all_gather([x], [b], group, 0)
        else:
            ncc.all_gather([x], [b], group, 0)
            ncc.all_reduce([x], [a], group, nl.add)
        return a

    with pytest.raises(DeadlockError) as caught:
        run(kernel, arrays, [True, True, False, True])
    waits = caught.value.values.split("; ")
    assert len(waits) == 2
    assert waits[0].startswith("rank 0 core 0, rank 1 core 0, rank 3 core 0 waiting at ")
    assert waits[0].endswith("in nki.collectives.all_reduce for rank 2 core 0")
    assert waits[1].endswith("in nki.collectives.all_gather for rank 0 core 0, rank 1 core 0, rank 3 core 0")
