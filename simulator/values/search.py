"""Searching a partition for values: max8, nc_find_index8, nc_match_replace8, nonzero_with_count, sequence_bounds.

Left open by the documentation, decided here: comparisons are float32, so a NaN matches nothing; `max8` gives a NaN only
where fewer than eight numbers are left; `nc_match_replace8` writes all ones to `dst_idx` for a value that it does not find,
as `nc_find_index8` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from . import cast
from .arrays import F32, Array, free_flat

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .dtypes import DType

GROUP = 16
"""Partitions that each of the eight GpSimd cores is connected to."""


_FEW = 16
"""Up to so many, picking one maximum after the other is faster than sorting."""


def descending(values: F32, count: int) -> NDArray[np.intp]:
    """Positions of the `count` largest elements of each row, largest first, equal ones by position, NaN last.

    Args:
        values: float32 (rows, n), n >= count.
        count: how many.

    Returns:
        Integer array (rows, count).
    """
    picked = _pick_largest(values, count) if count <= _FEW else None
    return np.argsort(-values, axis=1, kind="stable")[:, :count] if picked is None else picked


def _pick_largest(values: F32, count: int) -> NDArray[np.intp] | None:
    """As `descending`, or None where -inf or NaN are among the largest."""
    left = np.where(np.isnan(values), np.float32(-np.inf), values)
    rows = np.arange(values.shape[0])
    picked = np.empty((values.shape[0], count), np.intp)
    for rank in range(count):
        picked[:, rank] = position = left.argmax(axis=1)
        if np.isneginf(left[rows, position]).any():
            return None
        left[rows, position] = -np.inf
    return picked


def max8(src: Array, out: DType) -> Array:
    """`nisa.max8`: the 8 largest values of each partition, in descending order.

    Args:
        src: stored tile (P, ...) with 8 to 16384 elements per partition.
        out: data type of the result.

    Returns:
        Array of `out.storage`, (P, 8); equal values each take a place.
    """
    values = free_flat(cast.float32(src))
    return cast.from_float32(np.take_along_axis(values, descending(values, 8), axis=1), out)


def nc_find_index8(data: Array, vals: Array, out: DType) -> Array:
    """`nisa.nc_find_index8`: where each of 8 values first occurs in its partition.

    Args:
        data: stored tile (P, ...).
        vals: stored tile with 8 elements per partition.
        out: uint16 or uint32.

    Returns:
        Array of `out.storage`, (P, 8). The n-th equal value gets the n-th occurrence, in ascending order over the columns; a
        value that is not there (any more) gets all ones.

    Source: `nisa.nc_find_index8`; for duplicates `nisa.nc_match_replace8` and the NKI 0.6.0 release notes.
    """
    found, _ = _match8(data, vals, range(8))
    return _indices(found, out)


def nc_match_replace8(data: Array, vals: Array, imm: float, out: DType) -> tuple[Array, NDArray[np.int64]]:
    """`nisa.nc_match_replace8`: replace an occurrence of each of 8 values.

    Args:
        data: stored tile (P, ...).
        vals: stored tile with 8 elements per partition.
        imm: the replacement.
        out: data type of the result.

    Returns:
        Array of `out.storage`, shape of `data`; and the positions that `vals` matched, int64 (P, 8), -1 for none (give them to
        `index_tile`). Values are taken in the order 7, 6, ..., 0, so equal ones get their occurrences in descending
        order over the columns.
    """
    found, used = _match8(data, vals, range(7, -1, -1))
    replaced = np.where(
        used.reshape(data.shape), cast.from_float32(np.asarray(imm, np.float32), out), cast.cast(data, out)
    )
    return replaced, found


def index_tile(found: NDArray[np.int64], out: DType) -> Array:
    """Positions as stored indices, -1 as all ones.

    Args:
        found: int64 positions, any shape.
        out: uint16 or uint32 (or a signed type of that width).

    Returns:
        Array of `out.storage`, same shape.
    """
    return _indices(found, out)


def _indices(found: NDArray[np.int64], out: DType) -> Array:
    return cast.wrap_integer(found, out)


def _match8(data: Array, vals: Array, order: Iterable[int]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Position of the first free occurrence of each value, in `order` of the columns, and which positions are taken."""
    values, wanted = free_flat(cast.float32(data)), free_flat(cast.float32(vals))
    used = np.zeros(values.shape, np.bool_)
    found = np.full(wanted.shape, -1, np.int64)
    rows = np.arange(values.shape[0])
    for column in order:
        free = (values == wanted[:, column : column + 1]) & ~used
        position = free.argmax(axis=1)
        hit = free[rows, position]
        found[hit, column] = position[hit]
        used[rows[hit], position[hit]] = True
    return found, used


def nonzero_with_count(src: Array, *, index_offset: int = 0, padding_val: int = -1) -> NDArray[np.int32]:
    """`nisa.nonzero_with_count` for the partitions that it reads and writes: 0, 16, 32, ...

    Args:
        src: stored tile (rows, T) of those partitions only, float32 or int32.
        index_offset: added to every index.
        padding_val: fills the slots without an index.

    Returns:
        int32 (rows, T + 1): indices of elements that are not 0 (a NaN is not), padding, and their count last.
    """
    nonzero = free_flat(src) != 0
    rows, length = nonzero.shape
    result = np.full((rows, length + 1), padding_val, np.int64)
    row, position = np.nonzero(nonzero)
    slot = (np.cumsum(nonzero, axis=1) - 1)[row, position]
    result[row, slot] = position + index_offset
    result[:, -1] = nonzero.sum(axis=1)
    return result.astype(np.int32)


def sequence_bounds(segment_ids: Array, out: DType) -> Array:
    """`nisa.sequence_bounds`: start and end of the segment of each element.

    Args:
        segment_ids: float32 or int32 tile (1, n); 0 is padding.
        out: float32 or int32.

    Returns:
        Array of `out.storage`, (1, 2, n): first index of the segment, and the index after its last; n and -1 for padding.

    Source: `nisa.sequence_bounds`. That the end is exclusive stands only in the NumPy equivalent that earlier releases of
    that page print.
    """
    ids = free_flat(segment_ids)[0]
    length = ids.size
    change = np.flatnonzero(ids[1:] != ids[:-1]) + 1
    edges = np.concatenate([[0], change, [length]])
    run = np.repeat(np.arange(edges.size - 1), np.diff(edges))
    padding = ids == 0
    bounds = np.stack([np.where(padding, length, edges[:-1][run]), np.where(padding, -1, edges[1:][run])])
    return cast.cast_integer(bounds[None], out)
