"""Where tensors lie in SBUF and PSUM, and which tensor had a place before: space limits how far ahead work can run.

A tensor lives from its first access to its last one, in issue order. It is placed at the first free space after the
one placed before it, around and around, so that space is reused as late as possible; in PSUM by whole banks. An
explicit address is respected. What does not fit is said, not refused: the vendor's compiler spills.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import numpy as np

from .dependences import RESOURCE, Edges
from .program import PSUM, SBUF, Bools, Floats, Ints, Program

if TYPE_CHECKING:
    from nkilab.hardware import Hardware


@dataclass(frozen=True, slots=True)
class Lives:
    """Columns over the tensors that a program accesses: first and last instruction, in order of first access."""

    tensor: Ints
    first: Ints
    last: Ints


@dataclass(frozen=True, slots=True)
class Placement:
    """`address` of every tensor (bytes in a partition, -1: not placed) and pairs of (earlier, later) holders of space."""

    address: Ints
    earlier: Ints
    later: Ints
    overflow: Bools


def lives(program: Program, space: int) -> Lives:
    """First and last instruction of every tensor in one memory."""
    access = program.accesses
    rows = np.flatnonzero(access["space"] == space)
    tensor, instruction = access["tensor"][rows], access["instruction"][rows]
    found, at = np.unique(tensor, return_index=True)
    last_at = len(rows) - 1 - np.unique(tensor[::-1], return_index=True)[1]
    order = np.argsort(instruction[at], kind="stable")
    return Lives(
        found[order].astype(np.int64),
        instruction[at][order].astype(np.int64),
        instruction[last_at][order].astype(np.int64),
    )


def alive(program: Program) -> Floats:
    """Bytes of a partition that are alive in SBUF at each instruction."""
    living = lives(program, SBUF)
    size = program.tensors["bytes"][living.tensor]
    change = np.bincount(living.first, weights=size, minlength=len(program) + 1)
    change -= np.bincount(living.last + 1, weights=size, minlength=len(program) + 1)[: len(program) + 1]
    level: Floats = np.cumsum(change, dtype=np.float64)[: len(program)]
    return level


def place(program: Program, hw: Hardware, share: float = 1.0) -> Placement:
    """Place every SBUF and PSUM tensor of a program, in a share of SBUF."""
    address = np.full(len(program.tensors["bytes"]), -1)
    overflow = np.zeros(len(address), np.bool_)
    pairs: list[tuple[int, int]] = []
    for space, size, unit in (
        (SBUF, int(hw.sbuf.partition_bytes * share), 32),
        (PSUM, hw.psum.partition_bytes, hw.psum.bank_bytes),
    ):
        _place_space(program, lives(program, space), _Space(size, unit), address, overflow, pairs)
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return Placement(address, table[:, 0], table[:, 1], overflow)


def resource_edges(program: Program, placement: Placement, stream: Ints, lead: int) -> Edges:
    """A tensor's first access waits for the last access of each stream to the tensors that held its space before."""
    access = program.accesses
    tensor = access["tensor"].astype(np.int64)
    key = tensor * 64 + stream[access["instruction"]]
    order = np.lexsort((access["write"], access["instruction"], key))
    ends = order[np.flatnonzero(np.r_[np.diff(key[order]) != 0, len(order) > 0])]
    holders = tensor[ends]
    low = np.searchsorted(holders, placement.earlier, "left")
    count = np.searchsorted(holders, placement.earlier, "right") - low
    pair = np.repeat(np.arange(len(count)), count)
    producer = ends[low[pair] + np.arange(len(pair)) - (np.cumsum(count) - count)[pair]]
    first = np.full(len(program.tensors["bytes"]), -1)
    first[tensor[::-1]] = np.arange(len(tensor))[::-1]
    consumer = first[placement.later[pair]]
    late, next_one = _waiting(program, placement, first, lead)
    producer, consumer = np.concatenate([producer, late]), np.concatenate([consumer, next_one])
    row = access["instruction"]
    keep = stream[row[producer]] != stream[row[consumer]]
    return Edges(producer[keep], consumer[keep], np.full(int(keep.sum()), RESOURCE))


def _waiting(program: Program, placement: Placement, first: Ints, lead: int) -> tuple[Ints, Ints]:
    """For each tensor without space the access that it waits for, and its first one.

    Somebody's space it must take: it may come no earlier than `lead` instructions ahead.
    """
    access = program.accesses
    consumer = first[placement.overflow & (first >= 0)]
    ahead = access["instruction"][consumer] - lead
    consumer, ahead = consumer[ahead >= 0], ahead[ahead >= 0]
    return np.searchsorted(access["instruction"], ahead, "right") - 1, consumer


@dataclass(slots=True)
class _Space:
    """One memory while tensors come and go: what is live, by address, and who held each piece last."""

    size: int
    unit: int
    cursor: int = 0
    live: list[tuple[int, int]] = field(default_factory=list)
    expiry: list[tuple[int, int, int]] = field(default_factory=list)
    held: list[tuple[int, int, int]] = field(default_factory=list)

    def expire(self, now: int) -> None:
        """Free what was used last before instruction `now`."""
        while self.expiry and self.expiry[0][0] < now:
            _, start, stop = heappop(self.expiry)
            place = bisect_left(self.live, (start, stop))
            if place < len(self.live) and self.live[place] == (start, stop):
                del self.live[place]

    def find(self, size: int) -> int:
        """Start of free space at or after the cursor, else from the bottom, or -1."""
        for low, high in ((self.cursor, self.size), (0, min(self.cursor + size, self.size))):
            start = low
            place = bisect_right(self.live, (low, self.size))
            if place and self.live[place - 1][1] > low:
                start = self.live[place - 1][1]
            while start + size <= high:
                if place == len(self.live) or self.live[place][0] >= start + size:
                    return start
                start = max(start, self.live[place][1])
                place += 1
        return -1

    def take(self, start: int, size: int, tensor: int, last: int) -> list[int]:
        """Give a piece to a tensor; the tensors that held parts of it before."""
        stop = start + size
        insort(self.live, (start, stop))
        heappush(self.expiry, (last, start, stop))
        self.cursor = stop
        low = bisect_left(self.held, (start, 0, 0))
        if low and self.held[low - 1][1] > start:
            low -= 1
        high = bisect_left(self.held, (stop, 0, 0), low)
        old = self.held[low:high]
        kept = [(a, min(b, start), t) for a, b, t in old if a < start] + [
            (max(a, stop), b, t) for a, b, t in old if b > stop
        ]
        self.held[low:high] = sorted([*kept, (start, stop, tensor)])
        return [t for _, _, t in old]


def _place_space(
    program: Program, living: Lives, space: _Space, address: Ints, overflow: Bools, pairs: list[tuple[int, int]]
) -> None:
    fixed = program.tensors["address"][living.tensor].tolist()
    sizes = (-(-program.tensors["bytes"][living.tensor] // space.unit) * space.unit).tolist()
    rows = zip(living.tensor.tolist(), living.first.tolist(), living.last.tolist(), sizes, fixed, strict=True)
    for tensor, first, last, size, wanted in rows:
        space.expire(first)
        start = wanted if wanted >= 0 else space.find(size)
        if start < 0:
            overflow[tensor] = True
            continue
        address[tensor] = start
        cursor = space.cursor
        pairs.extend((old, tensor) for old in space.take(start, size, tensor, last) if old != tensor)
        if wanted >= 0:
            space.cursor = cursor
