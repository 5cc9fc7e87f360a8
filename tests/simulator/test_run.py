"""A kernel run from arrays to arrays: values, ways to call it, in-place updates, torch, threads."""

from __future__ import annotations

import threading

import ml_dtypes
import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkilab.errors import UsageError
from nkilab.kernels import matmul, rmsnorm
from nkilab.reference import rmsnorm as rmsnorm_reference
from nkilab.simulator import Sim, execute


@nki.jit
def double(x):
    tile = nl.load(x)
    nisa.tensor_scalar(tile, tile, nl.multiply, 2.0)
    out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
    nl.store(out, tile)
    return out


@nki.jit
def add_in_place(x, y):
    tile, other = nl.load(x), nl.load(y)
    nisa.tensor_tensor(tile, tile, other, nl.add)
    nisa.dma_copy(x, tile)
    return x


@pytest.fixture
def array():
    return np.arange(256, dtype=np.float32).reshape(128, 2)


@pytest.mark.parametrize("name", ["matmul_tiled", "matmul_hoisted", "matmul_blocked", "matmul_fully_blocked"])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_every_matmul_step_equals_numpy(simulate, name, dtype):
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal((256, n)).astype(dtype) for n in (256, 1024))
    run = simulate(getattr(matmul, name), left, right)
    expected = left.astype(np.float32).T @ right.astype(np.float32)
    tolerance = 1e-4 if dtype is np.float32 else 2**-8 * np.abs(expected).max()
    np.testing.assert_allclose(run.outputs[0].astype(np.float32), expected, atol=tolerance)
    assert run.outputs[0].dtype == np.dtype(dtype)
    assert run.findings == ()


def test_rmsnorm_equals_its_reference(simulate):
    rng = np.random.default_rng(1)
    x, gain = rng.standard_normal((200, 96), np.float32), rng.standard_normal((1, 96), np.float32)
    run = simulate(rmsnorm.rmsnorm, x, gain)
    np.testing.assert_allclose(run.outputs[0], rmsnorm_reference.rmsnorm(x, gain), rtol=1e-5, atol=1e-6)
    assert run.findings == ()


def test_a_direct_call_nki_simulate_and_execute_agree(array):
    expected = array * 2
    np.testing.assert_array_equal(double(array), expected)
    np.testing.assert_array_equal(nki.simulate(double)(array), expected)
    np.testing.assert_array_equal(nki.simulate(double.function)(array), expected)
    np.testing.assert_array_equal(execute(double, (), {"x": array}, Sim()).outputs[0], expected)


def test_the_target_comes_from_sim_then_the_environment_then_is_trn2(monkeypatch, array):
    assert execute(double, (array,), {}).sim.target == "trn2"
    monkeypatch.setenv("NEURON_PLATFORM_TARGET_OVERRIDE", "gen4")
    assert execute(double, (array,), {}).sim.target == "trn3"
    assert execute(double, (array,), {}, Sim(target="trn1")).sim.target == "trn1"


def test_a_kernel_called_in_a_kernel_is_inlined(simulate, array):
    @nki.jit
    def twice(x):
        return double(double(x))

    np.testing.assert_array_equal(simulate(twice, array).outputs[0], array * 4)


def test_in_place_updates_reach_the_callers_array_and_only_at_the_end(simulate, array):
    mine, other = array.copy(), np.ones_like(array)

    @nki.jit
    def fails_later(x, y):
        add_in_place.function(x, y)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        simulate(fails_later, mine, other)
    np.testing.assert_array_equal(mine, array)
    simulate(add_in_place, mine, other)
    np.testing.assert_array_equal(mine, array + 1)


def test_kernels_return_tuples_lists_dicts_or_nothing(simulate, array):
    def nested(x):
        return {"a": double(x), "b": [double(x), (double(x), 3)]}

    def nothing(x):
        double(x)

    output = simulate(nested, array).outputs[0]
    np.testing.assert_array_equal(output["b"][1][0], array * 2)
    assert output["b"][1][1] == 3
    assert simulate(nothing, array).outputs[0] is None


@pytest.mark.torch
def test_torch_tensors_come_back_as_torch_tensors():
    torch = pytest.importorskip("torch")
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.arange(256, dtype=dtype).reshape(128, 2)
        result = double(x)
        assert result.dtype == dtype
        assert torch.equal(result, x * 2)
    x, y = torch.zeros(128, 2, dtype=torch.bfloat16), torch.ones(128, 2, dtype=torch.bfloat16)
    add_in_place(x, y)
    assert torch.equal(x, y)


def test_two_threads_simulate_at_once(array):
    results = {}

    def work(n):
        results[n] = [double(array * n) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(n,)) for n in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, arrays in results.items():
        for result in arrays:
            np.testing.assert_array_equal(result, array * n * 2)


def test_without_values_the_trace_and_the_checks_stay(simulate):
    big = np.broadcast_to(np.zeros((), np.float32), (1024, 1024))
    with_values = simulate(matmul.matmul_tiled, np.ones((256, 256), np.float32), np.ones((256, 512), np.float32))
    small = np.broadcast_to(np.zeros((), np.float32), (256, 256)), np.broadcast_to(np.zeros((), np.float32), (256, 512))
    without = simulate(matmul.matmul_tiled, *small, values=False)
    for table, columns in with_values.trace.columns().items():
        for name, column in columns.items():
            np.testing.assert_array_equal(column, without.trace.columns()[table][name], err_msg=f"{table}.{name}")
    assert simulate(matmul.matmul_tiled, big, big, values=False).outputs[0].shape == (1024, 1024)


def test_imprecise_mode_keeps_low_precision_in_fp32(simulate):
    x = np.full((128, 4), 1.0, ml_dtypes.bfloat16)

    @nki.jit
    def kernel(a):
        tile = nl.load(a)
        nisa.tensor_scalar(tile, tile, nl.add, 1e-4)
        out = nl.ndarray(a.shape, a.dtype, nl.shared_hbm)
        nl.store(out, tile)
        return out

    assert float(simulate(kernel, x).outputs[0][0, 0]) == 1.0
    assert float(simulate(kernel, x, precise=False).outputs[0][0, 0]) == pytest.approx(1.0001)


def test_a_kernel_that_knows_no_cores_does_all_on_each(array):
    assert (double[2](array) == 2 * array).all()


def test_every_rank_gets_its_own_copy(array):
    outputs = execute(double, (array,), {}, Sim(ranks=4)).outputs
    assert len(outputs) == 4
    assert all((output == 2 * array).all() for output in outputs)


def test_arguments_that_do_not_fit_are_told_at_the_definition(array):
    with pytest.raises(UsageError, match="missing a required argument: 'y'") as caught:
        execute(add_in_place, (array,), {})
    assert caught.value.where.file == __file__
    with pytest.raises(UsageError, match="float64"):
        execute(double, (array.astype(np.float64),), {})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("target", "trn4", "did you mean 'trn"),
        ("ranks", 0, "at least 1"),
        ("seed", -1, "at least 0"),
        ("values", 1, "True or False"),
        ("on_finding", "ignore", "raise"),
        ("nki", "0.5", "0.6"),
        ("hardware", "trn2", "nkilab.hardware.load"),
    ],
)
def test_every_field_of_sim_is_checked_when_it_is_made(field, value, message):
    with pytest.raises(UsageError, match=message):
        Sim(**{field: value})
