"""Element-wise instructions of the vector, scalar and GpSimd engines."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..check import Check
from ..columns import Columns
from ..constants import engine as engines
from ..handle import NkiInstruction
from ..instruction import Instruction, Operand, Partial, Step, dst, issue
from ..layout import PSUM
from ..ops import op_name
from ..rules import alu_ops, engine_choice, not_both_psum, same_dtype, same_elements, unary_operand
from ..tensor import NkiTensor
from ..values import alu, cast, elementwise, select

_ANY = ("vector", "scalar", "gpsimd")
_INT32 = ("int32", "uint32")


def _copy_rules(check: Check) -> None:
    if check.generation == 2:
        check.engines.remove("scalar")
    if check["dst"].dtype != check["src"].dtype:
        check.flags.add("cast")
    if check["dst"].dtype.kind == "packed" and check["dst"].dtype != check["src"].dtype:
        check.fail("dtype", "a packed type is copied to another", rule="packed x4 types are copied bit for bit only")


_TENSOR_COPY = Instruction(
    "tensor_copy",
    (dst(columns=True), Operand("src", columns=True)),
    lambda step: cast.cast(step[1], step.out()),
    options=("engine",),
    engines=_ANY,
    rules=(same_elements("dst", "src"), _copy_rules, engine_choice()),
)


def tensor_copy(
    dst: NkiTensor, src: NkiTensor, engine: engines = engines.unknown, name: str | None = None
) -> NkiInstruction:
    """Copy a tile within SBUF and PSUM: bit for bit in one dtype, else cast through fp32.

    `engine` is vector, scalar (trn2 and newer) or gpsimd (SBUF only).

    Raises:
        KernelError: partitions or elements per partition differ, an operand is in HBM, an engine that cannot.
    """
    return issue(_TENSOR_COPY, (dst, src), (engine,), name=name)


def _memset_rules(check: Check) -> None:
    value, dtype = check.option("value"), check["dst"].dtype
    if not isinstance(value, int | float | bool | np.number):
        check.fail("argument", f"value={value!r}", rule="value is a compile-time number")
    if dtype.kind == "packed" and value != 0:
        check.fail("argument", f"value={value} for {dtype}", rule="packed x4 types are set to 0 only")
    if dtype.is_integer and isinstance(value, float | np.floating):
        check.fail(
            "dtype",
            f"value={value!r} is a float, dst has dtype {dtype}",
            rule="the value has the kind of the destination's dtype",
            source="NKI 0.3.0 release notes, nisa.memset",
            fix=f"pass value={int(value) if np.isfinite(value) else 0}",
        )


_MEMSET = Instruction(
    "memset",
    (dst(),),
    lambda step: cast.memset(step.shape(0), step.options[0], step.out()),
    options=("value", "engine"),
    engines=("vector", "gpsimd"),
    rules=(_memset_rules, engine_choice()),
)


def memset(dst: NkiTensor, value: float, engine: engines = engines.unknown, name: str | None = None) -> NkiInstruction:
    """Fill a tile with a compile-time number; `engine` is vector or gpsimd.

    Raises:
        KernelError: the tile is in HBM, or the value does not fit a packed dtype.
    """
    return issue(_MEMSET, (dst,), (value, engine), name=name)


def _tensor_tensor_engines(check: Check) -> None:
    """nl.power runs on GpSimd; 32-bit integers go there by default, unless an operand is in PSUM."""
    check.without_gpsimd_in_psum()
    if check.option("op") == "power":
        if "gpsimd" not in check.engines:
            check.fail(
                "buffer", "nl.power with an operand in PSUM", rule="nl.power runs on GpSimd, which reads SBUF only"
            )
        check.engines = ["gpsimd"]
    elif check.option("op") in alu.OPS and alu.OPS[check.option("op")].kind == "bitvec":
        check.engines = ["vector"]
    elif _all_int32(check) and check.option("engine") == engines.unknown and "gpsimd" in check.engines:
        check.engines = ["gpsimd"]
    check.choose(check.option("engine"))


def _all_int32(check: Check) -> bool:
    return all(tile.dtype in _INT32 for _, tile in check.tensors())


def _tensor_tensor(step: Step) -> np.ndarray:
    tiles = (step.operands[0], step.operands[1], step.operands[2])
    native = step.plan.engine == 3 and all(tile.dtype in _INT32 for tile in tiles)
    return elementwise.tensor_tensor(step[1], step[2], step.options[0], step.out(), integer=native)


_TENSOR_TENSOR = Instruction(
    "tensor_tensor",
    (dst(columns=True), Operand("data1", columns=True), Operand("data2")),
    _tensor_tensor,
    options=("op", "engine"),
    engines=("vector", "gpsimd"),
    rules=(
        same_elements("dst", "data1", "data2"),
        not_both_psum("data1", "data2"),
        alu_ops("op", binary=True),
        _tensor_tensor_engines,
    ),
)


def tensor_tensor(
    dst: NkiTensor,
    data1: NkiTensor,
    data2: NkiTensor,
    op: Any,
    engine: engines = engines.unknown,
    name: str | None = None,
) -> NkiInstruction:
    """`dst = data1 <op> data2`, element by element, in fp32 (bit patterns for bitvec operators).

    Where all tiles are int32 or uint32 and lie in SBUF, GpSimd computes in native integers. One input at most is in PSUM.

    Raises:
        KernelError: partitions or elements differ, both inputs in PSUM, an operator or engine that cannot.
    """
    return issue(_TENSOR_TENSOR, (dst, data1, data2), (op_name(op), engine), name=name)


_SCALAR_OPS = {("multiply", "add"), ("multiply", None), ("add", None)}


def _scalar_engine_can(check: Check) -> bool:
    """Not on trn1; three pairs of operators on trn2; any arithmetic on trn3 (Trainium3 guide), where it is asked for."""
    if check.generation > 3 and check.option("engine") == engines.scalar:
        return True
    return check.generation > 2 and (check.option("op0"), check.option("op1")) in _SCALAR_OPS


def _tensor_scalar_engines(check: Check) -> None:
    check.without_gpsimd_in_psum()
    op0, op1 = check.option("op0"), check.option("op1")
    if op0 in alu.OPS and alu.OPS[op0].kind == "bitvec":
        check.engines = ["vector"]
    elif "rsqrt" in (op0, op1):
        check.engines = [e for e in check.engines if e == "gpsimd"]
    else:
        check.engines = ["vector", "scalar"] if _scalar_engine_can(check) else ["vector"]
    if not check.engines:
        check.fail("buffer", "nl.rsqrt with an operand in PSUM", rule="nl.rsqrt runs on GpSimd, which reads SBUF only")
    check.choose(check.option("engine"))


def _operand_numbers(check: Check) -> None:
    if check.option("op1") is None and check["operand1"] is not None:
        check.fail("argument", f"operand1={check['operand1']!r} without op1", rule="op1 and operand1 go together")
    vectors = [name for name in ("operand0", "operand1") if isinstance(check[name], NkiTensor)]
    if alu.OPS[check.option("op0")].kind != "arithmetic" or not vectors:
        return
    if _all_int32(check):
        _no_indirect_addresses(check)
        return
    for name in vectors:
        if check[name].dtype != "float32":
            check.fail(
                "dtype",
                f"{name} has dtype {check[name].dtype}",
                rule=f"{name} must be float32 with an arithmetic operator",
                fix="cast it with nisa.tensor_copy first",
            )


def _no_indirect_addresses(check: Check) -> None:
    """Integers throughout are address arithmetic (`tensor_scalar_addr`), which takes no tensor indirection."""
    for operand, tile in check.tensors():
        if isinstance(tile.indirection, Columns):
            check.fail(
                "argument",
                f"{operand.name} is indirect in arithmetic of int32 tiles",
                rule="int32/uint32 address arithmetic (tensor_scalar_addr) takes no tensor indirection",
                fix="copy the columns with nisa.tensor_copy first, or compute in float32",
            )


def _tensor_scalar(step: Step) -> np.ndarray:
    op0, op1, reverse0, reverse1, _ = step.options
    tiles = [tile for tile in step.operands if isinstance(tile, NkiTensor)]
    native = len(tiles) > 2 and all(tile.dtype in _INT32 for tile in tiles)
    return elementwise.tensor_scalar(
        step[1],
        op0,
        step[2],
        step.out(),
        reverse0=reverse0,
        op1=op1,
        operand1=step[3],
        reverse1=reverse1,
        integer=native,
    )


_TENSOR_SCALAR = Instruction(
    "tensor_scalar",
    (
        dst(columns=True),
        Operand("data", columns=True),
        Operand("operand0", number=True, optional=True, vector=True),
        Operand("operand1", number=True, optional=True, vector=True),
    ),
    _tensor_scalar,
    options=("op0", "op1", "reverse0", "reverse1", "engine"),
    engines=_ANY,
    rules=(
        same_elements("dst", "data"),
        alu_ops("op0", "op1"),
        unary_operand("op0", "operand0"),
        unary_operand("op1", "operand1"),
        _operand_numbers,
        _tensor_scalar_engines,
    ),
)


def tensor_scalar(
    dst: NkiTensor,
    data: NkiTensor,
    op0: Any,
    operand0: Any,
    reverse0: bool = False,
    op1: Any = None,
    operand1: Any = None,
    reverse1: bool = False,
    engine: engines = engines.unknown,
    name: str | None = None,
) -> NkiInstruction:
    """`dst = (data <op0> operand0) <op1> operand1`, operands numbers or one float32 element per partition.

    `reverse0` and `reverse1` swap the sides of an operator. Both operators are arithmetic (fp32) or both bitvec.

    Raises:
        KernelError: shapes, dtypes, operators or an engine that cannot.
    """
    options = (op_name(op0, "op0"), op_name(op1, "op1", optional=True), bool(reverse0), bool(reverse1), engine)
    return issue(_TENSOR_SCALAR, (dst, data, operand0, operand1), options, name=name)


def _scalar_tensor_tensor(step: Step) -> np.ndarray:
    op0, op1, reverse0, reverse1 = step.options
    return elementwise.scalar_tensor_tensor(
        step[1], op0, step[2], op1, step[3], step.out(), reverse0=reverse0, reverse1=reverse1
    )


_SCALAR_TENSOR_TENSOR = Instruction(
    "scalar_tensor_tensor",
    (dst(), Operand("data"), Operand("operand0", number=True, vector=True), Operand("operand1")),
    _scalar_tensor_tensor,
    options=("op0", "op1", "reverse0", "reverse1"),
    engines=("vector",),
    rules=(
        same_elements("dst", "data", "operand1"),
        not_both_psum("data", "operand1"),
        alu_ops("op0", "op1", arithmetic=True),
    ),
)


def scalar_tensor_tensor(
    dst: NkiTensor,
    data: NkiTensor,
    op0: Any,
    operand0: Any,
    op1: Any,
    operand1: NkiTensor,
    reverse0: bool = False,
    reverse1: bool = False,
    name: str | None = None,
) -> NkiInstruction:
    """`dst = (data <op0> operand0) <op1> operand1`: a number or vector first, then a whole tile; all in fp32.

    Raises:
        KernelError: shapes, bitvec operators, `data` and `operand1` both in PSUM.
    """
    options = (op_name(op0, "op0"), op_name(op1, "op1"), bool(reverse0), bool(reverse1))
    return issue(_SCALAR_TENSOR_TENSOR, (dst, data, operand0, operand1), options, name=name)


_RECIPROCAL = Instruction(
    "reciprocal",
    (dst(), Operand("data")),
    lambda step: elementwise.reciprocal(step[1], step.out()),
    engines=("vector",),
    rules=(same_elements("dst", "data"),),
)


def reciprocal(dst: NkiTensor, data: NkiTensor, name: str | None = None) -> NkiInstruction:
    """`dst = 1 / data` on the vector engine, in fp32.

    Raises:
        KernelError: partitions or elements per partition differ.
    """
    return issue(_RECIPROCAL, (dst, data), name=name)


def _one_in_psum(check: Check) -> None:
    if isinstance(check["src"], NkiTensor) and check["src"].layout.space == check["predicate"].layout.space == PSUM:
        check.fail("buffer", "src and predicate are both in PSUM", rule="at most one of them is")


def _copy_predicated(step: Step) -> Any:
    reverse = step.options[0]
    result = select.tensor_copy_predicated(step[0], step[1], step[2], step.out(), reverse_pred=reverse)
    if step.operands[0].indirection is not None:
        return result
    return Partial(result, select.holds(step[2], result.shape, reverse=reverse))


_TENSOR_COPY_PREDICATED = Instruction(
    "tensor_copy_predicated",
    (
        dst(columns=True),
        Operand("src", number=True),
        Operand("predicate", dtypes=("uint8", "uint16", "uint32", "bool"), columns=True),
    ),
    _copy_predicated,
    options=("reverse_pred",),
    engines=("vector",),
    rules=(same_elements("dst", "src", "predicate"), same_dtype("dst", "src"), _one_in_psum),
)


def tensor_copy_predicated(
    dst: NkiTensor, src: Any, predicate: NkiTensor, reverse_pred: bool = False, name: str | None = None
) -> NkiInstruction:
    """Copy elements of `src` (a tile or a number) to `dst` where `predicate` is not 0; the others stay.

    Raises:
        KernelError: sizes or dtypes differ, `src` and `predicate` both in PSUM.
    """
    return issue(_TENSOR_COPY_PREDICATED, (dst, src, predicate), (bool(reverse_pred),), name=name)
