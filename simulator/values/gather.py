"""Gathers within SBUF: local_gather, nc_n_gather, nc_stream_shuffle. All move elements bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .arrays import Array, free_flat
from .search import GROUP

if TYPE_CHECKING:
    from collections.abc import Sequence

QUADRANT = 32
UNMODIFIED = 255
"""Entry of a shuffle mask that leaves the output partition as it is."""


def local_gather(
    src_buffer: Array, index: Array, *, num_elem_per_idx: int = 1, num_valid_indices: int | None = None
) -> Array:
    """`nisa.local_gather`: each group of 16 partitions gathers by its own list of indices.

    Args:
        src_buffer: stored tile (P, ...), P a multiple of 16.
        index: uint16 tile (P, ...). The 16 partitions of a group hold one list, partition fastest.
        num_elem_per_idx: contiguous elements read from each index on.
        num_valid_indices: how many indices of each group's list count; all by default.

    Returns:
        (P, num_valid_indices * num_elem_per_idx) in the dtype of `src_buffer`.

    Raises:
        IndexError: an index beyond the partition (undefined on hardware).

    Source: `nisa.local_gather`: indices are element offsets into the flattened partition, not multiplied by
    `num_elem_per_idx` ("contiguous elements starting at each index").
    """
    source = free_flat(src_buffer).reshape(-1, GROUP, src_buffer.size // src_buffer.shape[0])
    lists = free_flat(index).reshape(source.shape[0], GROUP, -1).swapaxes(1, 2).reshape(source.shape[0], -1)
    starts = lists[:, :num_valid_indices].astype(np.intp)
    offsets = (starts[:, :, None] + np.arange(num_elem_per_idx)).reshape(source.shape[0], 1, -1)
    return np.take_along_axis(source, offsets, axis=2).reshape(src_buffer.shape[0], -1)


def nc_n_gather(data: Array, indices: Array) -> Array:
    """`nisa.nc_n_gather`: each partition gathers its own elements.

    Args:
        data: stored tile (P, ...), free axes flattened.
        indices: uint32 tile (P, ...).

    Returns:
        Shape of `indices`, dtype of `data`.

    Raises:
        IndexError: an index beyond the partition.
    """
    gathered = np.take_along_axis(free_flat(data), free_flat(indices).astype(np.intp), axis=1)
    return gathered.reshape(indices.shape)


def nc_stream_shuffle(src: Array, dst: Array, shuffle_mask: Sequence[int]) -> Array:
    """`nisa.nc_stream_shuffle`: in each quadrant of 32 partitions, partition i of `dst` copies partition mask[i] of `src`.

    Args:
        src: stored tile (P, ...).
        dst: what the destination holds (P', ...), same elements per partition.
        shuffle_mask: 32 source partitions; 255 leaves the output partition as it is.

    Returns:
        Shape and dtype of `dst`.
    """
    output = np.arange(dst.shape[0])
    entry = np.asarray(shuffle_mask, np.intp)[output % QUADRANT]
    source = output - output % QUADRANT + entry
    moved = entry != UNMODIFIED
    result = free_flat(dst).copy()
    result[moved] = free_flat(src)[source[moved]]
    return result.reshape(dst.shape)
