"""Collectives between simulated devices, each against NumPy; what they refuse; deadlocks."""

from __future__ import annotations

import nki
import nki.collectives as ncc
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkilab.errors import UsageError
from nkilab.simulator import KernelError, Sim, UnsupportedError, execute, per_rank
from nkilab.simulator.team import DeadlockError

RANKS = 4
ALL = [[0, 1, 2, 3]]
PAIRS = [[0, 1], [3, 2]]


@pytest.fixture
def arrays():
    rng = np.random.default_rng(11)
    return [rng.standard_normal((8, 16), dtype=np.float32) for _ in range(RANKS)]


def run(kernel, *args, ranks=RANKS, cores=1, **options):
    """Outputs of all ranks; lists become one argument for each rank."""
    given = [per_rank(arg) if isinstance(arg, list) else arg for arg in args]
    return execute(nki.jit(kernel)[cores], given, {}, Sim(ranks=ranks, **options)).outputs


def copied(x):
    """A tensor of the kernel's own in HBM with the contents of an input."""
    own = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(own, x)
    return own


def hbm(shape, like):
    return nl.ndarray(shape, like.dtype, buffer=nl.shared_hbm)


@pytest.mark.parametrize("groups", [ALL, PAIRS])
@pytest.mark.parametrize(
    ("op", "numpy"), [(nl.add, np.add), (nl.minimum, np.minimum), (nl.maximum, np.maximum)], ids=["add", "min", "max"]
)
def test_all_reduce(arrays, groups, op, numpy):
    def kernel(x):
        out = hbm(x.shape, x)
        ncc.all_reduce([x], [out], ncc.ReplicaGroup(groups), op)
        return out

    outputs = run(kernel, arrays)
    for group in groups:
        for rank in group:
            assert (outputs[rank] == numpy.reduce([arrays[r] for r in group])).all()


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


def test_a_gather_has_the_order_of_the_list(arrays):
    def kernel(x):
        out = hbm((16, 16), x)
        ncc.all_gather([x], [out], ncc.ReplicaGroup(PAIRS), 0)
        return out

    outputs = run(kernel, arrays)
    assert (outputs[2] == np.concatenate([arrays[3], arrays[2]])).all()


def test_reduce_scatter(arrays):
    def kernel(x):
        out = hbm((2, 16), x)
        ncc.reduce_scatter([x], [out], ncc.ReplicaGroup(ALL), 0, nl.add)
        return out

    total = np.add.reduce(arrays)
    for rank, output in enumerate(run(kernel, arrays)):
        assert (output == total[2 * rank : 2 * rank + 2]).all()


def test_all_to_all(arrays):
    def kernel(x):
        out = hbm(x.shape, x)
        ncc.all_to_all([x], [out], ncc.ReplicaGroup(ALL), 0)
        return out

    for rank, output in enumerate(run(kernel, arrays)):
        assert (output == np.concatenate([array[2 * rank : 2 * rank + 2] for array in arrays])).all()


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


def ring_all_reduce(x):
    """Every rank's array goes round the ring, and each rank adds what comes by."""
    group = ncc.ReplicaGroup([list(range(RANKS))])
    total, buffers = nl.load(x), [copied(x), hbm(x.shape, x)]
    for step in range(RANKS - 1):
        here, there = buffers[step % 2], buffers[(step + 1) % 2]
        ncc.collective_permute_implicit([[here]], [[there]], group)
        nisa.tensor_tensor(total, total, nl.load(there), nl.add)
    out = hbm(x.shape, x)
    nisa.dma_copy(out, total)
    return out


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
    assert caught.value.values.count("test_collectives.py") == 2


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


def test_a_collective_that_one_core_of_every_rank_calls_is_for_both(arrays):
    def kernel(x):
        out = hbm(x.shape, x)
        if nl.program_id(0) == 0:
            ncc.all_reduce([x], [out], ncc.ReplicaGroup(ALL), nl.add)
        nisa.core_barrier(out, (0, 1))
        return out

    for output in run(kernel, arrays, cores=2):
        assert (output == np.add.reduce(arrays)).all()


@pytest.mark.parametrize("ordered", [True, False])
def test_the_other_core_must_wait_for_what_one_core_received(arrays, ordered):
    """Core 0 takes part alone; core 1 reads the result behind a barrier, or, in the faulty twin, without one."""

    def kernel(x, ordered):
        received, out = hbm(x.shape, x), hbm(x.shape, x)
        if nl.program_id(0) == 0:
            ncc.all_reduce([x], [received], ncc.ReplicaGroup(ALL), nl.add)
        if ordered:
            nisa.core_barrier(received, (0, 1))
        if nl.program_id(0) == 1:
            tile = nl.load(received)
            nisa.dma_copy(out, tile)
        return out

    options = Sim(ranks=RANKS, on_finding="collect")
    execution = execute(nki.jit(kernel)[2], (per_rank(arrays), ordered), {}, options)
    codes = {finding.code for finding in execution.findings}
    assert codes == set() if ordered else "race" in codes


def test_an_exception_on_one_rank_ends_all_with_it(arrays):
    def kernel(x, bad):
        if bad:
            raise ZeroDivisionError("mine")
        ring_all_reduce(x)
        return x

    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        run(kernel, arrays, [False, False, True, False])
    assert caught.value.__notes__ == ["on rank 2, core 0"]


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
