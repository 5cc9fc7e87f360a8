"""Independent instructions in the order in which their operands are there: a choice of the compiler, as a policy.

The vendor's documentation lets the compiler re-order what does not depend on each other (`nl.no_reorder` forbids it). How it
does is not public. Here each engine takes, of the next instructions of the program, the one that can start first.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from .costs import compute_cost, operands
from .dependences import dependences
from .engines import engine_of
from .expand import multiply_ns
from .placement import alive, place
from .program import TENSOR, Bools, Floats, Ints, Program

if TYPE_CHECKING:
    from nkilab.hardware import Hardware, Policy

_WINDOWS = 60, 30, 15
"""How many instructions one may pass, tried in turn where more makes tensors live so long that memory is full."""
_MEETINGS = ("core_barrier", "sendrecv", "all_", "reduce_scatter", "collective_permute", "rank_id")


def ready_order(program: Program, hw: Hardware, policy: Policy) -> Program:
    """The program with independent instructions re-ordered, where the policy says so and memory has room for it.

    What depends on each other keeps its order, and so do barriers and collectives among themselves, and what stands in a
    block of `nl.no_reorder`. A program that does not fit stays as it is.
    """
    if policy.order != "ready" or len(program) < 2:
        return program
    for window in _WINDOWS if _fits(program, hw, policy) else ():
        found = program.permuted(_greedy(program, window, hw, policy))
        if _fits(found, hw, policy):
            return found
    return program


def _fits(program: Program, hw: Hardware, policy: Policy) -> bool:
    """Whether every tensor finds a place, and what is alive at once leaves the compiler its part of SBUF."""
    room = hw.sbuf.partition_bytes - policy.reserved
    return not place(program, hw).overflow.any() and alive(program).max(initial=0.0) <= room


def _greedy(program: Program, window: int, hw: Hardware, policy: Policy) -> Ints:
    """The instructions in the order of a coarse schedule: of those in the window the earliest start first."""
    engine, busy, late = _costs(program, hw, policy)
    after, missing = _graph(program)
    count, free, ready = len(program), [0.0] * 6, [0.0] * len(program)
    order = []
    coming = min(window, count)
    waiting = list(range(coming))
    while waiting:
        best, when = -1, float("inf")
        for row in waiting:
            if not missing[row]:
                begin = max(ready[row], free[engine[row]])
                if begin < when:
                    best, when = row, begin
        waiting.remove(best)
        order.append(best)
        free[engine[best]] = when + busy[best]
        for other in after[best]:
            missing[other] -= 1
            ready[other] = max(ready[other], when + late[best])
        last = (waiting[0] if waiting else coming) + window
        while coming < min(last, count):
            waiting.append(coming)
            coming += 1
    return np.array(order)


def _costs(program: Program, hw: Hardware, policy: Policy) -> tuple[list[int], list[float], list[float]]:
    """Of each instruction: its engine (5 for a DMA), how long it keeps that busy, and when its result is there."""
    seen = operands(program, hw)
    engine = engine_of(program, seen, hw, policy)
    cost, dma = compute_cost(program, engine, seen, hw), hw.dma
    multiplies = multiply_ns(program, hw)
    arrives = dma.software_start_ns + dma.software_latency_ns + dma.load_start_ns + dma.completion_ns
    busy: Floats = np.select([engine == TENSOR, engine < 0], [multiplies, dma.software_issue_ns], cost.interval)
    late: Floats = np.select(
        [engine == TENSOR, engine < 0], [multiplies + hw.tensor.pipeline_ns, arrives], cost.duration
    )
    late = late + hw.handover.signal_ns + hw.handover.wait_ns
    return np.where(engine < 0, 5, engine).tolist(), busy.tolist(), late.tolist()


def _graph(program: Program) -> tuple[list[list[int]], list[int]]:
    """Who waits for each instruction, and for how many each one waits.

    Every instruction of a window is on a stream of its own, so that none of its dependences is left to the stream's order.
    """
    count = len(program)
    edges = dependences(program, np.arange(count) % (_WINDOWS[0] + 1))
    row = program.accesses["instruction"].astype(np.int64)
    chains = [np.flatnonzero(mine) for mine in (_meets(program), program.flag("no_reorder"))]
    before = np.concatenate([row[edges.producer], *(chain[:-1] for chain in chains)])
    after = np.concatenate([row[edges.consumer], *(chain[1:] for chain in chains)])
    pairs = np.stack([before, after], axis=1)
    pairs = np.unique(pairs, axis=0)
    bounds = np.searchsorted(pairs[:, 0], np.arange(count + 1)).tolist()
    others = pairs[:, 1].tolist()
    return [others[low:high] for low, high in pairwise(bounds)], np.bincount(pairs[:, 1], minlength=count).tolist()


def _meets(program: Program) -> Bools:
    """Barriers and collectives."""
    return program.api(*(name for name in program.names["api"] if name.startswith(_MEETINGS)))
