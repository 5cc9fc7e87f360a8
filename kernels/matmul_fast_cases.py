"""Cases for `matmul_fast.py`: cubes of 2048, by operand type, layout and epilogue."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

import nkilab
from nkilab.kernels import matmul_fast as kernels
from nkilab.reference import matmul_fast as reference

AXES = {"m": 2048, "k": 2048, "n": 2048, "dtype": "bfloat16"}


def inputs(
    axes: Mapping[str, Any],
    rng: np.random.Generator,
    lhs_layout: str = "km",
    rhs_layout: str = "kn",
    bias: bool = False,
) -> tuple[nkilab.Array, ...]:
    """Draw lhs and rhs in their layouts, and `bias[1, n]` where wanted, standard normal."""
    dtype = nkilab.dtype(axes["dtype"])
    shapes = [tuple(axes[axis] for axis in layout) for layout in (lhs_layout, rhs_layout)]
    shapes += [(1, axes["n"])] if bias else []
    return tuple(rng.standard_normal(shape, dtype=np.float32).astype(dtype) for shape in shapes)


def flops(axes: Mapping[str, Any]) -> int:
    """Useful floating-point operations: one multiply and one add per product."""
    return 2 * int(axes["m"]) * int(axes["k"]) * int(axes["n"])


def _case(name: str, dtype: str = "bfloat16", bias: bool = False, **meta: Any) -> nkilab.Case:
    layouts = {key: value for key, value in meta.items() if key.endswith("_layout")}
    computed = {key: value for key, value in meta.items() if key != "double_row"}
    computed |= {"out_dtype": nkilab.dtype(meta["out_dtype"])} if "out_dtype" in meta else {}
    return nkilab.Case(
        kernel=kernels.matmul,
        inputs=partial(inputs, bias=bias, **layouts),
        reference=partial(reference.matmul, **computed),
        axes={**AXES, "dtype": dtype},
        meta=meta,
        flops=flops,
        reduction="k",
        name=name,
    )


CASES = (
    _case("matmul"),
    _case("matmul_fp32", "float32"),
    _case("matmul_fp8", "float8_e4m3", double_row=True, out_dtype="bfloat16"),
    _case("matmul_rows", lhs_layout="mk", rhs_layout="nk"),
    _case("matmul_silu", bias=True, activation="silu"),
)
