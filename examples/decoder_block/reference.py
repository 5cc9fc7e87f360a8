"""The decoder block in NumPy, out of the references of its steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nkilab.reference.attention_block import attention_block
from nkilab.reference.swiglu_mlp import swiglu_mlp

Array = NDArray[Any]


def decoder_block(
    x: Array,
    w_qkv: Array,
    w_out: Array,
    w_gate: Array,
    w_up: Array,
    w_down: Array,
    gain_attention: Array,
    gain_mlp: Array,
    heads: int = 1,
) -> Array:
    """Return `h + mlp(rmsnorm(h))` for `h = x + attention(rmsnorm(x))`; each step rounds to x's dtype, sums are fp32."""
    attended = attention_block(x, w_qkv, w_out, gain_attention, heads=heads, kv_heads=heads)
    h = (x.astype(np.float32) + attended.astype(np.float32)).astype(x.dtype)
    mlp = swiglu_mlp(h, w_gate, w_up, w_down, gain_mlp, norm="rms")
    result: Array = (h.astype(np.float32) + mlp.astype(np.float32)).astype(x.dtype)
    return result
