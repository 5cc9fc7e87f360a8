"""Loads that the vendor's compiler may not do again, because the same data is still in SBUF: a policy.

Evidence: of the four measured matmuls of 2048 x 2048 x 2048 on trn2 the tiled one asks for each tile of lhsT four times,
16 rows of tiles apart, and the device loads it twice; at 4096 x 8192 x 8192, where four times as much is loaded in between,
it loads what is asked for. The profile of the first version in the vendor's Mamba tutorial (NKI guides, "Fused Mamba", 4K
channels) has two inputs, asked for 16 times, loaded 7.1 and 7.6 times. How the compiler decides is not public.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .order import movable
from .placement import alive
from .program import DMA_APIS, SBUF, Bools, Floats, Ints, Program

if TYPE_CHECKING:
    from nkilab.hardware import Hardware, Policy

_SAME_PLACE = ("p0", "p1", "b0", "b1", "elements", "run", "stride", "strided", "view", "dtype")
_SAME_WORK = ("api", "engine", "engines", "flags", "elements", "partitions")


def without_repeats(program: Program, hw: Hardware, policy: Policy) -> tuple[Program, Ints]:
    """The program without loads of what the load of the same data before them has left in SBUF, and each tensor's owner.

    Both loads fill a fresh tensor that nothing else writes, from an argument that no core ever writes, and between them
    no more is loaded than a share of SBUF. Each tile is used again once: its space is then free. Nothing is shared where
    the tiles that live longer leave no room.

    The owner of a tensor whose load is left out is the one that is used instead; others are their own.
    """
    own = np.arange(len(program.tensors["bytes"]))
    if policy.repeats <= 0.0:
        return program, own
    loads, tensor = _alone(program)
    again, before = _pairs(_what(program, loads, tensor), _loaded(program)[loads], hw, policy)
    if not len(again):
        return program, own
    owner = own.copy()
    owner[tensor[again]] = tensor[before]
    dropped = np.zeros(len(program), np.bool_)
    dropped[loads[again]] = True
    shared = _dropped(program, dropped, owner)
    room = hw.sbuf.partition_bytes - policy.reserved
    fits = alive(shared).max(initial=0.0) <= max(room, alive(program).max(initial=0.0))
    return (shared, owner) if fits else (program, own)


def _alone(program: Program) -> tuple[Ints, Ints]:
    """Movable loads of one place in an argument to one place, in program order, and the tensors that they fill."""
    loads, tensor = movable(program)
    access = program.accesses
    fixed = np.array([name in {"input", "constant"} for name in program.names["kind"]] or [False])
    from_argument = program.any(~access["write"] & fixed[program.tensors["kind"][access["tensor"]]])
    operands = np.bincount(access["instruction"], minlength=len(program))
    moving = program.flag("dynamic_address") | program.flag("indirect")
    plain = np.flatnonzero((from_argument & (operands == 2) & ~moving)[loads])
    plain = plain[np.argsort(loads[plain])]
    return loads[plain], tensor[plain]


def _loaded(program: Program) -> Floats:
    """Bytes of a partition that DMAs have written up to and with each instruction."""
    access = program.accesses
    size = np.where(access["write"] & (access["space"] == SBUF), access["b1"] - access["b0"], 0)
    each = np.bincount(access["instruction"], weights=size, minlength=len(program))
    return np.cumsum(np.where(program.api(*DMA_APIS), each, 0.0))


def _what(program: Program, loads: Ints, tensor: Ints) -> Ints:
    """A number for each load, the same for loads of the same data to a tensor of the same form."""
    access = program.accesses
    columns = [program.instructions[name][loads] for name in _SAME_WORK]
    columns += [program.tensors[name][tensor] for name in ("bytes", "partitions")]
    for write in (False, True):
        mine = np.flatnonzero(access["write"] == write)
        rows = mine[np.searchsorted(access["instruction"][mine], loads)]
        columns += [access[name][rows] for name in _SAME_PLACE]
        columns += [] if write else [access["tensor"][rows]]
    varying = [column for column in columns if column.min() != column.max()] if len(loads) else []
    if not varying:
        return np.zeros(len(loads), np.int64)
    order = np.lexsort(varying)
    other = np.any([np.diff(column[order]) != 0 for column in varying], axis=0)
    number = np.empty(len(loads), np.int64)
    number[order] = np.cumsum(np.r_[0, other])
    return number


def _pairs(what: Ints, loaded: Floats, hw: Hardware, policy: Policy) -> tuple[Ints, Ints]:
    """Loads that are not done, and for each the one before it of the same data. `loaded`: bytes up to and with a load."""
    order = np.argsort(what, kind="stable")
    near = np.r_[False, np.diff(what[order]) == 0] & (
        np.r_[0, np.diff(loaded[order])] <= policy.repeats * hw.sbuf.partition_bytes
    )
    index = np.arange(len(order))
    place = index - np.maximum.accumulate(np.where(near, 0, index))
    second = np.flatnonzero(place % 2 == 1)
    return order[second], order[second - 1]


def _dropped(program: Program, dropped: Bools, owner: Ints) -> Program:
    """The program without some instructions; accesses to a tensor go to its owner."""
    access, place = program.accesses, np.cumsum(~dropped) - 1
    kept = ~dropped[access["instruction"]]
    accesses = {name: column[kept] for name, column in access.items()}
    accesses["instruction"] = place[accesses["instruction"]]
    accesses["tensor"] = owner[accesses["tensor"]]
    instructions = {name: column[~dropped] for name, column in program.instructions.items()}
    return Program(program.rows[~dropped], instructions, accesses, program.tensors, program.names)
