"""Rules that several instructions share. Each returns a rule for `Instruction.rules`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .check import GENERATIONS, Check
from .layout import PSUM
from .tensor import NkiTensor
from .values import activation, alu

Rule = Callable[[Check], None]
_ALU = "nki.api.shared, Supported Math Operators for NKI ISA"


def same_elements(*names: str) -> Rule:
    """All named tiles have as many elements per partition as the first."""

    def rule(check: Check) -> None:
        tiles = [(name, check[name]) for name in names if isinstance(check[name], NkiTensor)]
        for name, tile in tiles[1:]:
            first, expected = tiles[0][0], tiles[0][1].layout.per_partition
            if tile.layout.per_partition != expected:
                check.fail(
                    "shape",
                    f"{name} has {tile.layout.per_partition} elements per partition, {first} has {expected}",
                    rule=f"{', '.join(names)} have the same number of elements per partition",
                    fix="slice or broadcast the tiles to one size",
                )

    return rule


def same_dtype(*names: str) -> Rule:
    """All named tiles have the dtype of the first."""

    def rule(check: Check) -> None:
        tiles = [(name, check[name]) for name in names if isinstance(check[name], NkiTensor)]
        for name, tile in tiles[1:]:
            if tile.dtype != tiles[0][1].dtype:
                check.fail(
                    "dtype",
                    f"{name} has dtype {tile.dtype}, {tiles[0][0]} has {tiles[0][1].dtype}",
                    rule=f"{', '.join(names)} have the same dtype",
                    fix="allocate both in one dtype, or cast with nisa.tensor_copy",
                )

    return rule


def not_both_psum(first: str, second: str) -> Rule:
    """At most one of two inputs lies in PSUM."""

    def rule(check: Check) -> None:
        pair = [check[name] for name in (first, second)]
        if all(isinstance(tile, NkiTensor) and tile.layout.space == PSUM for tile in pair):
            check.fail(
                "buffer",
                f"{first} and {second} are both in PSUM",
                rule="one of the two inputs must be in SBUF",
                fix=f"copy {second} to SBUF with nisa.tensor_copy first",
            )

    return rule


def engine_choice(*, gpsimd_in_psum: bool = False) -> Rule:
    """The `engine` option picks one of the instruction's engines; GpSimd does not reach PSUM."""

    def rule(check: Check) -> None:
        if not gpsimd_in_psum:
            check.without_gpsimd_in_psum()
        check.choose(check.option("engine"))

    return rule


def alu_ops(*options: str, arithmetic: bool = False, binary: bool = False, reducing: bool = False) -> Rule:
    """The named options are ALU operators of one kind; they become the function that the trace shows."""

    def rule(check: Check) -> None:
        kinds = []
        for option in options:
            name = check.option(option)
            if name is None or name == "bypass":
                continue
            op = alu.OPS.get(name)
            if op is None:
                check.fail("argument", f"{option}=nl.{name} is not an ALU operator", rule="see the table", source=_ALU)
            if check.generation not in op.generations:
                have = ", ".join(GENERATIONS[number] for number in op.generations)
                check.fail("target", f"{option}=nl.{name} is not on this generation", rule=f"on {have}", source=_ALU)
            if arithmetic and op.kind != "arithmetic":
                check.fail(
                    "argument",
                    f"{option}=nl.{name} is a bitvec operator",
                    rule="arithmetic operators only",
                    source=_ALU,
                )
            if binary and op.arity != 2:
                check.fail("argument", f"{option}=nl.{name} is unary", rule="binary operators only", source=_ALU)
            if reducing and not op.documented_reduction:
                check.fail(
                    "argument", f"{option}=nl.{name} cannot reduce", rule="a legal reduction operator", source=_ALU
                )
            kinds.append(op.kind)
            check.functions.append(name)
        if len(set(kinds)) > 1:
            check.fail(
                "argument",
                f"{' and '.join(options)} mix bitvec and arithmetic operators",
                rule="both of one kind",
                source=_ALU,
            )
        if "bitvec" in kinds:
            integers_only(check)

    return rule


def unary_operand(option: str, operand: str) -> Rule:
    """A binary operator has its operand; a unary one has None or 0."""

    def rule(check: Check) -> None:
        name, given = check.option(option), check[operand]
        op = alu.OPS.get(name)
        if op is None or op.kind == "bypass":
            return
        if op.arity == 2 and given is None:
            check.fail("argument", f"{option}=nl.{name} without {operand}", rule="a binary operator needs its operand")
        if op.arity == 1 and given is not None and not (isinstance(given, int | float | np.generic) and given == 0):
            check.fail(
                "argument",
                f"{option}=nl.{name} with {operand}={given!r}",
                rule=f"{operand} is None or 0 with a unary operator",
            )

    return rule


def integers_only(check: Check) -> None:
    """Bitvec operators take integer tiles."""
    for operand, tile in check.tensors():
        if not (tile.dtype.is_integer or tile.dtype.kind == "bool"):
            check.fail(
                "dtype",
                f"{operand.name} has dtype {tile.dtype}",
                rule="bitvec operators need integer inputs and outputs",
                source=_ALU,
                fix="see the bits as integers with tensor.view(nl.int32)",
            )


def activation_function(check: Check) -> None:
    """The `op` option is an activation function."""
    name = check.option("op")
    if name not in activation.FUNCTIONS:
        check.fail(
            "argument",
            f"op=nl.{name} is not an activation function",
            rule=f"activation functions: {', '.join(activation.FUNCTIONS)}",
            source="nki.api.shared, Supported Activation Functions for NKI ISA",
        )
    check.functions.append(name)


def float32_vectors(*names: str) -> Rule:
    """Named operands, where they are tiles, are float32."""

    def rule(check: Check) -> None:
        for name in names:
            tile = check[name]
            if isinstance(tile, NkiTensor) and tile.dtype != "float32":
                check.fail("dtype", f"{name} has dtype {tile.dtype}", rule=f"{name} must be float32")

    return rule


def limit(name: str, *, most: int, least: int = 1) -> Rule:
    """Elements per partition of a tile lie within bounds."""

    def rule(check: Check) -> None:
        count = check[name].layout.per_partition
        if not least <= count <= most:
            check.fail("limit", f"{name} has {count} elements per partition", rule=f"from {least} to {most:,} elements")

    return rule


def exactly(name: str, count: int) -> Rule:
    """A tile has this many elements per partition."""

    def rule(check: Check) -> None:
        tile = check[name]
        if isinstance(tile, NkiTensor) and tile.layout.per_partition != count:
            check.fail(
                "shape",
                f"{name} has {tile.layout.per_partition} elements per partition",
                rule=f"exactly {count} elements",
            )

    return rule


def free_dims(most: int, *names: str) -> Rule:
    """Tiles have at most this many free dimensions of more than one element."""

    def rule(check: Check) -> None:
        for name in names:
            tile = check[name]
            if isinstance(tile, NkiTensor) and sum(n > 1 for n in tile.shape[1:]) > most:
                check.fail(
                    "limit",
                    f"{name} has {tile.ndim - 1} free dimensions",
                    rule=f"{name} has at most {most}: a tile of up to {most + 1} dimensions",
                    fix="reshape it, or call the instruction for each slice",
                )

    return rule


def reduce_result(check: Check) -> None:
    """`reduce_res`, where it is given, is read out of the registers: the trace says so."""
    if check["reduce_res"] is not None:
        check.flags.add("reduce_result")
