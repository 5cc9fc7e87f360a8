"""attention_block equals its three steps in NumPy, and keeps the tensor engine busy through all of them."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import nkilab
from nkilab.kernels.attention_block import attention_block
from nkilab.kernels.attention_block_cases import inputs
from nkilab.reference import attention_block as reference

Array = NDArray[Any]


def check(target: str = "trn2", seed: int = 0, **wanted: Any) -> None:
    axes = {name: wanted.pop(name) for name in ("tokens", "hidden", "heads", "kv_heads", "d", "dtype")}
    meta = {"heads": axes["heads"], "kv_heads": axes["kv_heads"], **wanted}
    values = inputs(axes, np.random.default_rng(seed))
    before = [None if value is None else value.tobytes() for value in values]
    first, second = (nkilab.simulate(attention_block, *values, sim=nkilab.Sim(target=target), **meta) for _ in range(2))
    expected = reference.attention_block(*values, **meta)
    # Each of norm, projection, RoPE, weights, attention and output rounds; logits pass those errors on through exp. The
    # products average over `hidden` or `d`, so errors do not grow with them.
    eps = float(ml_dtypes.finfo(expected.dtype).eps)
    error = np.abs(first.outputs.astype(np.float64) - expected.astype(np.float64))
    assert first.outputs.dtype == expected.dtype
    assert error.max() <= 16 * eps * max(float(np.abs(expected.astype(np.float64)).max()), 1.0) + 2e-5
    assert first.outputs.tobytes() == second.outputs.tobytes()
    assert first.findings == ()
    assert [None if value is None else value.tobytes() for value in values] == before


@given(
    tokens=st.integers(1, 300),
    hidden=st.integers(16, 300),
    share=st.integers(1, 3),
    kv_heads=st.integers(1, 2),
    d=st.sampled_from([32, 64, 128, 192, 256]),
    dtype=st.sampled_from(["float32", "bfloat16"]),
    causal=st.booleans(),
    interleaved=st.booleans(),
    norm=st.sampled_from(["rms", "layer"]),
    window=st.sampled_from([None, 40]),
)
@settings(max_examples=12, deadline=None)
def test_any_size_and_option(share: int, kv_heads: int, **wanted: Any) -> None:
    check(heads=share * kv_heads, kv_heads=kv_heads, **wanted)


@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3"])
def test_every_generation(target: str) -> None:
    check(target=target, tokens=150, hidden=200, heads=4, kv_heads=2, d=64, dtype="bfloat16")


def test_a_weight_of_other_heads_is_refused() -> None:
    axes = {"tokens": 8, "hidden": 64, "heads": 2, "kv_heads": 1, "d": 32, "dtype": "float32"}
    x, w_qkv, w_out, *rest = inputs(axes, np.random.default_rng(0))
    with pytest.raises(AssertionError, match="w_out has 32 rows, needs 64"):
        nkilab.simulate(attention_block, x, w_qkv, w_out[:32], *rest, heads=2, kv_heads=1)


def test_prefill_keeps_the_tensor_engine_at_70_percent() -> None:
    tokens, hidden, rows = 2048, 4096, 4096
    bf16 = nkilab.dtype("bf16")
    angles = np.zeros((tokens, 64), np.float32)
    values = [np.zeros(shape, bf16) for shape in ((tokens, hidden), (hidden, 6144), (rows, hidden), (1, hidden))]
    sim = nkilab.Sim(target="trn2", values=False)
    run = nkilab.simulate(attention_block, *values, None, angles, angles, sim=sim, heads=32, kv_heads=8)
    useful = 2 * tokens * hidden * (6144 + rows) + 2 * tokens * tokens * rows
    assert useful / run.body_us / 78.6432e6 >= 0.70


@pytest.mark.torch
def test_torch_agrees() -> None:
    torch = pytest.importorskip("torch")
    axes = {"tokens": 140, "hidden": 96, "heads": 4, "kv_heads": 2, "d": 32, "dtype": "float32"}
    given_values = inputs(axes, np.random.default_rng(0))
    x, w_qkv, w_out, gain, bias, *_ = (None if value is None else torch.from_numpy(value) for value in given_values)
    run = nkilab.simulate(attention_block, x, w_qkv, w_out, gain, bias, heads=4, kv_heads=2)
    normed = torch.nn.functional.rms_norm(x, (96,), gain[0], 1e-6)
    split = (normed @ w_qkv + bias).reshape(140, 8, 32).transpose(0, 1)
    q, k, v = split[:4], split[4:6].repeat_interleave(2, 0), split[6:].repeat_interleave(2, 0)
    attended = torch.nn.functional.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]
    expected = attended.transpose(0, 1).reshape(140, 128) @ w_out
    torch.testing.assert_close(run.outputs, expected, rtol=1e-4, atol=1e-5)
