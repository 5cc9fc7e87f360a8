"""Which access waits for which: read after write, write after read, write after write, by the bytes touched.

Tensors whose writes all cover the same box (nearly all of them) are resolved with array operations; the others by
looking up the boxes that overlap in a grid of buckets. Both are near-linear in the number of accesses.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .program import Bools, Ints, Program, Table

FLOW, ANTI, OUTPUT, RESOURCE = range(4)
KINDS = ("flow", "anti", "output", "resource")


@dataclass(frozen=True, slots=True)
class Edges:
    """Columns over dependences: producing and consuming access (rows of the program's accesses) and kind."""

    producer: Ints
    consumer: Ints
    kind: Ints

    @staticmethod
    def join(parts: list[Edges]) -> Edges:
        """All edges of several sets."""
        empty = np.zeros(0, np.int64)
        columns = [
            np.concatenate([empty, *(getattr(p, name) for p in parts)]) for name in ("producer", "consumer", "kind")
        ]
        return Edges(*columns)


def dependences(program: Program, stream: Ints) -> Edges:
    """All dependences of a program through its tensors.

    Args:
        program: the instructions in issue order.
        stream: in-order stream of each instruction. On one stream, reads and writes happen in order, so that only reads
            after writes wait; and the last access of each stream stands for the earlier ones.
    """
    access = program.accesses
    of_stream = stream[access["instruction"]]
    plain = _plain(access, len(program.tensors["bytes"]))
    simple = plain[access["tensor"]] if len(plain) else np.zeros(0, np.bool_)
    parts = [
        _vectorised(access, of_stream, np.flatnonzero(simple)),
        _bucketed(access, of_stream, np.flatnonzero(~simple)),
    ]
    return Edges.join(parts)


def _plain(access: Table, tensors: int) -> Bools:
    """Tensors whose writes all have one box."""
    writes = np.flatnonzero(access["write"])
    tensor = access["tensor"][writes]
    plain = np.ones(tensors, np.bool_)
    for name in ("p0", "p1", "b0", "b1"):
        first = np.zeros(tensors, np.int64)
        first[tensor[::-1]] = access[name][writes][::-1]
        plain[tensor[access[name][writes] != first[tensor]]] = False
    return plain


def _vectorised(access: Table, stream: Ints, rows: Ints) -> Edges:
    """Edges within tensors where every write covers the same box."""
    order = rows[np.lexsort((access["write"][rows], access["instruction"][rows], access["tensor"][rows]))]
    tensor, write, lane = access["tensor"][order], access["write"][order], stream[order]
    count = len(order)
    if not count:
        return Edges.join([])
    index = np.arange(count)
    starts = np.flatnonzero(np.r_[True, tensor[1:] != tensor[:-1]])
    begin = np.repeat(starts, np.diff(np.r_[starts, count]))
    last_write = _before(np.where(write, index, -1), begin)
    parts = [_edges(order, last_write, np.where(write, OUTPUT, FLOW), last_write >= 0)]
    for code in np.unique(lane[~write]).tolist():
        last_read = _before(np.where(~write & (lane == code), index, -1), begin)
        parts.append(_edges(order, last_read, np.full(count, ANTI), write & (last_read > last_write)))
    return _needed(Edges.join(parts), access, stream)


def _before(marked: Ints, begin: Ints) -> Ints:
    """For each row the last marked row before it in its group, or -1."""
    last = np.maximum.accumulate(np.r_[-1, marked[:-1]])
    return np.where(last >= begin, last, -1)


def _edges(order: Ints, producer: Ints, kind: Ints, where: Bools) -> Edges:
    found = np.flatnonzero(where)
    return Edges(order[producer[found]], order[found], kind[found])


def _needed(edges: Edges, access: Table, stream: Ints) -> Edges:
    """Drop edges within one instruction, and those that an in-order stream keeps by itself."""
    one = access["instruction"][edges.producer] == access["instruction"][edges.consumer]
    ordered = (stream[edges.producer] == stream[edges.consumer]) & (edges.kind != FLOW)
    keep = ~(one | ordered)
    return Edges(edges.producer[keep], edges.consumer[keep], edges.kind[keep])


@dataclass(slots=True)
class _Box:
    """A box of a tensor that was accessed: its last write, and the last read of each stream since."""

    p0: int
    p1: int
    b0: int
    b1: int
    run: int
    pitch: int
    write: int = -1
    reads: dict[int, int] = field(default_factory=dict)

    def meets(self, other: _Box) -> bool:
        """Whether two boxes share a byte; tiles of one matrix (same pitch) are told apart by their columns."""
        if self.p0 >= other.p1 or other.p0 >= self.p1 or self.b0 >= other.b1 or other.b0 >= self.b1:
            return False
        if self.pitch == 0 or self.pitch != other.pitch:
            return True
        apart = (other.b0 - self.b0) % self.pitch
        return apart < self.run or apart > self.pitch - other.run


def _bucketed(access: Table, stream: Ints, rows: Ints) -> Edges:
    """Edges within tensors that are written box by box."""
    if not len(rows):
        return Edges.join([])
    order = rows[np.lexsort((access["write"][rows], access["instruction"][rows], access["tensor"][rows]))]
    bounds = np.flatnonzero(np.r_[True, np.diff(access["tensor"][order]) != 0, True])
    found: list[tuple[int, int, int]] = []
    for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        _tensor_edges(access, stream, order[first:last], found)
    table = np.array(found, np.int64).reshape(-1, 3)
    return _needed(Edges(table[:, 0], table[:, 1], table[:, 2]), access, stream)


def _tensor_edges(access: Table, stream: Ints, order: Ints, found: list[tuple[int, int, int]]) -> None:
    """Append (producer, consumer, kind) for the accesses of one tensor, in order."""
    names = ("p0", "p1", "b0", "b1", "run")
    columns = [access[name][order].tolist() for name in names]
    pitch = _pitch(access, order).tolist()
    size = max([1, *(b1 - b0 for b0, b1 in zip(columns[2], columns[3], strict=True))])
    grid: dict[int, list[_Box]] = {}
    boxes: dict[tuple[int, ...], _Box] = {}
    writes, lanes = access["write"][order].tolist(), stream[order].tolist()
    for place, row in enumerate(order.tolist()):
        key = (*(column[place] for column in columns), pitch[place])
        box = boxes.get(key)
        if box is None:
            box = boxes[key] = _Box(*key)
            for cell in range(box.b0 // size, (box.b1 - 1) // size + 1):
                grid.setdefault(cell, []).append(box)
        near = {id(b): b for cell in range(box.b0 // size, (box.b1 - 1) // size + 1) for b in grid[cell]}
        touched = [b for b in near.values() if b is box or b.meets(box)]
        _touch(row, box, touched, writes[place], lanes[place], found)


def _touch(row: int, box: _Box, touched: list[_Box], write: bool, lane: int, found: list[tuple[int, int, int]]) -> None:
    for other in touched:
        if other.write >= 0:
            found.append((other.write, row, OUTPUT if write else FLOW))
        if write:
            found.extend((read, row, ANTI) for read in other.reads.values())
            covered = other is box or (other.b0 >= box.b0 and other.b1 <= box.b1 and not box.pitch)
            if covered and other.p0 >= box.p0 and other.p1 <= box.p1:
                other.write, other.reads = -1, {}
    if write:
        box.write, box.reads = row, {}
    else:
        box.reads[lane] = row


def _pitch(access: Table, order: Ints) -> Ints:
    """Bytes between the runs of a two-level box such as a tile of a matrix in HBM; 0 where it has no holes."""
    span, run = access["b1"][order] - access["b0"][order], np.maximum(access["run"][order], 1)
    stride, elements = access["stride"][order], access["elements"][order]
    size = np.where(stride > 0, stride, 1)
    runs = np.maximum(elements * size // run, 1)
    pitch = np.where(runs > 1, (span - run) // np.maximum(runs - 1, 1), 0)
    exact = (runs > 1) & (pitch * (runs - 1) + run == span) & (stride > 0) & (stride * elements == run * runs)
    return np.where(access["strided"][order] & exact, pitch, 0)
