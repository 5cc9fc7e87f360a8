"""NumPy reference of `kernels/attention_block.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .flash_attention import flash_attention
from .fused_qkv import fused_qkv

Array = NDArray[Any]


def attention_block(
    x: Array,
    w_qkv: Array,
    w_out: Array,
    gain: Array | None = None,
    bias: Array | None = None,
    cos: Array | None = None,
    sin: Array | None = None,
    q_gain: Array | None = None,
    k_gain: Array | None = None,
    heads: int = 1,
    kv_heads: int = 1,
    norm: str | None = "rms",
    interleaved: bool = False,
    causal: bool = True,
    window: int | None = None,
    epsilon: float = 1e-6,
) -> Array:
    """Return `attention(fused_qkv(x)) @ w_out`, `[tokens, hidden_out]`; each step rounds to x's dtype, sums are wide."""
    options: dict[str, Any] = {"heads": heads, "kv_heads": kv_heads, "norm": norm, "interleaved": interleaved}
    q, k, v = fused_qkv(x, w_qkv, gain, None, bias, cos, sin, q_gain, k_gain, epsilon=epsilon, **options)
    attended = flash_attention(q, k, v, causal=causal, window=window).astype(np.float32)
    rows = attended.transpose(1, 0, 2).reshape(x.shape[0], -1)
    product: Array = rows @ w_out.astype(np.float32)
    return product.astype(x.dtype)
