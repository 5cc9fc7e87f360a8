"""NumPy reference of `kernels/fused_qkv.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layernorm import layernorm
from .rmsnorm import rmsnorm
from .rope import rotate

Array = NDArray[Any]


def fused_qkv(
    x: Array,
    w_qkv: Array,
    gain: Array | None = None,
    offset: Array | None = None,
    bias: Array | None = None,
    cos: Array | None = None,
    sin: Array | None = None,
    q_gain: Array | None = None,
    k_gain: Array | None = None,
    k_cache: Array | None = None,
    v_cache: Array | None = None,
    heads: int = 1,
    kv_heads: int = 1,
    norm: str | None = "rms",
    interleaved: bool = False,
    position: int | Array = 0,
    epsilon: float = 1e-6,
) -> tuple[Array, Array, Array]:
    """Return `q[heads, d, tokens]`, and `k[kv_heads, d, tokens]`, `v[kv_heads, tokens, d]` or the caches with those written.

    Each step rounds to x's dtype, as a framework that runs them one after another would.
    """
    tokens = x.shape[0]
    d = w_qkv.shape[1] // (heads + 2 * kv_heads)
    projected = normalised(x, norm, gain, offset, epsilon).astype(np.float32) @ w_qkv.astype(np.float32)
    if bias is not None:
        projected = projected + bias.astype(np.float32)
    split = projected.astype(x.dtype).reshape(tokens, heads + 2 * kv_heads, d)
    q = finished(split[:, :heads], q_gain, cos, sin, interleaved, epsilon).transpose(1, 2, 0)
    k = finished(split[:, heads : heads + kv_heads], k_gain, cos, sin, interleaved, epsilon).transpose(1, 2, 0)
    v = split[:, heads + kv_heads :].transpose(1, 0, 2)
    if k_cache is None or v_cache is None:
        return q.copy(), k.copy(), v.copy()
    first = int(np.asarray(position).item())
    k_cache[:, :, first : first + tokens] = k
    v_cache[:, first : first + tokens] = v
    return q.copy(), k_cache, v_cache


def normalised(x: Array, norm: str | None, gain: Array | None, offset: Array | None, epsilon: float) -> Array:
    """Rows of `x[tokens, hidden]` after "rms", "layer" or no norm, in x's dtype."""
    if norm is None:
        return x
    if norm == "layer":
        return layernorm(x, gain, offset, epsilon)
    return rmsnorm(x, np.ones((1, x.shape[1]), np.float32) if gain is None else gain, epsilon)


def finished(
    x: Array, gain: Array | None, cos: Array | None, sin: Array | None, interleaved: bool, epsilon: float
) -> Array:
    """Per-head norm and RoPE of `x[tokens, heads, d]`, each rounded to x's dtype."""
    if gain is not None:
        x = rmsnorm(x.reshape(-1, x.shape[2]), gain, epsilon).reshape(x.shape)
    if cos is None or sin is None:
        return x
    tables = (table.astype(np.float32)[:, None, :] for table in (cos, sin))
    return rotate(x.astype(np.float32), *tables, interleaved=interleaved).astype(x.dtype)
