"""Cases for `flash_attention.py`: 2 heads of 128 over 1024 positions (`seq`) unless an axis says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

import nkilab
from nkilab.kernels import flash_attention as kernels
from nkilab.reference import flash_attention as reference

AXES = {"heads": 2, "kv_heads": 1, "d": 128, "seq": 1024, "dtype": "bfloat16"}


def inputs(axes: Mapping[str, Any], rng: np.random.Generator, segments: int = 0) -> tuple[nkilab.Array, ...]:
    """Draw q, k and v, and where wanted labels of so many segments of consecutive positions.

    q and k are standard normal. v lies around 1: weights rounded to 16 bits then err by that rounding of a result of
    order 1, which a relative tolerance can say.
    """
    heads, kv_heads, d, keys = (int(axes[name]) for name in ("heads", "kv_heads", "d", "seq"))
    queries = int(axes.get("queries", keys))
    dtype = nkilab.dtype(axes["dtype"])
    q = rng.standard_normal((heads, d, queries), dtype=np.float32)
    k = rng.standard_normal((kv_heads, d, keys), dtype=np.float32)
    v = 1 + rng.standard_normal((kv_heads, keys, d), dtype=np.float32) / 4
    operands = tuple(x.astype(dtype) for x in (q, k, v))
    if not segments:
        return operands
    labels = tuple((np.arange(length) * segments // length).astype(np.int32) for length in (queries, keys))
    return operands + labels


def flops(axes: Mapping[str, Any], share: float = 1.0) -> int:
    """Useful floating-point operations: the two products, `share` of them visible."""
    keys = int(axes["seq"])
    return int(share * 4 * int(axes["heads"]) * int(axes["d"]) * int(axes.get("queries", keys)) * keys)


def _case(name: str, dtype: str = "bfloat16", segments: int = 0, queries: int = 0, **meta: Any) -> nkilab.Case:
    options = {key: value for key, value in meta.items() if key != "transpose"}
    return nkilab.Case(
        kernel=kernels.flash_attention,
        inputs=partial(inputs, segments=segments),
        reference=partial(reference.flash_attention, **options),
        axes={**AXES, "dtype": dtype} | ({"queries": queries} if queries else {}),
        meta=meta,
        flops=partial(flops, share=0.5 if meta.get("causal") else 1.0),
        reduction="seq",
        name=name,
    )


CASES = (
    _case("flash_attention"),
    _case("flash_attention_causal", causal=True),
    _case("flash_attention_window", causal=True, window=200),
    _case("flash_attention_segments", segments=3),
    _case("flash_attention_fewer_queries", queries=256),
    _case("flash_attention_tensor", transpose="tensor"),
    _case("flash_attention_fp32", "float32", causal=True, with_lse=True),
)
