"""`nisa.exponential`: exp(x - max) on the Vector engine, with a running sum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import activation, cast
from .arrays import F32, Array, Operand, per_partition
from .reduce import Accumulation, accumulate

if TYPE_CHECKING:
    from .dtypes import DType


@np.errstate(all="ignore")
def exponential(
    src: Array, max_value: Operand, out: DType, *, accumulation: Accumulation | None = None
) -> tuple[Array, F32 | None]:
    """`nisa.exponential`: `exp(src - max_value)` in float32, summed into the registers if asked.

    Args:
        src: stored tile (P, ...).
        max_value: scalar or (P, 1), float32.
        out: data type of the result.
        accumulation: what to do with the registers (`add`).

    Returns:
        Array of `out.storage`, shape of `src`; and the registers afterwards, (P,) float32, or None. The sum takes the
        float32 values before the cast to `out`.
    """
    shifted = np.subtract(cast.float32(src), per_partition(max_value, src.ndim).astype(np.float32))
    values = activation.apply("exp", shifted)
    registers = accumulate(values, accumulation) if accumulation else None
    return cast.from_float32(values, out), registers
