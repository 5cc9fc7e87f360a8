"""Scans along the free axis: `nisa.tensor_tensor_scan` and `nisa.tensor_scalar_cumulative`, sequential in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import alu, cast
from .arrays import F32, Array, Operand, free_flat
from .elementwise import scalar_stage
from .reduce import Accumulation, start

if TYPE_CHECKING:
    from .dtypes import DType


@np.errstate(all="ignore")
def tensor_tensor_scan(
    data0: Array,
    data1: Array,
    initial: Operand,
    op0: str,
    op1: str,
    out: DType,
    *,
    reverse0: bool = False,
    reverse1: bool = False,
) -> Array:
    """`nisa.tensor_tensor_scan`: `result[i] = (data0[i] <op0> result[i-1]) <op1> data1[i]`, with `initial` before the first.

    Args:
        data0: stored tile (P, ...).
        data1: stored tile with the partitions and elements of `data0`.
        initial: scalar or one element per partition, (P, 1).
        op0: binary arithmetic operator.
        op1: binary arithmetic operator.
        out: data type of the result.
        reverse0: `result[i-1] <op0> data0[i]` instead.
        reverse1: `data1[i] <op1> (...)` instead.

    Returns:
        Array of `out.storage`, shape of `data0`. The state stays float32 from element to element.

    Source: `nisa.tensor_tensor_scan`.
    """
    first, second = _columns(data0), _columns(data1)
    state = np.broadcast_to(np.asarray(initial, np.float32).reshape(-1), first.shape[1:]).copy()
    result = np.empty(first.shape, np.float32)
    inner, outer = alu.get(op0).function, alu.get(op1).function
    for index, (x, y) in enumerate(zip(first, second, strict=True)):
        step = inner(state, x) if reverse0 else inner(x, state)
        state = outer(y, step) if reverse1 else outer(step, y)
        result[index] = state
    return cast.from_float32(_tile(result, data0.shape), out)


@np.errstate(all="ignore")
def tensor_scalar_cumulative(
    src: Array,
    op0: str,
    imm0: Operand,
    out: DType,
    accumulation: Accumulation,
    *,
    reverse0: bool = False,
) -> tuple[Array, F32]:
    """`nisa.tensor_scalar_cumulative`: `reg = op1(op0(src[i], imm0), reg)`, every value of `reg` written.

    Args:
        src: stored tile (P, ...).
        op0: arithmetic operator.
        imm0: scalar or (P, 1).
        out: data type of the result.
        accumulation: `op` is op1 (`add`, `subtract`, `multiply`, `maximum` or `minimum`), with the command and the
            registers before; `load_reduce` starts from its `init` (imm1).
        reverse0: `imm0 <op0> src[i]` instead.

    Returns:
        Array of `out.storage`, shape of `src`; and the registers afterwards, (P,) float32.

    Source: `nisa.tensor_scalar_cumulative`; the new element is the left operand of op1, which matters to `subtract`.
    """
    columns = _columns(scalar_stage(src, op0, imm0, reverse=reverse0))
    state = start(accumulation, src.shape[0])
    entry = alu.get(accumulation.op)
    if entry.ufunc is not None and accumulation.op != "subtract":
        result = entry.ufunc.accumulate(np.concatenate([state[None], columns]), axis=0)[1:]
    else:
        result = np.empty_like(columns)
        for index, x in enumerate(columns):
            state = entry.function(x, state)
            result[index] = state
    registers = result[-1].astype(np.float32) if len(result) else state
    return cast.from_float32(_tile(result, src.shape), out), registers


def _columns(tile: Array) -> F32:
    """A tile as float32 (elements per partition, P), so that one step of a scan is contiguous."""
    return np.ascontiguousarray(free_flat(cast.float32(tile)).T)


def _tile(columns: F32, shape: tuple[int, ...]) -> F32:
    return np.ascontiguousarray(columns.T).reshape(shape)
