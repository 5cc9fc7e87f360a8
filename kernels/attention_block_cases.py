"""Cases for `attention_block.py`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

import nkilab
from nkilab.kernels import attention_block as kernels
from nkilab.kernels import fused_qkv_cases
from nkilab.reference import attention_block as reference

AXES = {"tokens": 256, "hidden": 512, "heads": 4, "kv_heads": 2, "d": 128, "dtype": "bfloat16"}


def inputs(axes: Mapping[str, Any], rng: np.random.Generator) -> tuple[nkilab.Array | None, ...]:
    """Draw the arguments of `attention_block` in order up to sin; weights keep sums of order 1."""
    x, w_qkv, gain, _, bias, cos, sin, *_ = fused_qkv_cases.inputs(axes, rng, bias=True)
    rows = int(axes["heads"]) * int(axes["d"])
    w_out = rows**-0.5 * rng.standard_normal((rows, int(axes["hidden"])), dtype=np.float32)
    return x, w_qkv, w_out.astype(nkilab.dtype(axes["dtype"])), gain, bias, cos, sin


def flops(axes: Mapping[str, Any]) -> int:
    """Useful floating-point operations: both projections, and half of all pairs of tokens for causal attention."""
    tokens, rows = int(axes["tokens"]), int(axes["heads"]) * int(axes["d"])
    return fused_qkv_cases.flops(axes) + 2 * tokens * rows * int(axes["hidden"]) + 2 * tokens * tokens * rows


_META: dict[str, Any] = {"heads": AXES["heads"], "kv_heads": AXES["kv_heads"]}


def _case(name: str, **axes: Any) -> nkilab.Case:
    return nkilab.Case(
        kernel=kernels.attention_block,
        inputs=inputs,
        reference=partial(reference.attention_block, **_META),
        axes={**AXES, **axes},
        meta=_META,
        flops=flops,
        reduction="hidden",
        # The norm, the projection, RoPE, the weights, attention, the output projection.
        roundings=6,
        name=name,
    )


CASES = (
    _case("attention_block"),
    _case("attention_block_fp32", d=256, dtype="float32"),
)
