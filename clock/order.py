"""The order in which a core's instructions are issued: program order, with loads moved ahead as a policy says.

Evidence for moving loads that are used more often: in the four measured matmuls of 2048 x 2048 x 2048 on trn2, the time
beyond the multiplies is 0.6 us for each load of lhsT, the operand whose tiles are used again (362, 196, 123 and 9 us for
512, 256, 128 and 32 of them): these loads stand before the rest. At 4096 x 8192 x 8192, where SBUF has no room to load
them ahead, nothing is left of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .placement import alive
from .program import DMA_APIS, HBM, SBUF, Floats, Ints, Program

if TYPE_CHECKING:
    from nkilab.hardware import Hardware, Policy

_CHUNK = 512


def issue_order(program: Program, hw: Hardware, policy: Policy, share: float = 1.0) -> Program:
    """The program in the order in which its instructions are issued.

    Of loads that follow each other, the one that is needed first goes first. A load moves ahead of loads whose tile is
    read by fewer instructions and no smaller, as long as a share of SBUF has room for it beside twice what is alive in
    between: the rest of the program needs its tiles double-buffered. It must fill a fresh tensor from HBM that the
    program never writes. A small load keeps its place: ahead of it nothing is gained, behind large ones much is lost.
    """
    if policy.loads != "hoist":
        return program
    loads, tensor = movable(program)
    program, tensor = _by_first_use(program, loads, tensor)
    uses = _readers(program)[tensor]
    if len(np.unique(uses)) < 2:
        return program
    room = int(hw.sbuf.partition_bytes * share)
    place = _places(program, loads, tensor, uses, room, policy.window)
    key = np.arange(len(program), dtype=np.float64)
    key[loads] = np.where(place < np.arange(len(loads)), loads[place] - 0.5, loads)
    return program.permuted(np.argsort(key, kind="stable"))


def _by_first_use(program: Program, loads: Ints, tensor: Ints) -> tuple[Program, Ints]:
    """Loads that follow each other without another instruction between, in the order in which they are needed."""
    access = program.accesses
    reads = np.flatnonzero(~access["write"])[::-1]
    first = np.full(len(program.tensors["bytes"]), len(program))
    first[access["tensor"][reads]] = access["instruction"][reads]
    group = np.cumsum(np.r_[0, np.diff(loads) > 1])[: len(loads)]
    order = np.lexsort((loads, first[tensor], group))
    rows = np.arange(len(program))
    rows[loads] = loads[order]
    return program.permuted(rows), tensor[order]


def movable(program: Program) -> tuple[Ints, Ints]:
    """Loads that may move, in program order, and the tensors that they fill."""
    access = program.accesses
    dma = program.api(*DMA_APIS)[access["instruction"]]
    tensors = len(program.tensors["bytes"])
    writes = np.bincount(access["tensor"][access["write"]], minlength=tensors)
    first = np.zeros(tensors, np.int64)
    first[access["tensor"][::-1]] = access["instruction"][::-1]
    fills = dma & access["write"] & (access["space"] == SBUF) & (writes[access["tensor"]] == 1)
    fills &= first[access["tensor"]] == access["instruction"]
    tainted = program.any(
        dma & ~access["write"] & ((access["space"] != HBM) | program.tensors["written"][access["tensor"]])
    )
    rows = np.flatnonzero(fills & ~tainted[access["instruction"]])
    placed = program.tensors["address"][access["tensor"][rows]] >= 0
    rows = rows[~placed]
    return access["instruction"][rows].astype(np.int64), access["tensor"][rows].astype(np.int64)


def _readers(program: Program) -> Ints:
    """How many times each tensor is read; for a piece of a tensor, all of it."""
    access = program.accesses
    tensors = len(program.tensors["bytes"])
    origin = program.tensors.get("origin", np.arange(tensors))
    return np.bincount(origin[access["tensor"][~access["write"]]], minlength=tensors)[origin]


def _places(program: Program, loads: Ints, tensor: Ints, uses: Ints, room: int, window: int) -> Ints:
    """For each load the load that it is issued before: itself, or an earlier one."""
    live = 2.0 * alive(program)[loads]
    sizes = program.tensors["bytes"][tensor].tolist()
    place = np.arange(len(loads))
    latest: dict[tuple[int, int], int] = {}
    for index, kind in enumerate(zip(uses.tolist(), sizes, strict=True)):
        count, size = kind
        ahead = max([at for (level, other), at in latest.items() if level >= count or other < size], default=0)
        spot = _earliest(live, max(ahead, index - window), index, room - size) if ahead < index else index
        live[spot:index] += size
        place[index] = spot
        if spot < index:
            latest = {level: at + (at == index) for level, at in latest.items()}
        latest[kind] = max(latest.get(kind, 0), spot + (spot == index))
    return place


def _earliest(live: Floats, low: int, high: int, room: float) -> int:
    """First index from which on, up to `high`, no more than `room` bytes are alive."""
    while high > low:
        start = max(low, high - _CHUNK)
        full = np.flatnonzero(live[start:high] > room)
        if len(full):
            return start + int(full[-1]) + 1
        high = start
    return low
