"""`nisa.topk`: the k largest values of each group of 16 partitions, read and written in snake layout.

Source: `nisa.topk` as documented for NKI 0.7 (Neuron 2.33): element j of a group lies in partition j % 16 at free position
j // 16, for the input, the values and the indices alike. The page of 0.6 describes k results in each partition, which is
what `Sim(nki="0.6")` gives.

Left open, decided here: results come in descending order, whether `sorted` or not; of equal values the one of lower index
is taken first; a NaN ranks below every number; what the lanes after result k - 1 of the last written position hold is
undefined (NaN and all ones here, and outside the mask).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import cast
from .arrays import Array, free_flat
from .search import GROUP, descending


class TopK(NamedTuple):
    """Results of `topk` for the free positions that it writes.

    Attributes:
        values: bfloat16 (P, ceil(k / 16)).
        indices: uint32 (P, ceil(k / 16)), positions within the group's own snake.
        defined: bool (P, ceil(k / 16)), false in the lanes after the last result.
    """

    values: Array
    indices: NDArray[np.uint32]
    defined: NDArray[np.bool_]


def topk(src: Array, n: int, k: int) -> TopK:
    """`nisa.topk`: the k largest of n elements in each group of 16 partitions.

    Args:
        src: bfloat16 tile (P, ...), P a multiple of 16.
        n: active elements of a group's snake.
        k: how many results: the free size of `val_dst`.

    Returns:
        What is written to free positions 0 .. ceil(k / 16) - 1 of `val_dst` and `idx_dst`.
    """
    snake = _to_snake(free_flat(src))[:, :n]
    order = descending(cast.float32(snake), k)
    width = -(-k // GROUP)
    values = np.full((order.shape[0], width * GROUP), np.nan, src.dtype)
    indices = np.full(values.shape, 0xFFFFFFFF, np.uint32)
    values[:, :k] = np.take_along_axis(snake, order, axis=1)
    indices[:, :k] = order
    defined = np.broadcast_to(np.arange(width * GROUP) < k, values.shape)
    return TopK(_from_snake(values), _from_snake(indices), _from_snake(defined))


def topk_of_partitions(src: Array, n: int, k: int) -> tuple[Array, NDArray[np.uint32]]:
    """`nisa.topk` as the page of NKI 0.6 describes it: each partition gets the k largest of its group, ascending.

    Args:
        src: bfloat16 tile (P, ...), P a multiple of 16.
        n: active elements of a group's snake.
        k: how many results.

    Returns:
        Values and uint32 indices, (P, k) each.
    """
    snake = _to_snake(free_flat(src))[:, :n]
    order = descending(cast.float32(snake), k)[:, ::-1]
    values = np.take_along_axis(snake, order, axis=1)
    return np.repeat(values, GROUP, axis=0), np.repeat(order.astype(np.uint32), GROUP, axis=0)


def _to_snake(tile: Array) -> Array:
    """(groups * 16, columns) as (groups, columns * 16), partition fastest."""
    return tile.reshape(-1, GROUP, tile.shape[1]).swapaxes(1, 2).reshape(tile.shape[0] // GROUP, -1)


def _from_snake(snake: Array) -> Array:
    return snake.reshape(snake.shape[0], -1, GROUP).swapaxes(1, 2).reshape(snake.shape[0] * GROUP, -1)
