"""Which engine runs an instruction that the trace leaves open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .costs import Operands, compute_cost
from .program import DMA_APIS, ENGINES, Ints, Program

if TYPE_CHECKING:
    from nkilab.hardware import Hardware

    from .policy import Policy


def engine_of(program: Program, seen: Operands, hw: Hardware, policy: Policy) -> Ints:
    """Engine of every instruction, -1 for DMAs.

    Where several engines may run it, the policy decides: the one with the least work so far in program order, or the
    first of those allowed.
    """
    engine = program.instructions["engine"].astype(np.int64)
    engine[program.api(*DMA_APIS)] = -1
    open_rows = np.flatnonzero((engine < 0) & ~program.api(*DMA_APIS))
    if not len(open_rows):
        return engine
    allowed = program.instructions["engines"][open_rows].astype(np.int64)
    allowed[allowed == 0] = 2
    if policy.engine == "first":
        engine[open_rows] = np.log2(allowed & -allowed).astype(np.int64)
        return engine
    return _balanced(program, engine, open_rows, allowed, seen, hw)


def _balanced(program: Program, engine: Ints, open_rows: Ints, allowed: Ints, seen: Operands, hw: Hardware) -> Ints:
    count = len(program)
    costs = [compute_cost(program, np.full(count, code), seen, hw).interval for code in range(len(ENGINES))]
    own = np.zeros((len(ENGINES), count))
    for code in range(len(ENGINES)):
        own[code] = np.cumsum(np.where(engine == code, costs[code], 0.0))
    extra = [0.0] * len(ENGINES)
    for row, mask in zip(open_rows.tolist(), allowed.tolist(), strict=True):
        choices = [code for code in range(len(ENGINES)) if mask >> code & 1]
        best = min(choices, key=lambda code: own[code, row] + extra[code] + costs[code][row])
        extra[best] += costs[best][row]
        engine[row] = best
    return engine
