"""`nisa.iota`, and the affine pattern that `nisa.affine_select` shares with it.

Source: `nisa.iota`: values are computed in 32-bit integer arithmetic (here: two's complement, wrapping) and cast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import cast
from .arrays import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .dtypes import DType

Pattern: TypeAlias = "Sequence[Sequence[int]]"
"""[[step, num], ...], at most four, slowest first."""


def affine(partitions: int, pattern: Pattern, offset: int, channel_multiplier: int) -> NDArray[np.int32]:
    """`offset + channel * channel_multiplier + w * step_w + z * step_z + y * step_y + x * step_x`.

    Args:
        partitions: number of channels.
        pattern: steps and sizes of the free axes.
        offset: added to every value.
        channel_multiplier: step from one partition to the next.

    Returns:
        int32 (partitions, num_w * num_z * num_y * num_x), wrapped to 32 bits.
    """
    values = np.zeros(1, np.int64)
    for step, num in pattern:
        values = np.add.outer(values, np.arange(num, dtype=np.int64) * int(step)).reshape(-1)
    channels = np.arange(partitions, dtype=np.int64) * int(channel_multiplier) + int(offset)
    return np.add.outer(channels, values).astype(np.int32)


def iota(partitions: int, pattern: Pattern, offset: int, channel_multiplier: int, out: DType) -> Array:
    """`nisa.iota`: the affine pattern as stored elements.

    Args:
        partitions: number of channels.
        pattern: steps and sizes of the free axes.
        offset: added to every value.
        channel_multiplier: step from one partition to the next.
        out: data type of the result.

    Returns:
        Array of `out.storage`, (partitions, elements per partition).
    """
    return cast.cast_integer(affine(partitions, pattern, offset, channel_multiplier), out)
