"""Cases for `flash_attention_decode.py`: 8 heads on 2 key heads of 128, a cache of 2048 positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import nkilab
from nkilab.kernels import flash_attention_decode as kernels
from nkilab.reference import flash_attention as reference

AXES = {"batch": 2, "heads": 8, "kv_heads": 2, "d": 128, "tokens": 1, "room": 2048, "dtype": "bfloat16"}


def inputs(axes: Mapping[str, Any], rng: np.random.Generator) -> tuple[nkilab.Array, ...]:
    """Draw q and the caches (values around 1, as for `flash_attention`), and how many positions are in use."""
    batch, heads, kv_heads, d, tokens, room = (int(axes[name]) for name in tuple(AXES)[:6])
    dtype = nkilab.dtype(axes["dtype"])
    q = rng.standard_normal((batch, heads, d, tokens), dtype=np.float32)
    k = rng.standard_normal((batch, kv_heads, d, room), dtype=np.float32)
    v = 1 + rng.standard_normal((batch, kv_heads, room, d), dtype=np.float32) / 4
    lengths = rng.integers(tokens, room + 1, batch).astype(np.int32)
    return (*(x.astype(dtype) for x in (q, k, v)), lengths)


def flops(axes: Mapping[str, Any]) -> int:
    """Floating-point operations of the two products over the whole room."""
    return 4 * int(axes["batch"]) * int(axes["heads"]) * int(axes["tokens"]) * int(axes["d"]) * int(axes["room"])


def _case(name: str, **axes: Any) -> nkilab.Case:
    return nkilab.Case(
        kernel=kernels.flash_attention_decode,
        inputs=inputs,
        reference=reference.flash_attention_decode,
        axes={**AXES, **axes},
        flops=flops,
        reduction="room",
        name=name,
    )


CASES = (
    _case("flash_attention_decode"),
    _case("flash_attention_decode_fp32", tokens=3, dtype="float32"),
)
