"""Two cores of a logical NeuronCore: shared HBM, barriers, sendrecv, and the races between them."""

from __future__ import annotations

import threading

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkilab.simulator import KernelError, Sim, execute
from nkilab.simulator.team import DeadlockError


def copy(dst, src):
    """HBM to HBM through SBUF, by rows of at most 128."""
    tile = nl.ndarray(src.shape, src.dtype, buffer=nl.sbuf)
    nisa.dma_copy(tile, src)
    nisa.dma_copy(dst, tile)


@nki.jit
def matmul(lhsT, rhs):
    """Each core computes its half of the columns."""
    k, m = lhsT.shape
    columns = rhs.shape[1] // nl.num_programs()
    mine = nl.ds(nl.program_id(0) * columns, columns)
    out = nl.ndarray((m, rhs.shape[1]), nl.float32, buffer=nl.shared_hbm)
    left, right = nl.ndarray((k, m), lhsT.dtype), nl.ndarray((k, columns), rhs.dtype)
    nisa.dma_copy(left, lhsT)
    nisa.dma_copy(right, rhs[:, mine])
    product = nl.ndarray((m, columns), nl.float32, buffer=nl.psum)
    nisa.nc_matmul(product, left, right)
    tile = nl.ndarray((m, columns), nl.float32)
    nisa.tensor_copy(tile, product)
    nisa.dma_copy(out[:, mine], tile)
    return out


@nki.jit
def exchanged(x):
    """Each core writes its half of the rows to shared HBM; then each reads the half of the other one."""
    half = x.shape[0] // 2
    core = nl.program_id(0)
    mine, other = nl.ds(core * half, half), nl.ds((1 - core) * half, half)
    middle = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm, name="middle")
    out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    copy(middle[mine], x[mine])
    nisa.core_barrier(middle, (0, 1))
    copy(out[other], middle[other])
    return out


@nki.jit
def without_barrier(x):
    """As `exchanged`, but nothing orders the cores."""
    half = x.shape[0] // 2
    core = nl.program_id(0)
    mine, other = nl.ds(core * half, half), nl.ds((1 - core) * half, half)
    middle = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm, name="middle")
    out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    tile = nl.ndarray((half, x.shape[1]), x.dtype)
    nisa.dma_copy(tile, x[mine])
    nisa.dma_copy(middle[mine], tile)  # written
    nisa.dma_copy(tile, middle[other])  # read
    nisa.dma_copy(out[other], tile)
    return out


@pytest.fixture
def array(rng):
    return rng.standard_normal((128, 64), dtype=np.float32)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def races(execution) -> list:
    return [finding for finding in execution.findings if finding.code == "race"]


@pytest.mark.parametrize("cores", [1, 2])
def test_a_matmul_on_each_number_of_cores_equals_numpy(cores, rng):
    lhsT, rhs = (rng.standard_normal((128, n), dtype=np.float32) for n in (128, 256))
    np.testing.assert_allclose(matmul[cores](lhsT, rhs), lhsT.T @ rhs, rtol=1e-4, atol=1e-4)


def test_the_variable_sets_the_number_of_cores(monkeypatch, rng):
    monkeypatch.setenv("NEURON_LOGICAL_NC_CONFIG", "2")
    lhsT, rhs = (rng.standard_normal((128, 128), dtype=np.float32) for _ in range(2))
    execution = execute(matmul, (lhsT, rhs), {})
    assert set(execution.trace.columns()["instructions"]["core"]) == {0, 1}


def test_a_barrier_orders_the_cores(array):
    execution = execute(exchanged[2], (array,), {})
    assert (execution.outputs[0] == array).all()
    assert execution.findings == ()


def test_a_missing_barrier_is_a_race_with_both_lines(array, line_of):
    execution = execute(without_barrier[2], (array,), {}, Sim(on_finding="collect"))
    written, read = line_of(without_barrier, "written"), line_of(without_barrier, "read")
    found = races(execution)
    assert found
    assert {finding.where.line for finding in found} == {read}
    assert all(f":{written} " in finding.message and "middle" in finding.message for finding in found)
    assert not any(finding.code == "uninitialised-read" for finding in execution.findings)


def test_a_race_is_found_without_values_too(array):
    execution = execute(without_barrier[2], (array,), {}, Sim(on_finding="collect", values=False))
    assert races(execution)


