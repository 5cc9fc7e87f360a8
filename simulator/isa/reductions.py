"""Reductions, statistics and scans of the vector engine, and GpSimd's reduction across partitions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..check import Check
from ..constants import reduce_cmd as commands
from ..handle import NkiInstruction
from ..instruction import Instruction, Operand, Step, dst, issue
from ..layout import SBUF
from ..ops import op_name
from ..rules import (
    alu_ops,
    exactly,
    float32_vectors,
    free_dims,
    not_both_psum,
    reduce_result,
    same_elements,
    unary_operand,
)
from ..tensor import NkiTensor
from ..values import alu, norm, reduce, scan
from . import given
from .accumulators import accumulation, command_rule, finished, lanes, registers

_RESULT = Operand("reduce_res", write=True, optional=True, vector=True)
_NO_INT32 = (
    "bfloat16",
    "float16",
    "float32",
    "tfloat32",
    "float8_e4m3",
    "float8_e4m3fn",
    "float8_e5m2",
    "uint8",
    "uint16",
    "int8",
    "int16",
)


def _reduce_rules(check: Check) -> None:
    data, axes = check["data"], check.option("axis")
    expected = tuple(range(data.ndim - len(axes), data.ndim))
    if not axes or axes != expected or 0 in axes:
        check.fail(
            "argument",
            f"axis={axes} of a tile of shape {data.shape}",
            rule="the last contiguous free dimensions, ending at the last; the partition dimension cannot be reduced",
            fix="permute the tile so that the reduced dimensions are last",
        )
    if check.option("negate") and alu.get(check.option("op")).kind == "bitvec":
        check.fail("argument", f"negate=True with nl.{check.option('op')}", rule="only with an arithmetic operator")
    left = prod(data.shape[1 : data.ndim - len(axes)])
    if check["dst"].layout.per_partition != left:
        check.fail(
            "shape",
            f"dst has {check['dst'].layout.per_partition} elements per partition",
            rule=f"the reduction of {data.shape} along {axes} leaves {left}",
        )


_TENSOR_REDUCE = Instruction(
    "tensor_reduce",
    (dst(columns=True), Operand("data", columns=True)),
    lambda step: reduce.tensor_reduce(step[1], step.options[0], step.options[1], step.out(), negate=step.options[2]),
    options=("op", "axis", "negate"),
    engines=("vector",),
    rules=(alu_ops("op", reducing=True), _reduce_rules),
    assumes="the order of the sum is not published: that of NumPy",
)


def tensor_reduce(
    dst: NkiTensor,
    op: Any,
    data: NkiTensor,
    axis: int | Sequence[int],
    negate: bool = False,
    keepdims: bool = False,
    name: str | None = None,
) -> NkiInstruction:
    """Reduce the last free dimensions of a tile by `op`, in fp32 (bit patterns for bitvec operators).

    Args:
        dst: result tile; only its number of elements matters, so `keepdims` changes nothing.
        op: reduction operator.
        data: input tile.
        axis: the dimensions, counted with the partition dimension as 0; negative ones from the end.
        negate: multiply the result by -1.
        keepdims: reduced dimensions stay with size 1.
        name: the user's name for it.

    Raises:
        KernelError: other dimensions, or a result of the wrong size.
    """
    del keepdims
    ndim = getattr(data, "ndim", 0)
    axes = tuple(sorted(a + ndim if a < 0 else a for a in given.integers("tensor_reduce", "axis", axis)))
    return issue(_TENSOR_REDUCE, (dst, data), (op_name(op), axes, bool(negate)), name=name)


_PARTITION_OPS = ("add", "average", "maximum", "bitwise_or", "bitwise_and")


def _partition_rules(check: Check) -> None:
    op = check.option("op")
    if op not in _PARTITION_OPS:
        check.fail("argument", f"op=nl.{op}", rule=f"one of {', '.join(_PARTITION_OPS)}")
    if check["dst"].layout.partitions != 1:
        check.fail("shape", f"dst has {check['dst'].layout.partitions} partitions", rule="dst has one partition")
    check.functions.append(op)
    check.partitions = check["data"].layout.partitions


_TENSOR_PARTITION_REDUCE = Instruction(
    "tensor_partition_reduce",
    (dst(spaces=(SBUF,)), Operand("data", spaces=(SBUF,))),
    lambda step: reduce.tensor_partition_reduce(step[1], step.options[0], step.out()),
    options=("op",),
    engines=("gpsimd",),
    rules=(_partition_rules, same_elements("dst", "data")),
    same_partitions=False,
)


def tensor_partition_reduce(dst: NkiTensor, op: Any, data: NkiTensor, name: str | None = None) -> NkiInstruction:
    """Reduce the partition dimension on GpSimd: add, average, maximum, bitwise_or or bitwise_and.

    Raises:
        KernelError: another operator, or a `dst` with more than one partition.
    """
    return issue(_TENSOR_PARTITION_REDUCE, (dst, data), (op_name(op),), name=name)


def _scalar_reduce_rules(check: Check) -> None:
    command, init = check.option("reduce_cmd"), check["reduce_init"]
    if (command == commands.load_reduce) != (init is not None):
        check.fail(
            "argument", f"reduce_cmd.{command.name} with reduce_init={init}", rule="load_reduce needs reduce_init"
        )
    if check.option("reduce_op") not in ("add", "multiply", "maximum", "minimum"):
        check.fail("argument", f"reduce_op=nl.{check.option('reduce_op')}", rule="add, multiply, maximum or minimum")
    if check.option("reverse0"):
        check.fail("argument", "reverse0=True", rule="not supported by the instruction yet")


def _scalar_reduce(step: Step) -> Any:
    op0, reduce_op, command, reverse0, negate = step.options
    active = accumulation(step, "vector", reduce_op, command, 1, step[3])
    results = reduce.tensor_scalar_reduce(step[1], op0, step[2], step.out(), active, reverse0=reverse0)
    return finished(step, "vector", 1, 4, results, negate=negate)


_TENSOR_SCALAR_REDUCE = Instruction(
    "tensor_scalar_reduce",
    (
        dst(columns=True),
        Operand("data", columns=True),
        Operand("operand0", number=True, optional=True, vector=True),
        Operand("reduce_init", number=True, optional=True, vector=True),
        _RESULT,
    ),
    _scalar_reduce,
    options=("op0", "reduce_op", "reduce_cmd", "reverse0", "reduce_res_negate"),
    engines=("vector",),
    rules=(
        same_elements("dst", "data"),
        alu_ops("op0", arithmetic=True),
        unary_operand("op0", "operand0"),
        float32_vectors("operand0", "reduce_init"),
        command_rule(commands.reduce, commands.reset_reduce, commands.load_reduce),
        free_dims(3, "dst", "data"),
        _scalar_reduce_rules,
        reduce_result,
    ),
)


def tensor_scalar_reduce(
    dst: NkiTensor,
    data: NkiTensor,
    op0: Any,
    operand0: Any,
    reduce_op: Any,
    reduce_res: NkiTensor | None = None,
    reverse0: bool = False,
    reduce_cmd: commands = commands.reset_reduce,
    reduce_init: Any = None,
    reduce_res_negate: bool = False,
    name: str | None = None,
) -> NkiInstruction:
    """`dst = data <op0> operand0`, and its reduction along all free dimensions into the vector engine's registers.

    Args:
        dst: result tile.
        data: input tile.
        op0: arithmetic operator.
        operand0: number or one float32 element per partition.
        reduce_op: add, multiply, maximum or minimum.
        reduce_res: one element per partition that takes the registers' values.
        reverse0: not supported by the instruction.
        reduce_cmd: reset_reduce, reduce or load_reduce (from `reduce_init`).
        reduce_init: start of the registers.
        reduce_res_negate: write the negated value to `reduce_res`.
        name: the user's name for it.

    Raises:
        KernelError: shapes, operators or commands that are not there.
    """
    options = (
        op_name(op0, "op0"),
        op_name(reduce_op, "reduce_op"),
        reduce_cmd,
        bool(reverse0),
        bool(reduce_res_negate),
    )
    return issue(_TENSOR_SCALAR_REDUCE, (dst, data, operand0, reduce_init, reduce_res), options, name=name)


def _cumulative_rules(check: Check) -> None:
    if check.option("op1") not in ("add", "subtract", "multiply", "maximum", "minimum"):
        check.fail("argument", f"op1=nl.{check.option('op1')}", rule="add, subtract, multiply, maximum or minimum")
    if check.option("reduce_cmd") == commands.load_reduce and check["imm1"] is None:
        check.fail("argument", "reduce_cmd.load_reduce without imm1", rule="load_reduce starts from imm1")


def _cumulative(step: Step) -> np.ndarray:
    op0, op1, command = step.options
    active = accumulation(step, "vector", op1, command, 1, step[3])
    result, after = scan.tensor_scalar_cumulative(step[1], op0, step[2], step.out(), active)
    registers(step.context, "vector")[lanes(step.operands[1])] = after
    return result


_TENSOR_SCALAR_CUMULATIVE = Instruction(
    "tensor_scalar_cumulative",
    (
        dst(dtypes=_NO_INT32, columns=True),
        Operand("src", dtypes=_NO_INT32, columns=True),
        Operand("imm0", number=True, vector=True),
        Operand("imm1", number=True, optional=True, vector=True),
    ),
    _cumulative,
    options=("op0", "op1", "reduce_cmd"),
    engines=("vector",),
    rules=(
        same_elements("dst", "src"),
        alu_ops("op0", "op1", arithmetic=True),
        float32_vectors("imm0", "imm1"),
        command_rule(commands.reduce, commands.reset_reduce, commands.load_reduce),
        _cumulative_rules,
    ),
)


def tensor_scalar_cumulative(
    dst: NkiTensor,
    src: NkiTensor,
    op0: Any,
    op1: Any,
    imm0: Any,
    imm1: Any = None,
    reduce_cmd: commands = commands.reset_reduce,
    name: str | None = None,
) -> NkiInstruction:
    """Running reduction: `reg = (src[i] <op0> imm0) <op1> reg; dst[i] = reg`, the register kept in the vector engine.

    Raises:
        KernelError: 32-bit integers, operators or commands that are not there.
    """
    options = (op_name(op0, "op0"), op_name(op1, "op1"), reduce_cmd)
    return issue(_TENSOR_SCALAR_CUMULATIVE, (dst, src, imm0, imm1), options, name=name)


def _scan(step: Step) -> np.ndarray:
    op0, op1, reverse0, reverse1 = step.options
    return scan.tensor_tensor_scan(
        step[1], step[2], step[3], op0, op1, step.out(), reverse0=reverse0, reverse1=reverse1
    )


_TENSOR_TENSOR_SCAN = Instruction(
    "tensor_tensor_scan",
    (dst(), Operand("data0"), Operand("data1"), Operand("initial", number=True, vector=True)),
    _scan,
    options=("op0", "op1", "reverse0", "reverse1"),
    engines=("vector",),
    rules=(
        same_elements("dst", "data0", "data1"),
        not_both_psum("data0", "data1"),
        alu_ops("op0", "op1", arithmetic=True, binary=True),
    ),
)


def tensor_tensor_scan(
    dst: NkiTensor,
    data0: NkiTensor,
    data1: NkiTensor,
    initial: Any,
    op0: Any,
    op1: Any,
    reverse0: bool = False,
    reverse1: bool = False,
    name: str | None = None,
) -> NkiInstruction:
    """Scan along the free dimension: `r[i] = (data0[i] <op0> r[i-1]) <op1> data1[i]`, from `initial`; in fp32.

    Raises:
        KernelError: shapes, bitvec operators, both inputs in PSUM.
    """
    options = (op_name(op0, "op0"), op_name(op1, "op1"), bool(reverse0), bool(reverse1))
    return issue(_TENSOR_TENSOR_SCAN, (dst, data0, data1, initial), options, name=name)


def _stats_limit(check: Check) -> None:
    most = check.context.hardware.vector.max_free_bn_stats
    if check["data"].layout.per_partition > most:
        check.fail(
            "limit",
            f"data has {check['data'].layout.per_partition} elements per partition",
            rule=f"at most {most} (nl.tile_size.bn_stats_fmax)",
            fix="call bn_stats for each piece and aggregate all with one bn_aggr",
        )


_BN_STATS = Instruction(
    "bn_stats",
    (dst(), Operand("data")),
    lambda step: norm.bn_stats(step[1], step.out()),
    engines=("vector",),
    rules=(exactly("dst", 6), _stats_limit),
)


def bn_stats(dst: NkiTensor, data: NkiTensor, name: str | None = None) -> NkiInstruction:
    """Count, mean and variance x count of the even, then the odd elements of each partition: `dst` is (P, 6).

    Raises:
        KernelError: more than 512 elements per partition, another size of `dst`.
    """
    return issue(_BN_STATS, (dst, data), name=name)


def _threes(check: Check) -> None:
    if check["data"].layout.per_partition % 3:
        check.fail("shape", f"data has {check['data'].layout.per_partition} elements", rule="a multiple of three")


_BN_AGGR = Instruction(
    "bn_aggr",
    (dst(), Operand("data")),
    lambda step: norm.bn_aggr(step[1], step.out()),
    engines=("vector",),
    rules=(exactly("dst", 2), _threes),
)


def bn_aggr(dst: NkiTensor, data: NkiTensor, name: str | None = None) -> NkiInstruction:
    """Mean and variance of each partition out of `bn_stats` results: `dst` is (P, 2).

    Raises:
        KernelError: `data` is not whole (count, mean, variance x count) triples.
    """
    return issue(_BN_AGGR, (dst, data), name=name)
