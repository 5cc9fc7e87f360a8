"""Cases for `fused_qkv.py`: prefill and decode of a grouped-query layer, with every option somewhere."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

import nkilab
from nkilab.kernels import fused_qkv as kernels
from nkilab.reference import fused_qkv as reference

AXES = {"tokens": 512, "hidden": 1024, "heads": 8, "kv_heads": 2, "d": 128, "dtype": "bfloat16"}
POSITION = 3


def inputs(
    axes: Mapping[str, Any],
    rng: np.random.Generator,
    norm: str | None = "rms",
    bias: bool = False,
    head_norm: bool = False,
    cached: bool = False,
) -> tuple[nkilab.Array | None, ...]:
    """Draw the arguments of `fused_qkv` in order; weights of variance 1 / hidden, so that all stays of order 1."""
    dtype = nkilab.dtype(axes["dtype"])
    tokens, hidden, d, kv_heads = (int(axes[name]) for name in ("tokens", "hidden", "d", "kv_heads"))
    columns = (int(axes["heads"]) + 2 * kv_heads) * d

    def draw(*shape: int, size: float = 1.0) -> nkilab.Array:
        return (size * rng.standard_normal(shape, dtype=np.float32)).astype(dtype)

    angles = np.arange(tokens)[:, None] * 10000.0 ** (-np.arange(d // 2) / (d // 2))
    return (
        draw(tokens, hidden),
        draw(hidden, columns, size=hidden**-0.5),
        draw(1, hidden) if norm else None,
        draw(1, hidden) if norm == "layer" else None,
        draw(1, columns) if bias else None,
        np.cos(angles).astype(np.float32),
        np.sin(angles).astype(np.float32),
        draw(1, d) if head_norm else None,
        draw(1, d) if head_norm else None,
        draw(kv_heads, d, tokens + 2 * POSITION) if cached else None,
        draw(kv_heads, tokens + 2 * POSITION, d) if cached else None,
    )


def flops(axes: Mapping[str, Any]) -> int:
    """Useful floating-point operations: those of the projection."""
    columns = (int(axes["heads"]) + 2 * int(axes["kv_heads"])) * int(axes["d"])
    return 2 * int(axes["tokens"]) * int(axes["hidden"]) * columns


def _case(name: str, axes: Mapping[str, Any], *, bias: bool, head_norm: bool, cached: bool, **meta: Any) -> nkilab.Case:
    axes = {**AXES, **axes}
    meta |= {"heads": axes["heads"], "kv_heads": axes["kv_heads"], "position": POSITION if cached else 0}
    drawn = {"norm": meta.get("norm", "rms"), "bias": bias, "head_norm": head_norm, "cached": cached}
    return nkilab.Case(
        kernel=kernels.fused_qkv,
        inputs=partial(inputs, **drawn),
        reference=partial(reference.fused_qkv, **meta),
        axes=axes,
        meta=meta,
        flops=flops,
        mutates=("k_cache", "v_cache") if cached else (),
        reduction="hidden",
        # The norm, the projection, the per-head norm, RoPE.
        roundings=3 + head_norm,
        name=name,
    )


CASES = (
    _case("fused_qkv", {}, bias=False, head_norm=False, cached=False),
    _case("fused_qkv_full", {"tokens": 256}, bias=True, head_norm=True, cached=False, norm="layer"),
    _case("fused_qkv_fp32", {"dtype": "float32", "d": 192}, bias=True, head_norm=True, cached=False),
    _case(
        "fused_qkv_decode",
        {"tokens": 8},
        bias=True,
        head_norm=False,
        cached=True,
        interleaved=True,
    ),
)