def test_interleaved_columns_do_not_race_but_one_shared_column_does(array):
    def kernel(x, overlap):
        out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        n = x.shape[1] // 2
        core = nl.program_id(0)
        first = core * (n - overlap)
        tile = nl.load(x[:, first : first + n])
        nisa.tensor_scalar(tile, tile, nl.add, float(core))
        nisa.dma_copy(out[:, first : first + n], tile)
        return out

    lnc2 = nki.jit(kernel)[2]
    assert not races(execute(lnc2, (array, 0), {}))
    assert races(execute(lnc2, (array, 1), {}, Sim(on_finding="collect")))


def test_rows_scattered_by_indices_race_only_where_they_meet(array):
    def kernel(x, rows):
        out = nl.zeros(x.shape, x.dtype, buffer=nl.shared_hbm)
        core = nl.program_id(0)
        index = nl.load(rows[core].reshape((64, 1)))
        tile = nl.load(x[nl.ds(core * 64, 64)])
        nisa.dma_copy(out.ap([[64, 64], [1, 64]], vector_offset=index, indirect_dim=0), tile)
        return out

    lnc2 = nki.jit(kernel)[2]
    order = np.random.default_rng(1).permutation(128).astype(np.int32).reshape(2, 64)
    clean = execute(lnc2, (array, order), {})
    assert (clean.outputs[0][order.reshape(-1)] == array).all()
    order[1, 3] = order[0, 5]
    assert races(execute(lnc2, (array, order), {}, Sim(on_finding="collect")))


def test_both_cores_writing_the_same_values_do_not_race_but_partial_sums_do(array):
    def kernel(x, apart):
        out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        tile = nl.load(x)
        nisa.tensor_scalar(tile, tile, nl.add, float(nl.program_id(0) * apart))
        nisa.dma_copy(out, tile)
        return out

    lnc2 = nki.jit(kernel)[2]
    assert not races(execute(lnc2, (array, 0), {}))
    assert races(execute(lnc2, (array, 1), {}, Sim(on_finding="collect")))


def test_tensors_filled_when_made_are_filled_once(array):
    def kernel(x):
        out = nl.zeros(x.shape, x.dtype, buffer=nl.shared_hbm)
        if nl.program_id(0) == 0:
            copy(out, x)
        return out

    assert (nki.jit(kernel)[2](array) == array).all()


def test_private_hbm_belongs_to_a_core(array):
    def kernel(x):
        core = nl.program_id(0)
        own = nl.ndarray((64, 64), x.dtype, buffer=nl.private_hbm)
        out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        copy(own, x[nl.ds(core * 64, 64)])
        copy(out[nl.ds(core * 64, 64)], own)
        return out

    assert (nki.jit(kernel)[2](array) == array).all()


def test_mutable_inputs_are_updated_by_both_cores(array):
    def kernel(cache, x):
        copy(cache[nl.ds(nl.program_id(0) * 64, 64)], x[nl.ds(nl.program_id(0) * 64, 64)])

    cache = np.zeros_like(array)
    execute(nki.jit(kernel)[2], (cache, array), {}, mutates=("cache",))
    assert (cache == array).all()


def test_sendrecv_swaps_tiles(array):
    def kernel(x):
        core = nl.program_id(0)
        mine, received = nl.load(x[nl.ds(core * 64, 64)]), nl.ndarray((64, 64), x.dtype)
        nisa.sendrecv(mine, received, send_to_rank=1 - core, recv_from_rank=1 - core, pipe_id=0)
        out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(out[nl.ds(core * 64, 64)], received)
        return out

    execution = execute(nki.jit(kernel)[2], (array,), {})
    assert (execution.outputs[0] == np.roll(array, 64, axis=0)).all()
    table = execution.trace.columns()["collectives"]
    assert table["sent"].tolist() == table["received"].tolist() == [64 * 64 * 4] * 2
    assert table["meeting"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a, b: nisa.sendrecv(a, b, 1, 2, 0), "recv_from_rank=2"),
        (lambda a, b: nisa.sendrecv(a, b[:, :32], 1, 1, 0), "same shape"),
        (lambda a, b: nisa.sendrecv(a, b, 0, 1, 0), "disagree"),
        (lambda a, b: nisa.sendrecv(a, b.view(nl.int32), 1, 1, 0), "same dtype"),
    ],
)
def test_sendrecv_refuses(call, message, array):
    def kernel(x):
        call(nl.load(x), nl.load(x))
        return x

    with pytest.raises(KernelError, match=message):
        nki.jit(kernel)[2](array)


