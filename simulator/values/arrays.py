"""Array types of this package, and how operands are laid against each other."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
"""Stored elements of any data type, partition axis first."""

F32: TypeAlias = NDArray[np.float32]
"""Values inside an engine."""

Operand: TypeAlias = "float | Array"
"""A compile-time scalar, or one element per partition, shape (P, 1)."""


def per_partition(operand: Operand, ndim: int) -> Array:
    """An operand as an array that broadcasts against `ndim` dimensions, partition axis first.

    Args:
        operand: a scalar, or an array with one element per partition (P, 1), or one element in all.
        ndim: number of dimensions of the tile that it meets.

    Returns:
        Shape () for a scalar, else (P, 1, ..., 1); dtype as given.
    """
    array = np.asarray(operand)
    return array if array.ndim == 0 else array.reshape(array.shape[0], *(1,) * (ndim - 1))


def like(tile: Array, shape: tuple[int, ...]) -> Array:
    """`tile` in the shape of another with the same partitions and elements per partition."""
    return tile if tile.shape == shape else tile.reshape(shape)


def free_flat(tile: Array) -> Array:
    """`tile` as (P, elements per partition)."""
    return tile if tile.ndim == 2 else tile.reshape(tile.shape[0], -1)
