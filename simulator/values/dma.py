"""What DMA engines compute: `nisa.dma_copy` casts, `nisa.dma_compute` sums, `nisa.dma_transpose` permutes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import alu, cast
from .arrays import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .dtypes import DType

TRANSPOSE_AXES = {2: (1, 0), 3: (2, 1, 0), 4: (3, 1, 2, 0)}
"""Permutation of `nisa.dma_transpose` by rank of the source."""


def dma_copy(src: Array, shape: tuple[int, ...], out: DType) -> Array:
    """`nisa.dma_copy`: the elements in order, cast through float32 if the data types differ.

    Args:
        src: stored array, any shape.
        shape: shape of the destination, with as many elements.
        out: data type of the destination.

    Returns:
        A new array of `out.storage` and of `shape`.
    """
    return cast.cast(src, out).reshape(shape)


@np.errstate(all="ignore")
def dma_compute(
    srcs: Sequence[Array], reduce_op: str, shape: tuple[int, ...], out: DType, *, scales: Sequence[float] | None = None
) -> Array:
    """`nisa.dma_compute`: `reduce_op` over sources, each times its scale, in float32.

    Args:
        srcs: stored arrays of any data types, each with the elements of the destination.
        reduce_op: operator; hardware has `add`.
        shape: shape of the destination.
        out: data type of the destination.
        scales: a factor for each source; None is all 1 (hardware has 1 only).

    Returns:
        Array of `out.storage` and of `shape`; sources are taken in order.
    """
    factors = [1.0] * len(srcs) if scales is None else scales
    terms = [
        np.multiply(cast.float32(src).reshape(shape), np.float32(factor))
        for src, factor in zip(srcs, factors, strict=True)
    ]
    total: Array = terms[0]
    for term in terms[1:]:
        total = alu.apply(reduce_op, total, term)
    return cast.from_float32(total, out)


def dma_transpose(src: Array, axes: tuple[int, ...] | None = None) -> Array:
    """`nisa.dma_transpose`: axes permuted, bit for bit.

    Args:
        src: stored array of rank 2, 3 or 4.
        axes: axis i of the result is axis `axes[i]` of the source; by default (1, 0), (2, 1, 0) or (3, 1, 2, 0).

    Returns:
        A new array of the same dtype.
    """
    return np.transpose(src, axes or TRANSPOSE_AXES[src.ndim]).copy()