def test_the_gpsimd_dma_of_sendrecv_moves_at_most_256_elements():
    def kernel(x):
        tile, other = nl.load(x), nl.ndarray(x.shape, x.dtype)
        core = nl.program_id(0)
        nisa.sendrecv(tile, other, 1 - core, 1 - core, 0, dma_engine=nisa.dma_engine.gpsimd_dma)
        return x

    lnc2 = nki.jit(kernel)[2]
    lnc2(np.ones((64, 256), np.float32))
    with pytest.raises(KernelError, match="at most 1024 bytes"):
        lnc2(np.ones((64, 257), np.float32))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: nisa.core_barrier(x, (0,)), r"cores=\(0,\)"),
        (lambda x: nisa.core_barrier(nl.ndarray((4, 4), nl.float32, buffer=nl.private_hbm), (0, 1)), "shared_hbm"),
        (lambda x: nisa.core_barrier(nl.load(x), (0, 1)), "SBUF"),
        (lambda x: nisa.core_barrier(x, (0, 1), engine=nisa.engine.dma), "cannot run on engine.dma"),
    ],
)
def test_core_barrier_refuses(call, message, array):
    def kernel(x):
        call(x)
        return x

    with pytest.raises(KernelError, match=message):
        nki.jit(kernel)[2](array)


def test_core_barrier_on_one_core_is_of_api_0_7(array):
    def kernel(x):
        nisa.core_barrier(x, (0, 1))
        return x

    execute(kernel, (array,), {}, Sim(nki="0.7"))
    with pytest.raises(KernelError, match="one core"):
        execute(kernel, (array,), {}, Sim(nki="0.6"))


def test_sendrecv_needs_two_cores(array):
    def kernel(x):
        nisa.sendrecv(nl.load(x), nl.load(x), 0, 0, 0)
        return x

    with pytest.raises(KernelError, match="LNC=2"):
        execute(kernel, (array,), {})


def test_trn1_has_no_logical_cores(array):
    with pytest.raises(KernelError, match="trn1"):
        execute(exchanged[2], (array,), {}, Sim(target="trn1"))


def test_a_barrier_that_one_core_skips_is_a_deadlock(array, line_of):
    @nki.jit
    def kernel(x):
        if nl.program_id(0) == 0:
            nisa.core_barrier(x, (0, 1))  # waits
        return x

    with pytest.raises(DeadlockError, match="core 1 ended") as caught:
        kernel[2](array)
    assert caught.value.where.line == line_of(kernel, "waits")
    assert caught.value.code == "deadlock"


def test_cores_that_allocate_differently_are_told(array):
    def shapes(x):
        rows = 64 + nl.program_id(0)
        return nl.ndarray((rows, 64), x.dtype, buffer=nl.shared_hbm, name="result")

    with pytest.raises(KernelError, match="allocate 'result' in shared HBM differently"):
        nki.jit(shapes)[2](array)

    def branches(x):
        if nl.program_id(0) == 0:
            return nl.zeros((128, 64), x.dtype, buffer=nl.shared_hbm)
        return nl.zeros((128, 32), x.dtype, buffer=nl.shared_hbm)

    with pytest.raises(KernelError, match="returns different tensors"):
        nki.jit(branches)[2](array)


def test_an_error_on_one_core_ends_the_other(array, line_of):
    @nki.jit
    def kernel(x):
        if nl.program_id(0) == 1:
            nl.ndarray((129, 4), x.dtype)  # fails
        nisa.core_barrier(x, (0, 1))
        return x

    before = threading.active_count()
    with pytest.raises(KernelError, match="129 partitions") as caught:
        kernel[2](array)
    assert caught.value.where.line == line_of(kernel, "fails")
    assert caught.value.__notes__ == ["on rank 0, core 1"]
    for thread in threading.enumerate():
        if thread.name.startswith("nkilab rank"):
            thread.join(10)
    assert threading.active_count() == before


def test_threads_may_simulate_two_cores_at_once(array):
    results: list = [None] * 4

    def work(i):
        results[i] = exchanged[2](array + i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((results[i] == array + i).all() for i in range(4))


def test_one_core_runs_on_the_callers_thread(array):
    seen: list = []

    def kernel(x):
        seen.append(threading.current_thread())
        return x

    execute(kernel, (array,), {})
    assert seen == [threading.current_thread()]
