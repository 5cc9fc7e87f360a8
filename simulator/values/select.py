"""Selection: affine_select, range_select, select_reduce and tensor_copy_predicated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import alu, cast
from .arrays import F32, Array, Operand, like, per_partition
from .iota import Pattern, affine
from .reduce import Accumulation, accumulate

if TYPE_CHECKING:
    from .dtypes import DType

FLOAT32_MIN = float(np.finfo(np.float32).min)


def affine_select(
    on_true: Array,
    pattern: Pattern,
    channel_multiplier: int,
    on_false_value: float,
    cmp_op: str,
    out: DType,
    *,
    offset: int = 0,
) -> Array:
    """`nisa.affine_select`: `on_true` where an affine index compares true with 0, else a constant.

    Args:
        on_true: stored tile (P, ...).
        pattern: steps and sizes of the affine index, as in `nisa.iota`; as many elements as a partition of `on_true`.
        channel_multiplier: step of the index from one partition to the next.
        on_false_value: float32 constant.
        cmp_op: comparison operator.
        out: data type of the result.
        offset: index of the first element.

    Returns:
        Array of `out.storage`, shape of `on_true`; chosen elements bit for bit if the data type stays.
    """
    index = affine(on_true.shape[0], pattern, offset, channel_multiplier).astype(np.int64)
    chosen = alu.apply(cmp_op, index, np.zeros((), np.int64)).reshape(on_true.shape) != 0
    constant = cast.from_float32(np.asarray(on_false_value, np.float32), out)
    return np.where(chosen, cast.cast(on_true, out), constant)


def range_select(
    on_true: Array,
    comp_op0: str,
    comp_op1: str,
    bound0: Array,
    bound1: Array,
    out: DType,
    *,
    range_start: int = 0,
    on_false_value: float = FLOAT32_MIN,
    accumulation: Accumulation | None = None,
) -> tuple[Array, F32 | None]:
    """`nisa.range_select`: `on_true` where the free index passes two comparisons with bounds, else a constant.

    Args:
        on_true: stored float tile (P, ...).
        comp_op0: comparison of the index with `bound0`.
        comp_op1: comparison of the index with `bound1`; both must hold.
        bound0: one element per partition, (P, 1).
        bound1: one element per partition, (P, 1).
        out: data type of the result.
        range_start: index of the first element of each partition.
        on_false_value: the constant; hardware has float32's minimum only.
        accumulation: what to do with the registers (`maximum`).

    Returns:
        Array of `out.storage`, shape of `on_true`; and the registers afterwards, (P,) float32, or None. The reduction
        sees float32 values before the cast ("Note on numerical stability").
    """
    values = cast.float32(on_true).reshape(on_true.shape[0], -1)
    index = (np.arange(values.shape[1], dtype=np.int64) + range_start).astype(np.float32)[None, :]
    low = alu.apply(comp_op0, index, cast.float32(bound0).reshape(-1, 1)) != 0
    high = alu.apply(comp_op1, index, cast.float32(bound1).reshape(-1, 1)) != 0
    chosen = np.where(low & high, values, np.float32(on_false_value))
    registers = accumulate(chosen, accumulation) if accumulation else None
    return cast.from_float32(chosen.reshape(on_true.shape), out), registers


def select_reduce(
    predicate: Array,
    on_true: Array,
    on_false: Operand,
    out: DType,
    *,
    reverse_pred: bool = False,
    accumulation: Accumulation | None = None,
) -> tuple[Array, F32 | None]:
    """`nisa.select_reduce`: `on_true` where the predicate holds, else `on_false`, reduced by maximum if asked.

    Args:
        predicate: integer tile with the partitions and elements of `on_true`; any value but 0 is true.
        on_true: stored tile (P, ...).
        on_false: float32 scalar, or one element per partition (P, 1).
        out: data type of the result.
        reverse_pred: exchange true and false.
        accumulation: what to do with the registers (`maximum`).

    Returns:
        Array of `out.storage`, shape of `on_true`; and the registers afterwards, (P,) float32, or None.
    """
    chosen = holds(predicate, on_true.shape, reverse=reverse_pred)
    otherwise = cast.float32(per_partition(on_false, on_true.ndim))
    values = np.where(chosen, cast.float32(on_true), otherwise)
    registers = accumulate(values, accumulation) if accumulation else None
    return cast.from_float32(values, out), registers


def tensor_copy_predicated(
    dst: Array, src: Operand, predicate: Array, out: DType, *, reverse_pred: bool = False
) -> Array:
    """`nisa.tensor_copy_predicated`: `src` where the predicate holds, else what `dst` holds.

    Args:
        dst: stored destination tile (P, ...).
        src: stored tile of the same data type with its partitions and elements, or a scalar.
        predicate: unsigned integer tile with the partitions and elements of `dst`; any value but 0 is true.
        out: data type of `dst`.
        reverse_pred: exchange true and false.

    Returns:
        Array of `out.storage`, shape of `dst`, copied bit for bit.
    """
    chosen = holds(predicate, dst.shape, reverse=reverse_pred)
    if isinstance(src, np.ndarray) and src.ndim:
        return np.where(chosen, like(cast.cast(src, out), dst.shape), dst)
    return np.where(chosen, cast.memset((), float(src), out), dst)


def holds(predicate: Array, shape: tuple[int, ...], *, reverse: bool) -> Array:
    """Bool array of `shape`: where a predicate of as many elements is not 0, or where it is with `reverse`."""
    flat = like(predicate, shape)
    return np.equal(flat, 0) if reverse else np.not_equal(flat, 0)
