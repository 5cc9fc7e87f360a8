"""Cases for `flash_attention_backward.py`: 2 heads on one key head of 64 over 512 positions, bf16 unless an axis says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

import nkilab
from nkilab.kernels import flash_attention_backward as kernels
from nkilab.reference import flash_attention as reference

AXES = {"heads": 2, "kv_heads": 1, "d": 64, "seq": 512, "dtype": "bfloat16"}


def inputs(axes: Mapping[str, Any], rng: np.random.Generator, causal: bool = False) -> tuple[nkilab.Array, ...]:
    """Draw q, k, v and the output's gradient, standard normal; output and log-sum-exp are those of the reference."""
    heads, kv_heads, d, seq = (int(axes[name]) for name in ("heads", "kv_heads", "d", "seq"))
    shapes = ((heads, d, seq), (kv_heads, d, seq), (kv_heads, seq, d), (heads, seq, d))
    dtype = nkilab.dtype(axes["dtype"])
    q, k, v, d_output = (rng.standard_normal(shape, dtype=np.float32).astype(dtype) for shape in shapes)
    output, lse = reference.flash_attention(q, k, v, causal=causal, with_lse=True)
    return q, k, v, output, d_output, lse


def flops(axes: Mapping[str, Any], share: float = 1.0) -> int:
    """Useful floating-point operations: the five products, `share` of them visible."""
    return int(share * 10 * int(axes["heads"]) * int(axes["d"]) * int(axes["seq"]) ** 2)


def _case(name: str, causal: bool, dtype: str = "bfloat16") -> nkilab.Case:
    return nkilab.Case(
        kernel=kernels.flash_attention_backward,
        inputs=partial(inputs, causal=causal),
        reference=partial(reference.flash_attention_backward, causal=causal),
        axes={**AXES, "dtype": dtype},
        meta={"causal": causal},
        flops=partial(flops, share=0.5 if causal else 1.0),
        reduction="seq",
        # The weights, their slope, the gradients.
        roundings=3,
        name=name,
    )


CASES = (
    _case("flash_attention_backward", causal=False),
    _case("flash_attention_backward_causal", causal=True),
    _case("flash_attention_backward_fp32", causal=True, dtype="float32"),
)
