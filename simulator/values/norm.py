"""`nisa.bn_stats` and `nisa.bn_aggr`: mean and variance of each partition, in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import cast
from .arrays import F32, Array, free_flat

if TYPE_CHECKING:
    from .dtypes import DType


@np.errstate(all="ignore")
def bn_stats(data: Array, out: DType) -> Array:
    """`nisa.bn_stats`: count, mean and variance * count of the even elements, then of the odd ones.

    Args:
        data: stored tile (P, ...), at most 512 elements per partition.
        out: data type of the result.

    Returns:
        Array of `out.storage`, (P, 6). With one element per partition the odd half is 0, 0, 0 (not documented).
    """
    x = free_flat(cast.float32(data))
    return cast.from_float32(np.concatenate([_moments(x[:, 0::2]), _moments(x[:, 1::2])], axis=1), out)


def _moments(x: F32) -> F32:
    count = x.shape[1]
    if count == 0:
        return np.zeros((x.shape[0], 3), np.float32)
    mean = np.mean(x, axis=1, keepdims=True, dtype=np.float32)
    spread = np.sum(np.square(x - mean), axis=1, keepdims=True, dtype=np.float32)
    return np.concatenate([np.full_like(mean, count), mean, spread], axis=1)


@np.errstate(all="ignore")
def bn_aggr(data: Array, out: DType) -> Array:
    """`nisa.bn_aggr`: the mean and the (population) variance of the groups that `bn_stats` described.

    Args:
        data: stored tile (P, 3 n): n tuples of count, mean, variance * count, in any free shape.
        out: data type of the result.

    Returns:
        Array of `out.storage`, (P, 2): mean, variance.
    """
    groups = cast.float32(data).reshape(data.shape[0], -1, 3)
    count, mean, spread = groups[..., 0], groups[..., 1], groups[..., 2]
    total = np.sum(count, axis=1, keepdims=True, dtype=np.float32)
    overall = np.sum(count * mean, axis=1, keepdims=True, dtype=np.float32) / total
    within = np.sum(spread + count * np.square(mean - overall), axis=1, keepdims=True, dtype=np.float32)
    return cast.from_float32(np.concatenate([overall, within / total], axis=1), out)
