"""layernorm, softmax and rope equal NumPy for any shape: kernels whose rows are independent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import nkilab
from nkilab.kernels.layernorm import layernorm
from nkilab.kernels.rope import rope
from nkilab.kernels.softmax import softmax
from nkilab.reference import layernorm as layernorm_reference
from nkilab.reference import rope as rope_reference
from nkilab.reference import softmax as softmax_reference

DTYPES = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
TARGETS = ("trn1", "trn2", "trn3")
Array = NDArray[Any]
dtypes, seeds = st.sampled_from(DTYPES), st.integers(0, 2**32 - 1)


def eps(dtype: np.dtype[Any]) -> float:
    return float(ml_dtypes.finfo(dtype).eps)


def assert_close(result: Any, expected: Array, rtol: float, atol: float | Array) -> None:
    assert result.shape == expected.shape
    assert result.dtype == expected.dtype
    wide = expected.astype(np.float64)
    assert (np.abs(result.astype(np.float64) - wide) <= rtol * np.abs(wide) + atol).all()


def check(
    kernel: Callable[..., Any], expected: Array, atol: Any, *args: Any, target: str = "trn2", **meta: Any
) -> None:
    before = [None if arg is None else arg.tobytes() for arg in args]
    first, second = (nkilab.simulate(kernel, *args, sim=nkilab.Sim(target=target), **meta) for _ in range(2))
    assert_close(first.outputs, expected, 1.01 * eps(expected.dtype), atol)
    assert first.outputs.tobytes() == second.outputs.tobytes()
    assert first.findings == ()
    assert [None if arg is None else arg.tobytes() for arg in args] == before


def normal(rng: np.random.Generator, dtype: np.dtype[Any], *shape: int, size: float = 1.0, mean: float = 0.0) -> Array:
    drawn: Array = (mean + size * rng.standard_normal(shape)).astype(dtype)
    return drawn


@given(
    n=st.integers(1, 300),
    d=st.integers(2, 1100),
    dtype=dtypes,
    seed=seeds,
    size=st.sampled_from([1e-2, 1.0, 30.0]),
    mean=st.sampled_from([0.0, 3.0]),
    gained=st.booleans(),
    shifted=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_layernorm(
    n: int, d: int, dtype: np.dtype[Any], seed: int, size: float, mean: float, gained: bool, shifted: bool
) -> None:
    rng = np.random.default_rng(seed)
    x = normal(rng, dtype, n, d, size=size, mean=mean * size)
    gain = normal(rng, dtype, 1, d) if gained else None
    offset = normal(rng, dtype, 1, d) if shifted else None
    wide = x.astype(np.float64)
    spread = np.sqrt(wide.var(axis=1, keepdims=True) + 1e-6)
    largest = np.abs(wide).max(axis=1, keepdims=True) / spread
    factor = 1.0 if gain is None else np.abs(gain.astype(np.float64))
    # x - mean is made as x * scale - mean * scale, each of the size of x / spread; statistics sum d terms in fp32.
    atol = (8 + np.sqrt(d)) * 2.0**-23 * (largest + largest**2 * np.sqrt(largest)) * factor + 2.0**-22
    check(layernorm, layernorm_reference.layernorm(x, gain, offset), atol, x, gain, offset)


@given(
    n=st.integers(1, 300),
    d=st.integers(1, 1100),
    dtype=dtypes,
    seed=seeds,
    size=st.sampled_from([1e-3, 1.0, 1e3]),
    scale=st.sampled_from([1.0, 0.125]),
)
@settings(max_examples=30, deadline=None)
def test_softmax_of_logits_of_any_size(
    n: int, d: int, dtype: np.dtype[Any], seed: int, size: float, scale: float
) -> None:
    x = normal(np.random.default_rng(seed), dtype, n, d, size=size)
    # The exponent is a difference of two rounded products: its error is a rounding of the largest logit.
    relative = 2.0**-22 * (4 + scale * float(np.abs(x.astype(np.float64)).max())) + d * 2.0**-24
    expected = softmax_reference.softmax(x, scale)
    atol = relative * expected.astype(np.float64) + (2.0**-24 if dtype == np.float16 else 1e-37)
    check(softmax, expected, atol, x, scale=scale)


def test_rows_of_softmax_sum_to_one() -> None:
    x = normal(np.random.default_rng(0), DTYPES[0], 200, 333, size=50.0)
    np.testing.assert_allclose(nkilab.simulate(softmax, x).outputs.sum(axis=1), 1.0, rtol=1e-5)


def test_softmax_refuses_a_scale_that_turns_the_maximum_round() -> None:
    with pytest.raises(AssertionError, match=r"scale=-1\.0 must be positive"):
        nkilab.simulate(softmax, np.ones((4, 8), np.float32), scale=-1.0)


@given(
    tokens=st.integers(1, 300),
    heads=st.integers(1, 5),
    half=st.integers(1, 64),
    dtype=dtypes,
    seed=seeds,
    interleaved=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_rope(tokens: int, heads: int, half: int, dtype: np.dtype[Any], seed: int, interleaved: bool) -> None:
    rng = np.random.default_rng(seed)
    x = normal(rng, dtype, tokens, heads, 2 * half)
    angles = rng.uniform(-7, 7, (tokens, half))
    cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    expected = rope_reference.rope(x, cos, sin, interleaved)
    check(
        rope, expected, 4 * 2.0**-23 * float(np.abs(x.astype(np.float64)).max()), x, cos, sin, interleaved=interleaved
    )


def test_rope_keeps_lengths_and_is_undone_by_the_opposite_angle() -> None:
    rng = np.random.default_rng(0)
    x, angles = normal(rng, DTYPES[0], 130, 2, 64), rng.uniform(-7, 7, (130, 32))
    cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    turned = nkilab.simulate(rope, x, cos, sin).outputs
    np.testing.assert_allclose(np.linalg.norm(turned, axis=2), np.linalg.norm(x, axis=2), rtol=1e-5)
    np.testing.assert_allclose(nkilab.simulate(rope, turned, cos, -sin).outputs, x, atol=1e-5)


def test_rope_refuses_an_odd_head_and_tables_of_another_size() -> None:
    table = np.ones((4, 3), np.float32)
    with pytest.raises(AssertionError, match="head dimension 7 must be even"):
        nkilab.simulate(rope, np.ones((4, 2, 7), np.float32), table, table)
    with pytest.raises(AssertionError, match=r"both need \(4, 4\)"):
        nkilab.simulate(rope, np.ones((4, 2, 8), np.float32), table, table)


@pytest.mark.parametrize("target", TARGETS)
def test_every_generation(target: str) -> None:
    rng = np.random.default_rng(1)
    x, gain, offset = (normal(rng, DTYPES[2], *shape) for shape in ((200, 700), (1, 700), (1, 700)))
    check(layernorm, layernorm_reference.layernorm(x, gain, offset), 1e-4, x, gain, offset, target=target)
    check(softmax, softmax_reference.softmax(x), 1e-8, x, target=target)
    tokens = x.reshape(200, 5, 140)
    table = np.full((200, 70), 0.5, np.float32)
    check(rope, rope_reference.rope(tokens, table, table), 1e-5, tokens, table, table, target=target)


@pytest.mark.torch
def test_torch_agrees() -> None:
    torch = pytest.importorskip("torch")
    x = torch.randn((130, 600), generator=torch.Generator().manual_seed(0))
    gain, offset = x[:1] + 1, x[1:2]
    expected = torch.nn.functional.layer_norm(x, (600,), gain[0], offset[0], 1e-6)
    torch.testing.assert_close(nkilab.simulate(layernorm, x, gain, offset).outputs, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(nkilab.simulate(softmax, x).outputs, torch.softmax(x, 1), rtol=1e-5, atol=1e-8)
