"""Cases for `matmul.py`: 1024 cubes in bf16 unless an axis says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import nkilab
from nkilab.kernels import matmul as kernels
from nkilab.reference import matmul as reference

AXES = {"m": 1024, "k": 1024, "n": 1024, "dtype": "bfloat16"}


def inputs(axes: Mapping[str, Any], rng: np.random.Generator) -> tuple[nkilab.Array, nkilab.Array]:
    """Draw `lhsT[k, m]` and `rhs[k, n]`, standard normal."""
    dtype = nkilab.dtype(axes["dtype"])
    lhsT = rng.standard_normal((axes["k"], axes["m"]), dtype=np.float32).astype(dtype)
    rhs = rng.standard_normal((axes["k"], axes["n"]), dtype=np.float32).astype(dtype)
    return lhsT, rhs


def flops(axes: Mapping[str, Any]) -> int:
    """Useful floating-point operations: one multiply and one add per product."""
    return 2 * int(axes["m"]) * int(axes["k"]) * int(axes["n"])


def _case(name: str, **meta: int) -> nkilab.Case:
    return nkilab.Case(
        kernel=getattr(kernels, name),
        inputs=inputs,
        reference=getattr(reference, name),
        axes=AXES,
        meta=meta,
        flops=flops,
        reduction="k",
    )


CASES = (
    _case("matmul_tiled"),
    _case("matmul_hoisted"),
    _case("matmul_blocked", tiles_in_block_m=2, tiles_in_block_n=2),
    _case("matmul_fully_blocked", tiles_in_block_m=16, tiles_in_block_n=2, tiles_in_block_k=8),
)
