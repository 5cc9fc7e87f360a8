"""The accumulator registers of the vector and scalar engines: one fp32 value per lane, kept between instructions."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from ..check import Check
from ..constants import reduce_cmd
from ..context import Context
from ..instruction import Step
from ..tensor import NkiTensor
from ..values.cast import from_float32
from ..values.reduce import Accumulation, Command

_LANES = 128


def registers(context: Context, engine: str) -> np.ndarray:
    """The registers of an engine, fp32, one for each of 128 lanes."""
    found = context.accumulators.get(engine)
    if found is None:
        found = context.accumulators[engine] = np.zeros(_LANES, np.float32)
    return found


def accumulation(step: Step, engine: str, op: str, command: reduce_cmd, data: int, init: Any = None) -> Accumulation:
    """What an instruction does with the registers of the lanes of its operand `data`."""
    name = cast(Command, command.name)
    return Accumulation(op, name, registers(step.context, engine)[lanes(step.operands[data])], init)


def lanes(tile: NkiTensor) -> slice:
    """Lanes of a tile: its partitions."""
    first = tile.layout.first_partition
    return slice(first, first + tile.layout.partitions)


def finished(
    step: Step, engine: str, data: int, position: int, results: tuple[Any, Any], *, negate: bool = False
) -> Any:
    """What an instruction writes: its result, and the registers where `reduce_res` (operand `position`) is given.

    Args:
        step: the execution.
        engine: whose registers they are; they keep their new values.
        data: operand whose partitions are the lanes.
        position: of `reduce_res`.
        results: the result, and the registers afterwards, (P,) float32.
        negate: write the negated registers; they keep their sign.
    """
    result, after = results
    registers(step.context, engine)[lanes(step.operands[data])] = after
    if step.operands[position] is None:
        return result
    return result, from_float32(-after if negate else after, step.out(position))


def command_rule(*allowed: reduce_cmd) -> Any:
    """The `reduce_cmd` option is one of these."""

    def rule(check: Check) -> None:
        command = check.option("reduce_cmd")
        if command not in allowed:
            names = ", ".join(c.name for c in allowed)
            check.fail("argument", f"reduce_cmd={command!r}", rule=f"one of {names}")

    return rule
