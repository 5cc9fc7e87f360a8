"""The Tensor engine: matrix products, transposes and accumulation into PSUM.

Source: `nisa.nc_matmul`, `nisa.nc_transpose`; Trainium2 guide ("Double FP8 Matmul Performance", transpose mode), Trainium3
guide ("BF16 Matmul Results in PSUM"). Products and sums are float32 whatever the inputs; tfloat32 inputs are rounded where
they are stored. The order of the sum is BLAS's; hardware's is not documented.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import cast
from .arrays import F32, Array, free_flat

if TYPE_CHECKING:
    from .dtypes import DType


@np.errstate(all="ignore")
def matmul(stationary: Array, moving: Array, *, double_row: bool = False) -> F32:
    """`nisa.nc_matmul`: `stationary.T @ moving`, in float32.

    Args:
        stationary: stored tile (K, M...); (K, 2, M...) with `double_row`.
        moving: stored tile (K, N...); (K, 2, N...) with `double_row`.
        double_row: the contraction runs over the partition axis and the first free axis.

    Returns:
        float32 (M, N), free axes flattened; cast it with `overwrite` or `accumulate`.
    """
    left, right = cast.float32(stationary), cast.float32(moving)
    if double_row:
        left, right = (tile.reshape(tile.shape[0] * 2, -1) for tile in (left, right))
    product: F32 = np.matmul(free_flat(left).T, free_flat(right))
    return product


def overwrite(product: F32, out: DType) -> Array:
    """A product as the first write to PSUM: cast to float32, or to bfloat16 from NeuronCore-v4 on."""
    return cast.from_float32(product, out)


@np.errstate(all="ignore")
def accumulate(psum: Array, product: F32, out: DType) -> Array:
    """A product added to what PSUM holds: up to float32, added, cast back.

    Args:
        psum: stored PSUM tile (M, ...).
        product: float32 (M, N).
        out: data type of the PSUM tile.

    Returns:
        Array of `out.storage`, shape of `psum`.
    """
    return cast.from_float32(np.add(cast.float32(psum), product.reshape(psum.shape)), out)


def transpose(data: Array) -> Array:
    """`nisa.nc_transpose`: (P, F...) to (F, P), bit for bit (Tensor engine from NeuronCore-v3 on, Vector engine always)."""
    return free_flat(data).T.copy()


def transpose_matmul(stationary: Array, moving: Array) -> Array:
    """`nisa.nc_matmul` with `is_transpose=True`, from NeuronCore-v3 on.

    Where one operand holds a single 1 (and zeros) in each column, as an identity or a permutation does, the other's
    elements are moved bit for bit, NaN and inf included. Anything else is undocumented and taken as a product.

    Args:
        stationary: stored tile (K, M...).
        moving: stored tile (K, N...).

    Returns:
        (M, N) in the dtype of the operand that is moved; float32 for a product.
    """
    left, right = free_flat(stationary), free_flat(moving)
    source = _one_hot(right)
    if source is not None:
        return left[source].T.copy()
    source = _one_hot(left)
    if source is not None:
        return right[source].copy()
    return matmul(left, right)


def transpose_by_product(data: Array) -> F32:
    """Transpose on NeuronCore-v2: a product with the identity, so NaN and inf spread.

    Args:
        data: stored tile (P, F...).

    Returns:
        float32 (F, P).

    Source: `nisa.nc_transpose`: "not bit-accurate if the input contains NaN/Inf".
    """
    return matmul(data, np.eye(data.shape[0], dtype=np.float32))


def _one_hot(tile: Array) -> Array | None:
    """The row of the 1 in each column of (K, N), or None if a column holds anything else."""
    values = cast.float32(tile)
    ones = values == 1
    if not np.array_equal(ones.sum(axis=0), np.ones(values.shape[1])) or np.count_nonzero(values) != values.shape[1]:
        return None
    return np.asarray(ones.argmax(axis=0))
