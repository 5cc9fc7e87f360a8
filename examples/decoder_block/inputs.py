"""Inputs of both decoder blocks, and the case that runs a block with them.

Each step rounds to the inputs' dtype, which a case's tolerance for one rounding does not allow for: the case is in fp32, and bf16 is
compared in docs/walk.md with a bound that fits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

import nkilab

from . import reference

AXES: dict[str, Any] = {"tokens": 512, "hidden": 512, "heads": 4, "d": 128, "features": 1024, "dtype": "float32"}


def inputs(axes: Mapping[str, Any], rng: np.random.Generator) -> tuple[nkilab.Array, ...]:
    """Draw the arguments of `decoder_block` in order; weights keep sums of order 1."""
    tokens, hidden, features = int(axes["tokens"]), int(axes["hidden"]), int(axes["features"])
    rows = int(axes["heads"]) * int(axes["d"])
    dtype = nkilab.dtype(axes["dtype"])
    shapes = [(hidden, 3 * rows), (rows, hidden), (hidden, features), (hidden, features), (features, hidden)]
    weights = [shape[0] ** -0.5 * rng.standard_normal(shape, dtype=np.float32) for shape in shapes]
    gains = [1 + 0.1 * rng.standard_normal((1, hidden), dtype=np.float32) for _ in range(2)]
    x = rng.standard_normal((tokens, hidden), dtype=np.float32)
    return tuple(value.astype(dtype) for value in (x, *weights, *gains))


def flops(axes: Mapping[str, Any]) -> int:
    """Useful floating-point operations: all products, and half of all pairs of tokens for causal attention."""
    tokens, hidden, features = int(axes["tokens"]), int(axes["hidden"]), int(axes["features"])
    rows = int(axes["heads"]) * int(axes["d"])
    return 2 * tokens * (4 * hidden * rows + tokens * rows + 3 * hidden * features)


def case(kernel: Callable[..., Any]) -> nkilab.Case:
    """The case of one of the two blocks."""
    return nkilab.Case(
        kernel=kernel,
        inputs=inputs,
        reference=partial(reference.decoder_block, heads=AXES["heads"]),
        axes=AXES,
        meta={"heads": AXES["heads"]},
        flops=flops,
        reduction="hidden",
    )
