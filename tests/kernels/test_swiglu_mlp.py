"""swiglu_mlp equals NumPy for any sizes, with and without its norm."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import nkilab
from nkilab.kernels.swiglu_mlp import swiglu_mlp
from nkilab.reference import fused_qkv as parts
from nkilab.reference import swiglu_mlp as reference

DTYPES = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
Array = NDArray[Any]


def arguments(
    tokens: int, hidden: int, features: int, dtype: np.dtype[Any], norm: str | None, seed: int = 0
) -> list[Any]:
    rng = np.random.default_rng(seed)
    shapes = ((tokens, hidden), (hidden, features), (hidden, features), (features, hidden))
    sizes = (1.0, hidden**-0.5, hidden**-0.5, features**-0.5)
    drawn = [(size * rng.standard_normal(shape)).astype(dtype) for shape, size in zip(shapes, sizes, strict=True)]
    return [*drawn, rng.standard_normal((1, hidden)).astype(dtype) if norm else None]


def bound(args: list[Any], norm: str | None) -> float:
    """Rounding moves norm, features and result by a step each, and those errors add like random ones over a sum."""
    n = parts.normalised(args[0], norm, args[4], None, 1e-6).astype(np.float64)
    gate_weight, up_weight, down_weight = (weight.astype(np.float64) for weight in args[1:4])
    gate, up = (np.abs(n @ weight) + np.sqrt(n**2 @ weight**2) for weight in (gate_weight, up_weight))
    spread = np.sqrt((gate * up) ** 2 @ down_weight**2).max()
    hidden, features = args[1].shape
    eps = float(ml_dtypes.finfo(args[0].dtype).eps)
    return float((4 * eps + 2 * (hidden + features) * 2.0**-24) * spread)


def check(*sizes: int, dtype: np.dtype[Any], norm: str | None, target: str = "trn2", seed: int = 0) -> None:
    args = arguments(*sizes, dtype, norm, seed)
    before = [None if arg is None else arg.tobytes() for arg in args]
    first, second = (nkilab.simulate(swiglu_mlp, *args, norm=norm, sim=nkilab.Sim(target=target)) for _ in range(2))
    expected = reference.swiglu_mlp(*args, norm=norm)
    assert first.outputs.dtype == expected.dtype
    assert np.abs(first.outputs.astype(np.float64) - expected.astype(np.float64)).max() <= bound(args, norm)
    assert first.outputs.tobytes() == second.outputs.tobytes()
    assert first.findings == ()
    assert [None if arg is None else arg.tobytes() for arg in args] == before


@given(
    tokens=st.integers(1, 200),
    hidden=st.integers(16, 600),
    features=st.integers(1, 700),
    dtype=st.sampled_from(DTYPES),
    norm=st.sampled_from(["rms", "layer", None]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=12, deadline=None)
def test_any_size(tokens: int, hidden: int, features: int, dtype: np.dtype[Any], norm: str | None, seed: int) -> None:
    check(tokens, hidden, features, dtype=dtype, norm=norm, seed=seed)


@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3"])
def test_every_generation_over_two_blocks_of_tokens(target: str) -> None:
    check(600, 300, 700, dtype=DTYPES[2], norm="rms", target=target)


def modelled_us(tokens: int) -> float:
    def zeros(*shape: int) -> Array:
        return np.zeros(shape, ml_dtypes.bfloat16)

    args = (zeros(tokens, 4096), zeros(4096, 8192), zeros(4096, 8192), zeros(8192, 4096), zeros(1, 4096))
    sim = nkilab.Sim(target="trn2", values=False)
    return float(nkilab.simulate(swiglu_mlp, *args, norm="rms", sim=sim).body_us)


def test_many_tokens_keep_the_tensor_engine_at_90_percent() -> None:
    assert 6 * 1024 * 4096 * 8192 / modelled_us(1024) / 78.6432e6 >= 0.90


def test_few_tokens_read_the_weights_at_80_percent_of_the_dma_rate() -> None:
    assert 6 * 4096 * 8192 / modelled_us(8) / 435.2e3 >= 0.80


@pytest.mark.torch
def test_torch_agrees() -> None:
    torch = pytest.importorskip("torch")
    args = [torch.from_numpy(arg) for arg in arguments(130, 200, 300, DTYPES[0], "rms")]
    x, gate, up, down, gain = args
    run = nkilab.simulate(swiglu_mlp, *args, norm="rms")
    normed = torch.nn.functional.rms_norm(x, (200,), gain[0], 1e-6)
    expected = (torch.nn.functional.silu(normed @ gate) * (normed @ up)) @ down
    torch.testing.assert_close(run.outputs, expected, rtol=1e-4, atol=1e-4)
