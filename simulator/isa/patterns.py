"""Patterns and selections: iota, affine_select, range_select, select_reduce, exponential."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from ..check import Check
from ..constants import reduce_cmd as commands
from ..handle import NkiInstruction
from ..instruction import Instruction, Operand, Step, dst, issue
from ..layout import PSUM, SBUF
from ..ops import op_name
from ..rules import float32_vectors, free_dims, reduce_result, same_elements
from ..tensor import NkiTensor
from ..values import alu, select
from ..values import exponential as exponential_values
from ..values import iota as iota_values
from ..values.reduce import Accumulation
from . import given
from .accumulators import accumulation, command_rule, finished

FLOAT32_MIN = -3.4028235e38
_RESULT = Operand("reduce_res", write=True, optional=True, vector=True)
_FLOATS = ("float32", "bfloat16", "float16", "tfloat32", "float8_e4m3", "float8_e4m3fn", "float8_e5m2")
_EXPONENTIAL_OUT = (*_FLOATS, "int8", "int16", "int32", "uint8", "uint16")
_EXPONENTIAL_IN = (*(name for name in _EXPONENTIAL_OUT if name != "tfloat32"), "uint32")
Pattern = Sequence[Sequence[int]]


def _pattern_size(check: Check) -> None:
    """The pattern names as many elements as a partition of dst has, in at most four dimensions."""
    pattern, count = check.option("pattern"), check["dst"].layout.per_partition
    if len(pattern) > 4:
        check.fail("limit", f"pattern={list(pattern)} has {len(pattern)} dimensions", rule="at most four")
    if prod(num for _, num in pattern) != count:
        check.fail(
            "shape",
            f"pattern={[list(p) for p in pattern]} has {prod(num for _, num in pattern)} elements",
            rule=f"dst has {count} elements per partition, and the pattern as many",
        )


def _iota(step: Step) -> np.ndarray:
    offset, multiplier = step.extra
    return iota_values.iota(step.shape(0)[0], step.options[0], offset, multiplier, step.out())


_IOTA = Instruction(
    "iota", (dst(spaces=(SBUF,)),), _iota, options=("pattern",), engines=("gpsimd",), rules=(_pattern_size,)
)


def iota(
    dst: NkiTensor, pattern: Pattern, offset: int = 0, channel_multiplier: int = 0, name: str | None = None
) -> NkiInstruction:
    """Write `offset + partition * channel_multiplier + sum(step * index)` for a pattern of `[[step, num], …]`.

    Computed in 32-bit integers on GpSimd, cast to the dtype of `dst` (SBUF).

    Raises:
        KernelError: the pattern has another number of elements than a partition of `dst`.
    """
    extra = (given.integer("iota", "offset", offset), given.integer("iota", "channel_multiplier", channel_multiplier))
    return issue(_IOTA, (dst,), (given.pattern("iota", pattern),), extra, name)


def _comparison(*options: str) -> Any:
    def rule(check: Check) -> None:
        for option in options:
            name = check.option(option)
            if name not in alu.COMPARISONS:
                check.fail("argument", f"{option}=nl.{name}", rule=f"one of {', '.join(sorted(alu.COMPARISONS))}")
            check.functions.append(name)

    return rule


def _affine_select(step: Step) -> np.ndarray:
    pattern, cmp_op = step.options
    multiplier, on_false, offset = step.extra
    return select.affine_select(step[1], pattern, multiplier, on_false, cmp_op, step.out(), offset=offset)


_AFFINE_SELECT = Instruction(
    "affine_select",
    (dst(spaces=(SBUF,)), Operand("on_true_tile", spaces=(SBUF,))),
    _affine_select,
    options=("pattern", "cmp_op"),
    engines=("gpsimd",),
    rules=(same_elements("dst", "on_true_tile"), _pattern_size, _comparison("cmp_op")),
)


def affine_select(
    dst: NkiTensor,
    pattern: Pattern,
    channel_multiplier: int,
    on_true_tile: NkiTensor,
    on_false_value: float,
    cmp_op: Any = "equal",
    offset: int = 0,
    name: str | None = None,
) -> NkiInstruction:
    """`on_true_tile` where `cmp_op(affine index, 0)` holds, else a number; the index as in `iota`. On GpSimd.

    Raises:
        KernelError: tiles outside SBUF, another operator than a comparison, sizes that differ.
    """
    api = "affine_select"
    extra = (
        given.integer(api, "channel_multiplier", channel_multiplier),
        given.real(api, "on_false_value", on_false_value),
        given.integer(api, "offset", offset),
    )
    options = (given.pattern(api, pattern), op_name(cmp_op, "cmp_op"))
    return issue(_AFFINE_SELECT, (dst, on_true_tile), options, extra, name)


def _active(step: Step, op: str, command: commands, data: int, init: Any = None) -> Accumulation:
    return accumulation(step, "vector", op, command, data, init)


def _range_rules(check: Check) -> None:
    if check.option("reduce_op") != "maximum":
        check.fail("argument", f"reduce_op=nl.{check.option('reduce_op')}", rule="only nl.maximum")
    value = check.option("on_false_value")
    if np.float32(value) != np.float32(FLOAT32_MIN):
        check.fail("argument", f"on_false_value={value}", rule=f"must be FP32_MIN ({FLOAT32_MIN})")


def _range_select(step: Step) -> Any:
    op0, op1, command, reduce_op, on_false = step.options
    results = select.range_select(
        step[1],
        op0,
        op1,
        step[2],
        step[3],
        step.out(),
        range_start=step.extra[0],
        on_false_value=on_false,
        accumulation=_active(step, reduce_op, command, 1),
    )
    return finished(step, "vector", 1, 4, results)


_RANGE_SELECT = Instruction(
    "range_select",
    (
        dst(),
        Operand("on_true_tile", dtypes=_FLOATS),
        Operand("bound0", vector=True),
        Operand("bound1", vector=True),
        _RESULT,
    ),
    _range_select,
    options=("comp_op0", "comp_op1", "reduce_cmd", "reduce_op", "on_false_value"),
    engines=("vector",),
    rules=(
        same_elements("dst", "on_true_tile"),
        float32_vectors("bound0", "bound1"),
        _comparison("comp_op0", "comp_op1"),
        command_rule(*commands),
        _range_rules,
        reduce_result,
    ),
    since=3,
)


def range_select(
    dst: NkiTensor,
    on_true_tile: NkiTensor,
    comp_op0: Any,
    comp_op1: Any,
    bound0: NkiTensor,
    bound1: NkiTensor,
    reduce_cmd: commands = commands.reset_reduce,
    reduce_res: NkiTensor | None = None,
    reduce_op: Any = "maximum",
    range_start: int = 0,
    on_false_value: float = FLOAT32_MIN,
    name: str | None = None,
) -> NkiInstruction:
    """`on_true_tile` where the free index passes both comparisons with the bounds, else FP32_MIN; and the row maximum.

    Args:
        dst: result tile.
        on_true_tile: float tile.
        comp_op0: comparison of `range_start + index` with `bound0`.
        comp_op1: comparison with `bound1`; both must hold.
        bound0: one float32 element per partition.
        bound1: one float32 element per partition.
        reduce_cmd: what to do with the vector engine's registers.
        reduce_res: one element per partition that takes the registers' values.
        reduce_op: `nl.maximum`.
        range_start: index of the first element.
        on_false_value: FP32_MIN.
        name: the user's name for it.

    Raises:
        KernelError: on trn1, or operators, dtypes or sizes that are not there.
    """
    options = (
        op_name(comp_op0, "comp_op0"),
        op_name(comp_op1, "comp_op1"),
        reduce_cmd,
        op_name(reduce_op, "reduce_op"),
        given.real("range_select", "on_false_value", on_false_value),
    )
    start = given.integer("range_select", "range_start", range_start)
    return issue(_RANGE_SELECT, (dst, on_true_tile, bound0, bound1, reduce_res), options, (start,), name)


def _select_rules(check: Check) -> None:
    if check["on_true"].layout.space == check["predicate"].layout.space == PSUM:
        check.fail("buffer", "on_true and predicate are both in PSUM", rule="at most one of them is")
    if check["on_true"].dtype in ("tfloat32", "int32", "uint32"):
        check.fail("dtype", f"on_true has dtype {check['on_true'].dtype}", rule="not tfloat32, int32 or uint32")
    if check.option("reduce_op") != "maximum":
        check.fail("argument", f"reduce_op=nl.{check.option('reduce_op')}", rule="only nl.maximum")
    result = check["reduce_res"]
    if result is not None and not result.dtype.is_float:
        check.fail("dtype", f"reduce_res has dtype {result.dtype}", rule="a float type")


def _select_reduce(step: Step) -> Any:
    command, reduce_op, reverse = step.options
    results = select.select_reduce(
        step[1], step[2], step[3], step.out(), reverse_pred=reverse, accumulation=_active(step, reduce_op, command, 2)
    )
    return finished(step, "vector", 2, 4, results)


_SELECT_REDUCE = Instruction(
    "select_reduce",
    (
        dst(),
        Operand("predicate", dtypes=("int8", "uint8", "int16", "uint16")),
        Operand("on_true"),
        Operand("on_false", number=True, vector=True),
        _RESULT,
    ),
    _select_reduce,
    options=("reduce_cmd", "reduce_op", "reverse_pred"),
    engines=("vector",),
    rules=(
        same_elements("dst", "predicate", "on_true"),
        command_rule(commands.idle, commands.reduce, commands.reset_reduce),
        _select_rules,
        reduce_result,
    ),
)


def select_reduce(
    dst: NkiTensor,
    predicate: NkiTensor,
    on_true: NkiTensor,
    on_false: Any,
    reduce_res: NkiTensor | None = None,
    reduce_cmd: commands = commands.idle,
    reduce_op: Any = "maximum",
    reverse_pred: bool = False,
    name: str | None = None,
) -> NkiInstruction:
    """`on_true` where `predicate` is not 0, else `on_false` (a number or one element per partition); and the row maximum.

    Raises:
        KernelError: sizes or dtypes that are not there, `on_true` and `predicate` both in PSUM.
    """
    options = (reduce_cmd, op_name(reduce_op, "reduce_op"), bool(reverse_pred))
    return issue(_SELECT_REDUCE, (dst, predicate, on_true, on_false, reduce_res), options, name=name)


def _exponential_rules(check: Check) -> None:
    init = check["reduce_init"]
    if check.option("reduce_cmd") != commands.load_reduce and (isinstance(init, NkiTensor) or init != 0.0):
        check.fail("argument", "reduce_init without load_reduce", rule="reduce_init is for reduce_cmd.load_reduce")
    check.functions.append("exp")


def _exponential(step: Step) -> Any:
    results = exponential_values.exponential(
        step[1], step[2], step.out(), accumulation=_active(step, "add", step.options[0], 1, step[3])
    )
    return finished(step, "vector", 1, 4, results)


_EXPONENTIAL = Instruction(
    "exponential",
    (
        dst(columns=True, dtypes=_EXPONENTIAL_OUT),
        Operand("src", columns=True, dtypes=_EXPONENTIAL_IN),
        Operand("max_value", number=True, vector=True),
        Operand("reduce_init", number=True, vector=True),
        replace(_RESULT, dtypes=_FLOATS),
    ),
    _exponential,
    options=("reduce_cmd",),
    engines=("vector",),
    rules=(
        same_elements("dst", "src"),
        float32_vectors("max_value", "reduce_init"),
        command_rule(commands.idle, commands.reduce, commands.reset_reduce, commands.load_reduce),
        free_dims(3, "dst", "src"),
        _exponential_rules,
        reduce_result,
    ),
    since=4,
    assumes="exact to float32; the engine's own approximation is not published",
)


def exponential(
    dst: NkiTensor,
    src: NkiTensor,
    max_value: Any = 0.0,
    reduce_res: NkiTensor | None = None,
    reduce_cmd: commands = commands.idle,
    reduce_init: Any = 0.0,
    name: str | None = None,
) -> NkiInstruction:
    """`exp(src - max_value)` on the vector engine (trn3), with an optional running sum in its registers.

    Raises:
        KernelError: on trn1 and trn2, or sizes and dtypes that are not there.
    """
    return issue(_EXPONENTIAL, (dst, src, max_value, reduce_init, reduce_res), (reduce_cmd,), name=name)
