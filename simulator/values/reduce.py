"""Reductions along the free axes and across partitions, and the engines' accumulator registers.

Source: `nisa.tensor_reduce`, `nisa.tensor_partition_reduce`, `nisa.tensor_scalar_reduce`, and the "Accumulator behavior"
of the instructions that reduce. Sums are float32; their order is not documented (NumPy's pairwise order here).

A reduction works on the float32 values before they are cast to the output's data type: `nisa.range_select` says so by
example (a row of float32's minimum is -inf in a bfloat16 `dst` and still float32's minimum in a float32 `reduce_res`).
`reduce_cmd.idle` leaves the registers as they are; the documentation says their state is then unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from . import alu, cast
from .arrays import F32, Array, Operand, free_flat
from .elementwise import scalar_stage

if TYPE_CHECKING:
    from .dtypes import DType

Command = Literal["idle", "reset", "reduce", "reset_reduce", "load_reduce"]

PARTITIONS = 128


@dataclass(frozen=True, slots=True)
class Accumulation:
    """What an instruction does with the accumulator registers of its engine.

    Attributes:
        op: operator of the reduction.
        command: `nisa.reduce_cmd` by name.
        registers: float32 values of the P registers before the instruction.
        init: starting value for `load_reduce`, a scalar or one element per partition.
    """

    op: str
    command: Command
    registers: F32
    init: Operand | None = None


def accumulate(values: F32, accumulation: Accumulation) -> F32:
    """The accumulator registers after an instruction gave `values`.

    Args:
        values: float32 results (P, ...), not yet cast.
        accumulation: operator, command and registers before, (P,).

    Returns:
        float32 registers (P,).
    """
    registers = _initial(accumulation, values.shape[0])
    if accumulation.command in ("idle", "reset"):
        return registers
    return alu.apply(accumulation.op, registers, reduce_free(values, accumulation.op))


def start(accumulation: Accumulation, partitions: int) -> F32:
    """The registers as a command sets them before the instruction's own values enter, (partitions,) float32."""
    return _initial(accumulation, partitions)


def _initial(accumulation: Accumulation, partitions: int) -> F32:
    if accumulation.command in ("reset", "reset_reduce"):
        return np.full(partitions, alu.identity(accumulation.op), np.float32)
    if accumulation.command == "load_reduce":
        init = np.asarray(0.0 if accumulation.init is None else accumulation.init, np.float32)
        return np.broadcast_to(init.reshape(-1), (partitions,)).copy()
    return accumulation.registers[:partitions].astype(np.float32)


def reduce_free(values: Array, op: str) -> Array:
    """All free axes of `values` (P, ...) reduced by `op`, shape (P,), dtype as given."""
    return _reduce(free_flat(values), op, (1,))


def tensor_reduce(
    data: Array, op: str, axes: tuple[int, ...], out: DType, *, negate: bool = False, keepdims: bool = False
) -> Array:
    """`nisa.tensor_reduce`: reduce free axes.

    Args:
        data: stored tile (P, ...).
        op: reduction operator; bitvec ones work on bit patterns.
        axes: the free axes to reduce, counted with the partition axis as 0.
        out: data type of the result.
        negate: multiply an arithmetic result by -1.
        keepdims: keep reduced axes with size 1.

    Returns:
        Array of `out.storage` with `axes` gone, or of size 1.
    """
    if alu.get(op).kind == "bitvec":
        reduced = _reduce(cast.bits(data).astype(np.uint32), op, axes, keepdims=keepdims)
        return cast.wrap_integer(reduced, out)
    reduced = _reduce(cast.float32(data), op, axes, keepdims=keepdims)
    return cast.from_float32(np.negative(reduced) if negate else reduced, out)


def tensor_partition_reduce(data: Array, op: str, out: DType) -> Array:
    """`nisa.tensor_partition_reduce`: reduce the partition axis.

    Args:
        data: stored tile (P, ...).
        op: `add`, `average`, `maximum`, `bitwise_or` or `bitwise_and`.
        out: data type of the result.

    Returns:
        Array of `out.storage`, shape (1, ...).
    """
    if op == "average":
        with np.errstate(all="ignore"):
            total = _reduce(cast.float32(data), "add", (0,), keepdims=True)
            return cast.from_float32(np.divide(total, data.shape[0], dtype=np.float32), out)
    return tensor_reduce(data, op, (0,), out, keepdims=True)


def tensor_scalar_reduce(
    data: Array,
    op0: str,
    operand0: Operand | None,
    out: DType,
    accumulation: Accumulation,
    *,
    reverse0: bool = False,
) -> tuple[Array, F32]:
    """`nisa.tensor_scalar_reduce`: `data <op0> operand0`, and its reduction into the registers.

    Args:
        data: stored tile (P, ...).
        op0: arithmetic operator.
        operand0: scalar, (P, 1), or None for a unary operator.
        out: data type of the result.
        accumulation: operator, command and registers before.
        reverse0: `operand0 <op0> data` instead.

    Returns:
        Array of `out.storage`, shape of `data`; and the registers afterwards, (P,) float32.
    """
    values = scalar_stage(data, op0, operand0, reverse=reverse0)
    return cast.from_float32(values, out), accumulate(values, accumulation)


@np.errstate(all="ignore")
def _reduce(values: Array, op: str, axes: tuple[int, ...], *, keepdims: bool = False) -> Array:
    ufunc = alu.get(op).ufunc
    if ufunc is not None and len(axes) == 1:
        return np.asarray(ufunc.reduce(values, axis=axes[0], keepdims=keepdims), values.dtype)
    flat = _last_axes_flat(values, axes)
    reduced = ufunc.reduce(flat, axis=-1) if ufunc is not None else _fold(flat, op)
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(values.shape))
    gone = tuple(size for axis, size in enumerate(values.shape) if axis not in axes)
    return np.asarray(reduced, values.dtype).reshape(kept if keepdims else gone)


def _last_axes_flat(values: Array, axes: tuple[int, ...]) -> Array:
    moved = np.moveaxis(values, axes, tuple(range(values.ndim - len(axes), values.ndim)))
    return moved.reshape(*moved.shape[: values.ndim - len(axes)], -1)


def _fold(flat: Array, op: str) -> Array:
    function = alu.get(op).function
    total = flat[..., 0]
    for index in range(1, flat.shape[-1]):
        total = function(total, flat[..., index])
    return total
