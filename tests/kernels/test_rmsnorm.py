"""rmsnorm equals NumPy for any number of rows, in fp32 and the narrow dtypes."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nkilab
from nkilab.kernels.rmsnorm import rmsnorm
from nkilab.reference import rmsnorm as reference

DTYPES = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))


def operands(n: int, d: int, dtype: np.dtype[Any], seed: int = 0, size: float = 1.0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return (size * rng.standard_normal((n, d))).astype(dtype), rng.standard_normal((1, d)).astype(dtype)


def assert_normalised(result: Any, x: Any, gain: Any) -> None:
    expected = reference.rmsnorm(x, gain)
    eps = float(ml_dtypes.finfo(x.dtype).eps)
    assert result.dtype == expected.dtype
    np.testing.assert_allclose(
        result.astype(np.float64), expected.astype(np.float64), rtol=2 * eps + x.shape[1] * 2.0**-24, atol=1e-30
    )


@given(
    n=st.integers(1, 300),
    d=st.integers(1, 200),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([1e-3, 1.0, 100.0]),
)
@settings(max_examples=40, deadline=None)
def test_any_shape_equals_numpy(n: int, d: int, dtype: np.dtype[Any], seed: int, size: float) -> None:
    x, gain = operands(n, d, dtype, seed, size)
    run = nkilab.simulate(rmsnorm, x, gain)
    assert_normalised(run.outputs, x, gain)
    assert run.findings == ()


@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3"])
def test_every_generation(target: str) -> None:
    x, gain = operands(200, 512, DTYPES[2])
    run = nkilab.simulate(rmsnorm, x, gain, sim=nkilab.Sim(target=target))
    assert_normalised(run.outputs, x, gain)


def test_epsilon_keeps_a_zero_row_finite() -> None:
    x, gain = np.zeros((4, 8), np.float32), np.ones((1, 8), np.float32)
    x[1:] = 1.0
    run = nkilab.simulate(rmsnorm, x, gain, epsilon=0.25)
    np.testing.assert_allclose(run.outputs, reference.rmsnorm(x, gain, 0.25), rtol=1e-6)


def test_a_gain_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(AssertionError, match=r"gain has shape \(1, 7\), but x needs \(1, 8\)"):
        nkilab.simulate(rmsnorm, np.ones((4, 8), np.float32), np.ones((1, 7), np.float32))


@pytest.mark.torch
def test_torch_agrees() -> None:
    torch = pytest.importorskip("torch")
    x, gain = torch.randn((130, 64), generator=torch.Generator().manual_seed(0)), torch.ones((1, 64))
    run = nkilab.simulate(rmsnorm, x, gain)
    expected = torch.nn.functional.rms_norm(x, (64,), eps=1e-6)
    torch.testing.assert_close(run.outputs, expected, rtol=1e-5, atol=1e-6)
