"""Cases for `softmax.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import nkilab
from nkilab.kernels import softmax as kernels
from nkilab.reference import softmax as reference


def inputs(axes: Mapping[str, Any], rng: np.random.Generator) -> tuple[nkilab.Array]:
    """Draw logits `x[n, d]` with a standard deviation of 4."""
    x = 4 * rng.standard_normal((axes["n"], axes["d"]), dtype=np.float32)
    return (x.astype(nkilab.dtype(axes["dtype"])),)


CASES = (
    nkilab.Case(
        kernel=kernels.softmax,
        inputs=inputs,
        reference=reference.softmax,
        axes={"n": 2048, "d": 1024, "dtype": "bfloat16"},
        reduction="d",
    ),
)
