"""Spills: what the vendor's compiler does when live tensors do not fit in SBUF, as far as its bytes and order go.

A tensor for which there is no space keeps a copy in HBM. Each visit to it (accesses close to each other) works on a copy
of its own in SBUF: loaded before the visit, except the first, and saved after a visit that wrote it. Which tensors the
compiler picks, and how it shares copies, is not public: the bytes are an estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import numpy as np

from .order import issue_order
from .placement import Placement, alive, lives, place
from .program import DMA_APIS, HBM, SBUF, Bools, Ints, Program, Table

if TYPE_CHECKING:
    from nkilab.hardware import Hardware, Policy

_SHARES = 0.75, 0.5, 0.25, 0.0
"""Shares of SBUF for loads moved ahead, tried in turn where all of it leaves no room for the rest."""


@dataclass(frozen=True, slots=True)
class _Visits:
    """Columns over visits: tensor, first and last instruction, bytes [b0, b1), and whether it loads and saves.

    `access`: rows of the accesses that make them up; `of`: the visit of each. `late`: loads long before the first use of
    what they fill, which go right before it, the instruction in `until`.
    """

    access: Ints
    of: Ints
    tensor: Ints
    first: Ints
    last: Ints
    b0: Ints
    b1: Ints
    loads: Bools
    saves: Bools
    dtype: Ints
    partitions: Ints
    late: Ints
    until: Ints


def laid_out(given: Program, hw: Hardware, policy: Policy) -> tuple[Program, Placement]:
    """A program in issue order with every tensor placed, and reloads and saves of those that do not fit in SBUF.

    Loads move ahead only so far that what fits in program order still fits: moving them must not make spills. Tensors
    that fit, but in no free piece of SBUF, wait for one instead.
    """
    program = issue_order(given, hw, policy)
    placement = place(program, hw)
    if alive(given).max(initial=0.0) > _room(hw, policy):
        return _spilled_until_it_fits(program, placement, hw, policy)
    if not _overflows(program, placement):
        return program, placement
    for share in _SHARES if program is not given else ():
        program = issue_order(given, hw, policy, share)
        placement = place(program, hw)
        if not _overflows(program, placement):
            break
    return program, placement


def spill_kind(program: Program) -> Ints:
    """Of each instruction: 1 where it saves a spilled tensor, 2 where it loads one again, 0 elsewhere."""
    tensors, access = program.tensors, program.accesses
    own = np.arange(len(tensors["bytes"]))
    copies = (tensors["space"] == HBM) & (tensors.get("origin", own) != own)
    mine = copies[access["tensor"]]
    kind = np.zeros(len(program), np.int64)
    kind[access["instruction"][mine]] = np.where(access["write"][mine], 1, 2)
    return kind


def _room(hw: Hardware, policy: Policy) -> int:
    return hw.sbuf.partition_bytes - policy.reserved


def _together(program: Program, visits: _Visits, lead: int) -> int:
    """Most bytes of a partition that copies take at once, each loaded some instructions before engines visit it."""
    count, size = len(program), visits.b1 - visits.b0
    moved = np.arange(count)
    moved[visits.late] = visits.until
    first = moved[visits.first]
    first = np.where(program.api(*DMA_APIS)[first], first, np.maximum(first - lead, 0))
    change = np.bincount(first, weights=size, minlength=count + 1)
    change -= np.bincount(visits.last + 1, weights=size, minlength=count + 1)[: count + 1]
    return int(np.cumsum(change).max(initial=0))


def _overflows(program: Program, placement: Placement) -> bool:
    return bool((placement.overflow & (program.tensors["space"] == SBUF)).any())


def _spilled_until_it_fits(
    program: Program, placement: Placement, hw: Hardware, policy: Policy
) -> tuple[Program, Placement]:
    """With visits told apart as the policy says; where tensors stay without a place, by fewer instructions."""
    apart = policy.apart
    found = _spilled(program, placement, hw, policy)
    while apart > 1 and _overflows(*found):
        apart //= 2
        found = _spilled(program, placement, hw, policy.replace(apart=apart))
    return found


def _spilled(program: Program, placement: Placement, hw: Hardware, policy: Policy) -> tuple[Program, Placement]:
    room, copies = _room(hw, policy), 0
    while True:
        victims = _victims(program, room - copies, policy.apart)
        if not victims.any():
            return program, placement
        visits = _visits(program, victims, policy.apart)
        needed = min(_together(program, visits, policy.lead), room // 2)
        if needed <= copies:
            break
        copies = needed
    if not visits.loads.any():
        return program, placement
    changed = _insert(program, visits)
    return changed, place(changed, hw)


def _victims(program: Program, limit: float, apart: int) -> Bools:
    """Tensors that must go so that no more than `limit` bytes stay alive: first those with most bytes for each visit."""
    every = np.zeros(len(program.tensors["bytes"]), np.bool_)
    living = lives(program, SBUF)
    every[living.tensor] = program.tensors["address"][living.tensor] < 0
    if not every.any():
        return every
    visits = np.bincount(_visits(program, every, apart).tensor, minlength=len(every))
    size = program.tensors["bytes"][living.tensor].tolist()
    value = (program.tensors["bytes"] / np.maximum(visits, 1))[living.tensor].tolist()
    may = (visits > 1)[living.tensor].tolist()
    victims = np.zeros(len(every), np.bool_)
    alive, dying, choice = 0, list[tuple[int, int]](), list[tuple[float, int, int]]()
    rows = zip(living.tensor.tolist(), living.first.tolist(), living.last.tolist(), strict=True)
    for index, (tensor, first, last) in enumerate(rows):
        while dying and dying[0][0] < first:
            gone = heappop(dying)[1]
            alive -= 0 if victims[living.tensor[gone]] else size[gone]
        alive += size[index]
        heappush(dying, (last, index))
        if may[index]:
            heappush(choice, (-value[index], -tensor, index))
        while alive > limit and choice:
            worst = heappop(choice)[2]
            if living.last[worst] >= first:
                victims[living.tensor[worst]] = True
                alive -= size[worst]
    return victims


def _visits(program: Program, over: Bools, apart: int) -> _Visits:
    access = program.accesses
    rows = np.flatnonzero(over[access["tensor"]])
    rows = rows[np.lexsort((access["instruction"][rows], access["tensor"][rows]))]
    tensor, instruction = access["tensor"][rows].astype(np.int64), access["instruction"][rows].astype(np.int64)
    other = np.r_[True, np.diff(tensor) != 0]
    far = np.r_[False, np.diff(instruction) > apart] & ~other
    filled = np.r_[False, (access["write"] & _loading(program)[access["instruction"]])[rows][:-1]]
    late = np.flatnonzero(far & filled)
    begins = np.flatnonzero(other | (far & ~filled))
    of = np.cumsum(np.isin(np.arange(len(rows)), begins)) - 1
    ends = np.r_[begins[1:], len(rows)] - 1
    wrote = np.logical_or.reduceat(access["write"][rows], begins)
    more = np.r_[tensor[begins][1:] == tensor[begins][:-1], False]
    dirty = _written_again(program)[tensor[begins]]
    return _Visits(
        access=rows,
        of=of,
        tensor=tensor[begins],
        first=instruction[begins],
        last=instruction[ends],
        b0=np.minimum.reduceat(access["b0"][rows], begins).astype(np.int64),
        b1=np.maximum.reduceat(access["b1"][rows], begins).astype(np.int64),
        loads=~other[begins],
        saves=wrote & more & dirty,
        dtype=access["dtype"][rows][begins].astype(np.int64),
        partitions=np.maximum(program.tensors["partitions"][tensor[begins]], 1).astype(np.int64),
        late=instruction[late - 1],
        until=instruction[late],
    )


def _loading(program: Program) -> Bools:
    """Instructions that read HBM."""
    access = program.accesses
    return program.any(~access["write"] & (access["space"] == HBM))


def _written_again(program: Program) -> Bools:
    """Tensors that hold something else than what one load from HBM put there."""
    access = program.accesses
    count = len(program.tensors["bytes"])
    computed = access["write"] & ~_loading(program)[access["instruction"]]
    again: Bools = np.bincount(access["tensor"][computed], minlength=count) > 0
    return again


def _insert(program: Program, visits: _Visits) -> Program:
    """The program with a tensor for each visit, and the DMAs between them and the copies in HBM."""
    count = len(program.tensors["bytes"])
    loads, saves = np.flatnonzero(visits.loads), np.flatnonzero(visits.saves)
    moved = np.concatenate([loads, saves])
    is_load = np.arange(len(moved)) < len(loads)
    beside = np.where(is_load, visits.first[moved], visits.last[moved])
    own = np.arange(len(program), dtype=np.float64)
    own[visits.late] = visits.until - 0.25
    key = np.concatenate([own, beside + np.where(is_load, -0.25, 0.25)])
    order = np.argsort(key, kind="stable")
    source = np.concatenate([np.arange(len(program)), beside])
    instructions = {name: column[source] for name, column in program.instructions.items()}
    apis = program.names["api"] if "dma_copy" in program.names["api"] else (*program.names["api"], "dma_copy")
    for name, value in (("api", apis.index("dma_copy")), ("engine", -1), ("flags", 0), ("function", -1)):
        instructions[name][len(program) :] = value
    both = Program(
        program.rows[source],
        instructions,
        _with_copies(program, visits, moved, is_load, count),
        _with_tensors(program, visits, count),
        {**program.names, "api": apis},
    )
    return both.permuted(order)


def _with_tensors(program: Program, visits: _Visits, count: int) -> Table:
    """The tensors, then one in SBUF for each visit, then its copy in HBM, one for each spilled tensor."""
    tensors = program.tensors
    owner = np.concatenate([visits.tensor, np.unique(visits.tensor)])
    table = {name: np.concatenate([column, column[owner]]) for name, column in tensors.items()}
    copies = count + len(visits.tensor)
    table["bytes"][count:copies] = visits.b1 - visits.b0
    table["bytes"][copies:] *= np.maximum(table["partitions"][copies:], 1)
    table["space"][copies:] = HBM
    table["kind"][count:] = program.names["kind"].index("internal")
    table["written"][copies:] = np.isin(np.unique(visits.tensor), visits.tensor[visits.saves])
    table["origin"] = np.concatenate([tensors.get("origin", np.arange(count)), owner])
    return table


def _with_copies(program: Program, visits: _Visits, moved: Ints, is_load: Bools, count: int) -> Table:
    """The accesses on the visits' tensors, then two for each DMA: its place in SBUF, and its copy in HBM."""
    access = {name: column.copy() for name, column in program.accesses.items()}
    access["tensor"] = access["tensor"].astype(np.int64)
    access["tensor"][visits.access] = count + visits.of
    for name in ("b0", "b1"):
        access[name][visits.access] -= visits.b0[visits.of]
    size = (visits.b1 - visits.b0)[moved]
    rows = visits.partitions[moved]
    item = np.maximum(_itemsize(program, visits)[moved], 1)
    copy = count + len(visits.tensor) + np.searchsorted(np.unique(visits.tensor), visits.tensor[moved])
    common = {
        "instruction": len(program) + np.arange(len(moved)),
        "dtype": visits.dtype[moved],
        "run": size,
        "stride": item,
        "strided": np.zeros(len(moved), np.bool_),
        "view": np.zeros(len(moved), np.int32),
        "role": np.zeros(len(moved), np.int64),
    }
    zero = np.zeros(len(moved), np.int64)
    near = {
        "write": is_load,
        "tensor": count + moved,
        "space": zero + SBUF,
        "p0": zero,
        "p1": rows,
        "b0": zero,
        "b1": size,
    }
    far = {"write": ~is_load, "tensor": copy, "space": zero + HBM, "p0": zero, "p1": zero + 1}
    far |= {"b0": visits.b0[moved] * rows, "b1": visits.b1[moved] * rows}
    near["elements"], far["elements"] = size // item, size // item * rows
    parts = ({**common, **near}, {**common, **far})
    table = {name: np.concatenate([access[name], *(part[name] for part in parts)]) for name in access}
    table["write"] = table["write"].astype(np.bool_)
    return table


def _itemsize(program: Program, visits: _Visits) -> Ints:
    return program.itemsize()[visits.access[np.searchsorted(visits.of, np.arange(len(visits.tensor)))]]
