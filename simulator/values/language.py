"""Element-wise functions of `nki.language` that no single instruction computes.

Source: the pages of `nl.cos`, `nl.tan`, `nl.sin` (range reduction before the activation, so accurate everywhere),
`nl.ceil`, `nl.floor`, `nl.trunc`, `nl.negative`, `nl.logical_not` (an exclusive or with 1). Evaluated in float64 and
rounded once to float32, as the activations are.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from . import cast
from .arrays import Array
from .special import F64

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .dtypes import DType


def _logical_not(x: F64) -> F64:
    return np.logical_xor(x, 1.0).astype(np.float64)


FUNCTIONS: Mapping[str, Callable[[F64], F64]] = MappingProxyType(
    {
        "sin": np.sin,
        "cos": np.cos,
        "tan": np.tan,
        "ceil": np.ceil,
        "floor": np.floor,
        "trunc": np.trunc,
        "negative": np.negative,
        "logical_not": _logical_not,
    }
)
"""Every such function by name."""


@np.errstate(all="ignore")
def unary(name: str, x: Array, out: DType) -> Array:
    """A function of `nki.language` on stored elements.

    Args:
        name: one of `FUNCTIONS`.
        x: stored tile, any shape.
        out: data type of the result.

    Returns:
        Array of `out.storage`, same shape.
    """
    return cast.from_float32(FUNCTIONS[name](cast.float32(x).astype(np.float64)).astype(np.float32), out)
