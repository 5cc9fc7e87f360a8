"""Which engine runs an instruction that the trace leaves open.

The ISA reference says of `tensor_copy` that the compiler selects the engine by workload, of the others that it selects
it by the input's shape. Device profiles of trn2 show copies (PSUM to SBUF) on VectorE and ScalarE, never on GpSimdE, in
an order in which each went to the engine that could finish it first; and everything else on VectorE.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from .costs import Operands, compute_cost
from .expand import multiply_ns
from .program import DMA_APIS, GPSIMD, SCALAR, TENSOR, VECTOR, Bools, Ints, Program

if TYPE_CHECKING:
    from nkilab.hardware import Hardware, Policy

_LEAST_FIRST = (VECTOR, SCALAR, GPSIMD, TENSOR)


def engine_of(program: Program, seen: Operands, hw: Hardware, policy: Policy) -> Ints:
    """Engine of every instruction, -1 for DMAs.

    Where several engines may run it, the policy decides: for a copy VectorE or ScalarE, whichever finishes it first, and
    for the rest the first of those allowed; or always the first.
    """
    dma = program.api(*DMA_APIS)
    engine = program.instructions["engine"].astype(np.int64)
    engine[dma] = -1
    unknown = (engine < 0) & ~dma
    if not unknown.any():
        return engine
    mask = program.instructions["engines"].astype(np.int64)
    for code in reversed(_LEAST_FIRST):
        engine[unknown & (mask >> code & 1 == 1)] = code
    engine[unknown & (engine < 0)] = VECTOR
    both = 1 << VECTOR | 1 << SCALAR
    free = unknown & program.api("tensor_copy") & (mask & both == both)
    if policy.engine == "first" or not free.any():
        return engine
    return _earliest(program, engine, free, seen, hw)


def _earliest(program: Program, engine: Ints, free: Bools, seen: Operands, hw: Hardware) -> Ints:
    """Give each free copy to the engine that finishes it first, in a coarse schedule of the rows in program order.

    A tensor is there when the last instruction that wrote it is done; DMAs take their least cost, matmuls load their
    weights and multiply one after the other: with loads hidden, launches show fewer copies on VectorE than the rule.
    """
    vector, scalar = (
        compute_cost(program, np.where(free, code, engine), seen, hw).duration for code in (VECTOR, SCALAR)
    )
    fixed = np.where(engine == TENSOR, multiply_ns(program, hw), np.where(engine < 0, hw.dma.software_issue_ns, vector))
    reads, writes = _tensors(program, write=False), _tensors(program, write=True)
    done = [0.0] * len(program.tensors["bytes"])
    busy = [0.0] * 6
    late = hw.dma.software_start_ns + hw.dma.software_latency_ns + hw.dma.load_start_ns + hw.dma.completion_ns
    rows = zip(engine.tolist(), free.tolist(), fixed.tolist(), vector.tolist(), scalar.tolist(), strict=True)
    for row, (given, either, cost, on_vector, on_scalar) in enumerate(rows):
        ready = max([done[tensor] for tensor in reads[row]], default=0.0)
        code, ends = given, max(ready, busy[given]) + cost
        if either:
            code, ends = VECTOR, max(ready, busy[VECTOR]) + on_vector
            other = max(ready, busy[SCALAR]) + on_scalar
            code, ends = (SCALAR, other) if other <= ends else (code, ends)
            engine[row] = code
        busy[code] = ends
        for tensor in writes[row]:
            done[tensor] = busy[code] + (late if code < 0 else 0.0)
    return engine


def _tensors(program: Program, *, write: bool) -> list[list[int]]:
    """The tensors that each instruction reads, or writes."""
    access = program.accesses
    mine = np.flatnonzero(access["write"] == write)
    tensor = access["tensor"][mine].tolist()
    bounds = np.searchsorted(access["instruction"][mine], np.arange(len(program) + 1)).tolist()
    return [tensor[low:high] for low, high in pairwise(bounds)]
