"""Cases for `layernorm.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import nkilab
from nkilab.kernels import layernorm as kernels
from nkilab.reference import layernorm as reference


def inputs(axes: Mapping[str, Any], rng: np.random.Generator) -> tuple[nkilab.Array, ...]:
    """Draw `x[n, d]`, `gain[1, d]` and `offset[1, d]`, standard normal."""
    dtype = nkilab.dtype(axes["dtype"])
    shapes = ((axes["n"], axes["d"]), (1, axes["d"]), (1, axes["d"]))
    return tuple(rng.standard_normal(shape, dtype=np.float32).astype(dtype) for shape in shapes)


CASES = (
    nkilab.Case(
        kernel=kernels.layernorm,
        inputs=inputs,
        reference=reference.layernorm,
        axes={"n": 2048, "d": 1024, "dtype": "bfloat16"},
        reduction="d",
    ),
)
