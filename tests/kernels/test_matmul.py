"""The four matmul steps equal NumPy over shapes, dtypes and block sizes, without a finding."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import nkilab
from nkilab.kernels import matmul as kernels
from nkilab.reference import matmul as reference

STEPS = ("matmul_tiled", "matmul_hoisted", "matmul_blocked", "matmul_fully_blocked")
DTYPES = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
Array = NDArray[Any]


def operands(k: int, m: int, n: int, dtype: np.dtype[Any], seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((k, m)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)


def bound(lhsT: Array, rhs: Array, expected: Array) -> Array:
    """Largest honest difference: one rounding to the output dtype, and fp32 summation of K products in any order."""
    sums = np.abs(lhsT.astype(np.float64)).T @ np.abs(rhs.astype(np.float64))
    eps = float(ml_dtypes.finfo(expected.dtype).eps)
    return eps * np.abs(expected.astype(np.float64)) + 2 * lhsT.shape[0] * 2.0**-24 * sums


def assert_product(result: Any, lhsT: Array, rhs: Array) -> None:
    expected = reference.matmul_tiled(lhsT, rhs)
    assert result.shape == expected.shape
    assert result.dtype == expected.dtype
    error = np.abs(result.astype(np.float64) - expected.astype(np.float64))
    assert (error <= bound(lhsT, rhs, expected)).all()


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3"])
def test_every_step_equals_numpy_on_every_generation(step: str, dtype: np.dtype[Any], target: str) -> None:
    lhsT, rhs = operands(256, 256, 1024, dtype)
    run = nkilab.simulate(getattr(kernels, step), lhsT, rhs, sim=nkilab.Sim(target=target))
    assert_product(run.outputs, lhsT, rhs)
    assert run.findings == ()


@given(
    step=st.sampled_from(STEPS),
    k=st.integers(1, 3),
    m=st.integers(1, 3),
    n=st.integers(1, 3),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=25, deadline=None)
def test_any_multiple_of_a_tile(step: str, k: int, m: int, n: int, dtype: np.dtype[Any], seed: int) -> None:
    lhsT, rhs = operands(128 * k, 128 * m, 512 * n, dtype, seed)
    run = nkilab.simulate(getattr(kernels, step), lhsT, rhs)
    assert_product(run.outputs, lhsT, rhs)


@given(block_m=st.integers(1, 4), block_n=st.integers(1, 3), block_k=st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_block_sizes_change_the_loads_but_not_the_product(block_m: int, block_n: int, block_k: int) -> None:
    lhsT, rhs = operands(384, 384, 1024, DTYPES[2])
    blocks = {"tiles_in_block_m": block_m, "tiles_in_block_n": block_n, "tiles_in_block_k": block_k}
    run = nkilab.simulate(kernels.matmul_fully_blocked, lhsT, rhs, **blocks)
    assert_product(run.outputs, lhsT, rhs)


EVERY_LOAD = nkilab.Sim(values=False, policy=nkilab.Policy(repeats=0.0))


def hbm_read_bytes(step: str, lhsT: Array, rhs: Array) -> int:
    run = nkilab.simulate(getattr(kernels, step), lhsT, rhs, sim=EVERY_LOAD)
    return int(run.profile.table("Instruction")["hbm_read_bytes"].sum())


def test_each_step_loads_exactly_what_its_docstring_says() -> None:
    k, m, n = 1024, 512, 2048
    lhsT, rhs = operands(k, m, n, DTYPES[2])
    left, right = lhsT.nbytes, rhs.nbytes
    assert hbm_read_bytes("matmul_tiled", lhsT, rhs) == left * (n // 512) + right * (m // 128)
    assert hbm_read_bytes("matmul_hoisted", lhsT, rhs) == left + right * (m // 128)
    assert hbm_read_bytes("matmul_blocked", lhsT, rhs) == left + right * (m // 256)
    assert hbm_read_bytes("matmul_fully_blocked", lhsT, rhs) == left * (n // 1024) + right


@pytest.mark.parametrize("step", STEPS)
def test_two_runs_are_equal_bit_for_bit_and_leave_the_inputs_alone(step: str) -> None:
    lhsT, rhs = operands(256, 128, 512, DTYPES[2])
    before = lhsT.copy(), rhs.copy()
    first = nkilab.simulate(getattr(kernels, step), lhsT, rhs)
    second = nkilab.simulate(getattr(kernels, step), lhsT, rhs)
    assert first.outputs.tobytes() == second.outputs.tobytes()
    assert first.body_us == second.body_us
    assert (lhsT.tobytes(), rhs.tobytes()) == (before[0].tobytes(), before[1].tobytes())


@pytest.mark.parametrize("step", STEPS)
def test_a_ragged_shape_is_refused_with_the_dimension(step: str) -> None:
    lhsT, rhs = operands(128, 128, 500, DTYPES[0])
    with pytest.raises(AssertionError, match="N=500 must be a multiple of 512"):
        nkilab.simulate(getattr(kernels, step), lhsT, rhs)


@pytest.mark.torch
@pytest.mark.parametrize("step", STEPS)
def test_torch_agrees(step: str) -> None:
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)
    lhsT = torch.randn((256, 128), generator=generator).to(torch.bfloat16)
    rhs = torch.randn((256, 512), generator=generator).to(torch.bfloat16)
    run = nkilab.simulate(getattr(kernels, step), lhsT, rhs)
    expected = (lhsT.float().T @ rhs.float()).to(torch.bfloat16)
    assert isinstance(run.outputs, torch.Tensor)
    torch.testing.assert_close(run.outputs, expected, rtol=2**-7, atol=1e-3)
