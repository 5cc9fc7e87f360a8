"""Cases for `rmsnorm.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import nkilab
from nkilab.kernels import rmsnorm as kernels
from nkilab.reference import rmsnorm as reference


def inputs(axes: Mapping[str, Any], rng: np.random.Generator) -> tuple[nkilab.Array, nkilab.Array]:
    """Draw `x[n, d]` and `gain[1, d]`, standard normal."""
    dtype = nkilab.dtype(axes["dtype"])
    x = rng.standard_normal((axes["n"], axes["d"]), dtype=np.float32).astype(dtype)
    gain = rng.standard_normal((1, axes["d"]), dtype=np.float32).astype(dtype)
    return x, gain


CASES = (
    nkilab.Case(
        kernel=kernels.rmsnorm,
        inputs=inputs,
        reference=reference.rmsnorm,
        axes={"n": 2048, "d": 1024, "dtype": "bfloat16"},
        reduction="d",
    ),
)
