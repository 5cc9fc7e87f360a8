"""Element-wise instructions of the Vector, Scalar and GpSimd engines.

Source: `nisa.tensor_tensor`, `nisa.tensor_scalar`, `nisa.scalar_tensor_tensor`, `nisa.reciprocal`. Arithmetic is float32;
bitvec operators work on bit patterns, here zero-extended to 32 bits and cut to the width of the output; where all tiles
are 32-bit integers, GpSimd's native integer arithmetic is exact and wraps (`integer=True`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import alu, cast
from .arrays import Array, Operand, like, per_partition

if TYPE_CHECKING:
    from .dtypes import DType


def tensor_tensor(data1: Array, data2: Array, op: str, out: DType, *, integer: bool = False) -> Array:
    """`nisa.tensor_tensor`: `data1 <op> data2`, element by element.

    Args:
        data1: stored tile (P, ...).
        data2: stored tile with the same partitions and elements per partition.
        op: a binary ALU operator.
        out: data type of the result.
        integer: native integer arithmetic (GpSimd, all tiles int32 or uint32).

    Returns:
        Array of `out.storage`, shape of `data1`.
    """
    work = _working(op, integer=integer)
    x, y = _enter(data1, work), _enter(like(data2, data1.shape), work)
    return _leave(alu.apply(op, x, y), out, work)


def tensor_scalar(
    data: Array,
    op0: str,
    operand0: Operand | None,
    out: DType,
    *,
    reverse0: bool = False,
    op1: str | None = None,
    operand1: Operand | None = None,
    reverse1: bool = False,
    integer: bool = False,
) -> Array:
    """`nisa.tensor_scalar`: `(data <op0> operand0) <op1> operand1`, operands broadcast along the free axes.

    Args:
        data: stored tile (P, ...).
        op0: first ALU operator.
        operand0: scalar or (P, 1); None for a unary operator.
        out: data type of the result.
        reverse0: `operand0 <op0> data` instead.
        op1: second operator, of the same kind (arithmetic or bitvec) as the first.
        operand1: scalar or (P, 1).
        reverse1: `operand1 <op1> (...)` instead.
        integer: native integer arithmetic.

    Returns:
        Array of `out.storage`, shape of `data`.
    """
    work = _working(op0, integer=integer)
    value = alu.apply(op0, _enter(data, work), _operand(operand0, data.ndim, work), reverse=reverse0)
    if op1 is not None:
        value = alu.apply(op1, value, _operand(operand1, data.ndim, work), reverse=reverse1)
    return _leave(value, out, work)


def scalar_tensor_tensor(
    data: Array,
    op0: str,
    operand0: Operand,
    op1: str,
    operand1: Array,
    out: DType,
    *,
    reverse0: bool = False,
    reverse1: bool = False,
) -> Array:
    """`nisa.scalar_tensor_tensor`: `(data <op0> operand0) <op1> operand1`, `operand0` broadcast, `operand1` a tile.

    Args:
        data: stored tile (P, ...).
        op0: arithmetic operator.
        operand0: scalar or (P, 1).
        op1: arithmetic operator.
        operand1: stored tile with the partitions and elements of `data`.
        out: data type of the result.
        reverse0: `operand0 <op0> data` instead.
        reverse1: `operand1 <op1> (...)` instead.

    Returns:
        Array of `out.storage`, shape of `data`; all arithmetic in float32.
    """
    value = scalar_stage(data, op0, operand0, reverse=reverse0)
    value = alu.apply(op1, value, cast.float32(like(operand1, data.shape)), reverse=reverse1)
    return cast.from_float32(value, out)


def scalar_stage(data: Array, op: str, operand: Operand | None, *, reverse: bool = False) -> Array:
    """One arithmetic tensor-scalar stage in float32: `data <op> operand`, uncast.

    Args:
        data: stored or float32 tile (P, ...).
        op: arithmetic operator.
        operand: scalar, (P, 1), or None for a unary operator.
        reverse: `operand <op> data` instead.

    Returns:
        float32 array, shape of `data`.
    """
    return alu.apply(op, cast.float32(data), _operand(operand, data.ndim, np.dtype(np.float32)), reverse=reverse)


def reciprocal(data: Array, out: DType) -> Array:
    """`nisa.reciprocal` (Vector engine): 1/x in float32.

    Args:
        data: stored tile, any shape.
        out: data type of the result.

    Returns:
        Array of `out.storage`, same shape; 1/0 is inf with the sign of the zero.
    """
    return cast.from_float32(scalar_stage(data, "reciprocal", None), out)


def _working(op: str, *, integer: bool) -> np.dtype[np.generic]:
    if alu.get(op).kind == "bitvec":
        return np.dtype(np.uint32)
    return np.dtype(np.int64) if integer else np.dtype(np.float32)


def _enter(tile: Array, work: np.dtype[np.generic]) -> Array:
    if work.kind == "f":
        return cast.float32(tile)
    return cast.bits(tile).astype(np.uint32, copy=False) if work.kind == "u" else tile.astype(np.int64)


def _operand(operand: Operand | None, ndim: int, work: np.dtype[np.generic]) -> Array:
    if operand is None:
        return np.zeros((), work)
    if isinstance(operand, np.ndarray) and operand.ndim:
        return _enter(per_partition(operand, ndim), work)
    if work.kind == "f":
        return np.asarray(operand, np.float32)
    return np.asarray(int(operand) & 0xFFFFFFFF if work.kind == "u" else int(operand), work)


def _leave(value: Array, out: DType, work: np.dtype[np.generic]) -> Array:
    if work.kind == "f":
        return cast.from_float32(value, out)
    if out.kind == "int":
        return cast.wrap_integer(value, out)
    return cast.from_float32(value.astype(np.float32), out)
