"""Collectives of fixed sizes between simulated devices, each against NumPy, in HBM and in SBUF, whole and in groups."""

from __future__ import annotations

import nki
import nki.collectives as ncc
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkilab.errors import UsageError
from nkilab.simulator import Sim, execute, per_rank
from tests.simulator.ranks import ALL, PAIRS, RANKS, copied, hbm, ring_all_reduce, run

REDUCTIONS = {nl.add: np.add, nl.minimum: np.minimum, nl.maximum: np.maximum}


def reduced(arrays, place, op=nl.add):
    return REDUCTIONS[op].reduce(arrays)


# What is called, the target's shape for arrays of (8, 16) on n ranks, and what the rank at a place of the list gets.
CALLS = {
    "all_reduce": (lambda s, d, g: ncc.all_reduce(s, d, g, nl.add), lambda n: (8, 16), reduced),
    "all_gather": (lambda s, d, g: ncc.all_gather(s, d, g, 0), lambda n: (8 * n, 16), lambda a, _: np.concatenate(a)),
    "reduce_scatter": (
        lambda s, d, g: ncc.reduce_scatter(s, d, g, 0, nl.add),
        lambda n: (8 // n, 16),
        lambda a, place: np.split(reduced(a, place), len(a))[place],
    ),
    "all_to_all": (
        lambda s, d, g: ncc.all_to_all(s, d, g, 0),
        lambda n: (8, 16),
        lambda a, place: np.concatenate([np.split(each, len(a))[place] for each in a]),
    ),
}


@pytest.mark.parametrize("groups", [ALL, PAIRS], ids=["all", "pairs"])
@pytest.mark.parametrize("api", CALLS)
def test_a_collective_equals_numpy_in_the_order_of_its_list(arrays, api, groups):
    call, shape, expected = CALLS[api]

    def kernel(x):
        out = hbm(shape(len(groups[0])), x)
        call([x], [out], ncc.ReplicaGroup(groups))
        return out

    outputs = run(kernel, arrays)
    for group in groups:
        for place, rank in enumerate(group):
            assert (outputs[rank] == expected([arrays[r] for r in group], place)).all()


@pytest.mark.parametrize("op", REDUCTIONS)
def test_reductions_have_three_operators(arrays, op):
    def kernel(x):
        out = hbm(x.shape, x)
        ncc.all_reduce([x], [out], ncc.ReplicaGroup(ALL), op)
        return out

    assert (run(kernel, arrays)[3] == reduced(arrays, 3, op)).all()


def test_all_reduce_of_integers_is_exact_and_wraps():
    def kernel(x):
        out = hbm(x.shape, x)
        ncc.all_reduce([x], [out], ncc.ReplicaGroup(ALL), nl.add)
        return out

    x = np.array([2**30 + 1, 16777217], np.int32)
    assert run(kernel, x)[0].tolist() == [4, 4 * 16777217]


def test_several_tensors_at_once(arrays):
    def kernel(x, y):
        a, b = hbm(x.shape, x), hbm(y.shape, y)
        ncc.all_reduce([x, y], [a, b], ncc.ReplicaGroup(ALL), nl.add)
        return a, b

    halves = [array[:, :3].copy() for array in arrays]
    for a, b in run(kernel, arrays, halves):
        assert (a == np.add.reduce(arrays)).all()
        assert (b == np.add.reduce(halves)).all()


@pytest.mark.parametrize("dim", [0, 1])
def test_all_gather_in_sbuf(arrays, dim):
    def kernel(x):
        tile = nl.load(x)
        shape = [n * (RANKS if d == dim else 1) for d, n in enumerate(x.shape)]
        gathered = nl.ndarray(shape, x.dtype, buffer=nl.sbuf)
        ncc.all_gather([tile], [gathered], ncc.ReplicaGroup(ALL), dim)
        out = hbm(shape, x)
        nisa.dma_copy(out, gathered)
        return out

    for output in run(kernel, arrays):
        assert (output == np.concatenate(arrays, axis=dim)).all()


def test_all_gather_and_matmul_on_two_cores_of_each_rank():
    """Each core multiplies its half of the columns of what all ranks gathered."""

    def kernel(x, weights):
        gathered = hbm((128, 32), x)
        ncc.all_gather([x], [gathered], ncc.ReplicaGroup(ALL), 0)
        columns = weights.shape[1] // 2
        mine = nl.ds(nl.program_id(0) * columns, columns)
        product = nl.ndarray((32, columns), nl.float32, buffer=nl.psum)
        nisa.nc_matmul(product, nl.load(gathered), nl.load(weights[:, mine]))
        tile = nl.ndarray(product.shape, x.dtype)
        nisa.tensor_copy(tile, product)
        out = hbm((32, weights.shape[1]), x)
        nisa.dma_copy(out[:, mine], tile)
        return out

    rng = np.random.default_rng(4)
    parts = [rng.standard_normal((32, 32), dtype=np.float32) for _ in range(RANKS)]
    weights = rng.standard_normal((128, 64), dtype=np.float32)
    for output in run(kernel, parts, weights, cores=2):
        np.testing.assert_allclose(output, np.concatenate(parts).T @ weights, rtol=1e-4, atol=1e-4)


def test_a_collective_that_one_core_of_every_rank_calls_is_for_both(arrays):
    def kernel(x):
        out = hbm(x.shape, x)
        if nl.program_id(0) == 0:
            ncc.all_reduce([x], [out], ncc.ReplicaGroup(ALL), nl.add)
        nisa.core_barrier(out, (0, 1))
        return out

    for output in run(kernel, arrays, cores=2):
        assert (output == np.add.reduce(arrays)).all()


def test_rank_id_is_a_register():
    def kernel(x):
        out = nl.ndarray((1, 1), nl.int32, buffer=nl.shared_hbm)
        rank = ncc.rank_id()
        assert isinstance(rank, nisa.VirtualRegister)
        nisa.register_store(out, rank)
        return out

    outputs = run(kernel, np.zeros((1, 1), np.float32))
    assert [int(output[0, 0]) for output in outputs] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("op", "operand", "groups"),
    [
        ("bitwise_and", 0, [[0, 1, 2, 3, 4, 5, 6, 7]]),
        ("div", 4, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        ("mod", 4, [[0, 4], [1, 5], [2, 6], [3, 7]]),
    ],
)
def test_replica_groups_by_an_operation(op, operand, groups):
    group = ncc.ReplicaGroup.from_partition_op(8, ncc.rg_partition_op[op], operand)
    assert [list(ranks) for ranks in group.groups] == groups


def test_the_trace_tells_who_took_part(arrays):
    def kernel(x):
        out = hbm(x.shape, x)
        ncc.all_reduce([x], [out], ncc.ReplicaGroup(PAIRS), nl.maximum)
        return out

    trace = execute(nki.jit(kernel), (per_rank(arrays),), {}, Sim(ranks=RANKS)).trace
    table, instructions = trace.columns()["collectives"], trace.columns()["instructions"]
    assert sorted(zip(table["meeting"].tolist(), table["rank"].tolist(), strict=True)) == [
        (0, 0),
        (0, 1),
        (1, 2),
        (1, 3),
    ]
    assert {trace.names["api"][i] for i in table["api"]} == {"all_reduce"}
    assert {trace.names["function"][i] for i in table["function"]} == {"maximum"}
    assert {trace.names["group"][i] for i in table["group"]} == {"[[0, 1], [3, 2]]"}
    assert (table["sent"] == 8 * 16 * 4).all()
    assert (instructions["rank"][table["instruction"]] == table["rank"]).all()


def test_without_values_ranks_run_too(arrays):
    execution = execute(nki.jit(ring_all_reduce), (per_rank(arrays),), {}, Sim(ranks=RANKS, values=False))
    assert len(execution.outputs) == RANKS
    assert execution.findings == ()


def test_per_rank_has_a_value_for_each_rank(arrays):
    with pytest.raises(UsageError, match="4 values for 2 ranks"):
        run(ring_all_reduce, arrays, ranks=2)


def test_an_array_of_all_ranks_takes_what_they_all_leave_in_it(arrays):
    def kernel(total, x):
        received = hbm(x.shape, x)
        ncc.all_reduce([copied(x)], [received], ncc.ReplicaGroup(ALL), nl.add)
        nisa.dma_copy(total, received)

    total = np.zeros((8, 16), np.float32)
    execute(kernel, (total, per_rank(arrays)), {}, Sim(ranks=RANKS), mutates=("total",))
    assert (total == np.add.reduce(arrays)).all()


def test_ranks_that_leave_different_values_in_one_array_are_told(arrays):
    def kernel(cache, x):
        nisa.dma_copy(cache, x)

    cache = np.zeros((8, 16), np.float32)
    with pytest.raises(UsageError, match=r"different values in the argument cache") as caught:
        execute(kernel, (cache, per_rank(arrays)), {}, Sim(ranks=RANKS), mutates=("cache",))
    assert "per_rank" in caught.value.fix
    assert not cache.any()
    own = [np.zeros((8, 16), np.float32) for _ in range(RANKS)]
    execute(kernel, (per_rank(own), per_rank(arrays)), {}, Sim(ranks=RANKS), mutates=("cache",))
    assert all((mine == x).all() for mine, x in zip(own, arrays, strict=True))
