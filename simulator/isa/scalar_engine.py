"""Instructions of the scalar engine: activation, activation_reduce, activate2."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..check import Check
from ..constants import engine as engines
from ..constants import reduce_cmd as commands
from ..handle import NkiInstruction
from ..instruction import Instruction, Operand, Step, dst, issue
from ..levels import inserted
from ..ops import op_name
from ..rules import activation_function, float32_vectors, reduce_result, same_elements
from ..tensor import NkiTensor
from ..values import activation as values
from .accumulators import accumulation, command_rule, finished

_POLYNOMIALS = "the engine's polynomials are not published: functions are exact to float32; sums are in NumPy's order"
_REDUCES2 = ("add", "maximum", "minimum", "abs_max", "abs_min")
_STAGES = {
    ("multiply", "add"),
    ("multiply", "subtract"),
    ("multiply", "bypass"),
    ("add", "bypass"),
    ("subtract", "bypass"),
    ("bypass", "bypass"),
}


def _activation_rules(check: Check) -> None:
    bias, op = check["bias"], check.option("op")
    if check.generation == 2 and bias is not None and not isinstance(bias, NkiTensor) and bias != 0:
        check.fail(
            "argument",
            f"bias={bias} is a number",
            rule="on trn1 the bias is a vector of shape (partitions, 1)",
            fix="memset a (partitions, 1) tile and pass it, or target trn2",
        )
    if check.generation == 2 and op == "reciprocal" and bias is not None:
        check.fail(
            "argument", "nl.reciprocal with a bias", rule="not on trn1", source="nki.api.shared, engine selection"
        )
    if isinstance(bias, NkiTensor) and bias.dtype == "tfloat32":
        check.fail("dtype", "bias has dtype tfloat32", rule="any dtype but tfloat32")
    if check.option("engine") != engines.unknown:
        _on_gpsimd(check)


def _on_gpsimd(check: Check) -> None:
    engine = check.option("engine")
    if engine == engines.gpsimd:
        if check.generation < 4:
            check.fail("engine", "cannot run on engine.gpsimd", rule="GpSimd activations need trn3")
        if check.option("reduce_cmd") != commands.idle:
            check.fail("engine", "a reduction on engine.gpsimd", rule="the accumulator is the scalar engine's")
        check.engines = ["gpsimd"]
        return
    check.choose(engine)


def _reduce_rules(check: Check) -> None:
    op, command = check.option("reduce_op"), check.option("reduce_cmd")
    if op is not None and op != "add":
        check.fail(
            "argument",
            f"reduce_op=nl.{op}",
            rule="activation reduces by nl.add only",
            fix="use nisa.tensor_reduce for other reductions",
        )
    if op is None and command in (commands.reduce, commands.reset_reduce, commands.load_reduce):
        check.fail("argument", f"reduce_cmd.{command.name} without reduce_op", rule="pass reduce_op=nl.add")


def _activation(step: Step) -> Any:
    op, reduce_op, command, _ = step.options
    active = accumulation(step, "scalar", reduce_op or "add", command, 1)
    results = values.activation(step[1], op, step.out(), bias=step[2], scale=step[3], accumulation=active)
    return finished(step, "scalar", 1, 4, results)


def _engine(api: str, engine: Any, name: str | None) -> tuple[engines, str | None]:
    """The `engine` argument of API 0.7, unknown where it is the scalar engine; and the name."""
    engine, name = inserted(f"nki.isa.{api}", engine, engines.scalar, name)
    return (engines.unknown if engine in (None, engines.scalar) else engine), name


def _operands(*more: Operand) -> tuple[Operand, ...]:
    return (
        dst(columns=True),
        Operand("data", columns=True),
        *more,
        Operand("reduce_res", write=True, optional=True, vector=True),
    )


_BIAS_SCALE = (
    Operand("bias", number=True, optional=True, vector=True),
    Operand("scale", number=True, vector=True),
)

_ACTIVATION = Instruction(
    "activation",
    _operands(*_BIAS_SCALE),
    _activation,
    options=("op", "reduce_op", "reduce_cmd", "engine"),
    engines=("scalar",),
    rules=(
        same_elements("dst", "data"),
        activation_function,
        float32_vectors("scale"),
        command_rule(commands.idle, commands.reset, commands.reduce, commands.reset_reduce),
        _activation_rules,
        _reduce_rules,
        reduce_result,
    ),
    assumes=_POLYNOMIALS,
)


def activation(
    dst: NkiTensor,
    op: Any,
    data: NkiTensor,
    bias: Any = None,
    scale: Any = 1.0,
    reduce_op: Any = None,
    reduce_res: NkiTensor | None = None,
    reduce_cmd: commands = commands.idle,
    engine: engines = engines.scalar,
    name: str | None = None,
) -> NkiInstruction:
    """`dst = op(data * scale + bias)` on the scalar engine in fp32, with an optional sum along the free dimensions.

    Args:
        dst: result tile, any dtype.
        op: activation function (`nl.exp`, `nl.gelu` …).
        data: input tile.
        bias: number (trn2 and newer) or one element per partition.
        scale: number or one float32 element per partition.
        reduce_op: `nl.add`, for the accumulator registers.
        reduce_res: one element per partition that takes the registers' values.
        reduce_cmd: what to do with the registers.
        engine: scalar; gpsimd on trn3 without a reduction (API 0.7).
        name: the user's name for it.

    Raises:
        KernelError: shapes, dtypes, functions or reductions that the engine does not take.
    """
    chosen, name = _engine("activation", engine, name)
    options = (op_name(op), op_name(reduce_op, "reduce_op", optional=True), reduce_cmd, chosen)
    return issue(_ACTIVATION, (dst, data, bias, scale, reduce_res), options, name=name)


_ACTIVATION_REDUCE = replace(_ACTIVATION, api="activation_reduce")


def activation_reduce(
    dst: NkiTensor,
    op: Any,
    data: NkiTensor,
    reduce_op: Any,
    reduce_res: NkiTensor | None,
    bias: Any = None,
    scale: Any = 1.0,
    name: str | None = None,
) -> NkiInstruction:
    """`activation` with `reduce_cmd.reset_reduce`: `reduce_res` takes the sum of the results of each partition.

    Raises:
        KernelError: as `activation`.
    """
    options = (op_name(op), op_name(reduce_op, "reduce_op", optional=True), commands.reset_reduce, engines.unknown)
    return issue(_ACTIVATION_REDUCE, (dst, data, bias, scale, reduce_res), options, name=name)


def _activate2_rules(check: Check) -> None:
    stages = (check.option("op0"), check.option("op1"))
    if stages not in _STAGES:
        check.fail(
            "argument",
            f"op0=nl.{stages[0]}, op1=nl.{stages[1]}",
            rule="one of " + ", ".join(f"({a}, {b})" for a, b in sorted(_STAGES)),
        )
    for stage, number in zip(stages, ("0", "1"), strict=True):
        if stage == "bypass" and check.option(f"reverse{number}"):
            check.fail("argument", f"reverse{number}=True without op{number}", rule="only where there is an operator")
        if stage != "bypass" and check[f"imm{number}"] is None:
            check.fail("argument", f"op{number}=nl.{stage} without imm{number}", rule="an operator needs its operand")
    vectors = {check[name].dtype for name in ("imm0", "imm1") if isinstance(check[name], NkiTensor)}
    if len(vectors) > 1:
        check.fail("dtype", f"imm0 and imm1 are {' and '.join(sorted(vectors))}", rule="tiles of one dtype")
    op = check.option("reduce_op")
    if op is not None and op not in _REDUCES2:
        check.fail("argument", f"reduce_op=nl.{op}", rule=f"one of {', '.join(_REDUCES2)}")
    if op is None and check.option("reduce_cmd") in (commands.reduce, commands.reset_reduce):
        check.fail("argument", "a reduction without reduce_op", rule="pass reduce_op")


def _activate2(step: Step) -> Any:
    op, op0, op1, reverse0, reverse1, reduce_op, command, _ = step.options
    active = accumulation(step, "scalar", reduce_op or "add", command, 1)
    results = values.activate2(
        step[1],
        op,
        step.out(),
        op0=op0,
        imm0=step[2],
        op1=op1,
        imm1=step[3],
        reverse0=reverse0,
        reverse1=reverse1,
        relu_param=step[4],
        accumulation=active,
    )
    return finished(step, "scalar", 1, 5, results)


_ACTIVATE2 = Instruction(
    "activate2",
    _operands(
        Operand("imm0", number=True, optional=True, vector=True),
        Operand("imm1", number=True, optional=True, vector=True),
        Operand("relu_param", number=True, vector=True),
    ),
    _activate2,
    options=("op", "op0", "op1", "reverse0", "reverse1", "reduce_op", "reduce_cmd", "engine"),
    engines=("scalar",),
    rules=(
        same_elements("dst", "data"),
        activation_function,
        command_rule(commands.idle, commands.reset, commands.reduce, commands.reset_reduce),
        _activate2_rules,
        lambda check: _on_gpsimd(check) if check.option("engine") != engines.unknown else None,
        reduce_result,
    ),
    since=4,
    assumes=_POLYNOMIALS,
)


def activate2(
    dst: NkiTensor,
    op: Any,
    data: NkiTensor,
    imm0: Any,
    imm1: Any,
    op0: Any,
    op1: Any,
    relu_param: Any = 0.0,
    reverse0: bool = False,
    reverse1: bool = False,
    reduce_op: Any = None,
    reduce_res: NkiTensor | None = None,
    reduce_cmd: commands = commands.idle,
    engine: engines = engines.scalar,
    name: str | None = None,
) -> NkiInstruction:
    """`dst = op((data <op0> imm0) <op1> imm1)` with an optional reduction (trn3).

    `op0` and `op1` are one of six pairs of multiply, add, subtract and bypass; `reverse0` and `reverse1` swap their
    sides. `reduce_op` is add, maximum, minimum, abs_max or abs_min.

    Raises:
        KernelError: on trn1 and trn2, and for pairs or reductions that are not there.
    """
    chosen, name = _engine("activate2", engine, name)
    options = (
        op_name(op),
        op_name(op0, "op0", optional=True) or "bypass",
        op_name(op1, "op1", optional=True) or "bypass",
        bool(reverse0),
        bool(reverse1),
        op_name(reduce_op, "reduce_op", optional=True),
        reduce_cmd,
        chosen,
    )
    return issue(_ACTIVATE2, (dst, data, imm0, imm1, relu_param, reduce_res), options, name=name)
