"""Cases for `swiglu_mlp.py`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

import nkilab
from nkilab.kernels import swiglu_mlp as kernels
from nkilab.reference import swiglu_mlp as reference


def inputs(axes: Mapping[str, Any], rng: np.random.Generator) -> tuple[nkilab.Array, ...]:
    """Draw x, the three weights with the variance that keeps sums of order 1, and the norm's gain."""
    dtype = nkilab.dtype(axes["dtype"])
    tokens, hidden, features = (int(axes[name]) for name in ("tokens", "hidden", "features"))
    shapes = ((tokens, hidden), (hidden, features), (hidden, features), (features, hidden), (1, hidden))
    sizes = (1.0, hidden**-0.5, hidden**-0.5, features**-0.5, 1.0)
    drawn = (size * rng.standard_normal(shape, dtype=np.float32) for shape, size in zip(shapes, sizes, strict=True))
    return tuple(array.astype(dtype) for array in drawn)


def flops(axes: Mapping[str, Any]) -> int:
    """Useful floating-point operations: those of the three products."""
    return 6 * int(axes["tokens"]) * int(axes["hidden"]) * int(axes["features"])


def _case(name: str, dtype: str) -> nkilab.Case:
    return nkilab.Case(
        kernel=kernels.swiglu_mlp,
        inputs=inputs,
        reference=partial(reference.swiglu_mlp, norm="rms"),
        axes={"tokens": 256, "hidden": 1024, "features": 2816, "dtype": dtype},
        meta={"norm": "rms"},
        flops=flops,
        reduction="features",
        # The norm, the gated features, the last product.
        roundings=3,
        name=name,
    )


CASES = (_case("swiglu_mlp", "bfloat16"), _case("swiglu_mlp_fp32", "float32"))
