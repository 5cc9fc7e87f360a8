"""Races between the cores of a rank: two accesses to the same bytes of shared HBM, one a write, that nothing orders.

Happens-before by vector clocks. A program's clock holds, for every program, the last segment of it that has surely
happened; a segment ends at every barrier, sendrecv and collective. Members leave such a meeting with the element-wise
maximum of all their clocks. Inside a program the order is that of its instructions (the compiler keeps it). So access
a of program p comes before access b of program q exactly if b's clock for p has reached a's segment.

Worked out after the run, from the traces: nothing is recorded for it while instructions execute.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations, groupby
from typing import Any

import numpy as np

from .context import Context
from .dynamic import row_numbers, table
from .findings import Finding, finding
from .layout import HBM, Layout
from .team import Place, Program, Team
from .tensor import NkiTensor
from .trace import PER_INSTRUCTION, operands
from .written import NOTHING, Written

Clock = dict[Place, int]
_COLUMNS = ("row", "segment", "tensor", "write", "layout", "byte", "operand")


@dataclass(frozen=True, slots=True)
class Segment:
    """Instructions of a program from row `first` on, up to the next segment's, and the clock they run with."""

    first: int
    clock: Clock


@dataclass(frozen=True, slots=True)
class Accesses:
    """Accesses of one program to HBM tensors that a core of its rank shares, in order; columns.

    `layout` is an index into `layouts`, `byte` counts within the tensor. `scattered` are the rows of the first dimension
    that an access by run-time indices touched, by instruction and operand.
    """

    row: np.ndarray
    segment: np.ndarray
    tensor: np.ndarray
    write: np.ndarray
    layout: np.ndarray
    byte: np.ndarray
    operand: np.ndarray
    layouts: list[Layout]
    context: Context

    def only(self, mask: np.ndarray) -> Accesses:
        """The accesses where the mask holds."""
        return replace(self, **{name: getattr(self, name)[mask] for name in _COLUMNS})

    def stop(self) -> np.ndarray:
        """Byte after the last of each access."""
        spans: np.ndarray = np.array([layout.span for layout in self.layouts], np.int64)[self.layout]
        stop: np.ndarray = self.byte + spans
        return stop


def check_races(team: Team) -> list[Finding]:
    """A finding for every pair of lines that race on a tensor."""
    programs = list(team.programs.values())
    if programs[0].context.cores == 1:
        return []
    segments = _segments(programs)
    found: list[Finding] = []
    for _, cores in groupby(programs, key=lambda program: program.context.rank):
        mine = [(program, _accesses(program, segments[program.place])) for program in cores]
        for (a, left), (b, right) in combinations(mine, 2):
            found += _between(left, right, segments[a.place], segments[b.place], a.place, b.place)
    return found


def _segments(programs: list[Program]) -> dict[Place, list[Segment]]:
    """Replay the meetings in the order in which they happened."""
    clocks: dict[Place, Clock] = {p.place: {q.place: int(p is q) for q in programs} for p in programs}
    segments = {place: [Segment(0, clock)] for place, clock in clocks.items()}
    leaves = sorted(
        ((meeting.number, program.place, row) for program in programs for row, meeting in program.leaves),
    )
    for _, group in groupby(leaves, key=lambda leave: leave[0]):
        members = [(place, row) for _, place, row in group]
        for place, _ in members:
            clocks[place] = {**clocks[place], place: clocks[place][place] + 1}
        joined = {p.place: max(clocks[place][p.place] for place, _ in members) for p in programs}
        for place, row in members:
            clocks[place] = {**joined, place: joined[place] + 1}
            segments[place] += [Segment(row, joined), Segment(row + 1, clocks[place])]
    return segments


def _accesses(program: Program, segments: list[Segment]) -> Accesses:
    recorder = program.context.trace
    shared = _shared(program.context)
    plan = recorder.table()[:, 0]
    places = recorder.places()
    row, operand = operands(recorder.shapes, plan)
    layouts = [layout for shape in recorder.shapes for layout in shape.layouts]
    writes = np.array([write for shape in recorder.shapes for write in shape.writes], np.bool_)
    in_hbm = np.array([layout.space == HBM for layout in layouts], np.bool_)
    chosen = in_hbm[operand] & np.isin(places[:, 0], shared)
    first = np.cumsum([0] + [len(shape.roles) for shape in recorder.shapes])
    starts = np.array([segment.first for segment in segments])
    return Accesses(
        row=row[chosen],
        segment=np.searchsorted(starts, row[chosen], side="right") - 1,
        tensor=places[chosen, 0],
        write=writes[operand[chosen]],
        layout=operand[chosen],
        byte=places[chosen, 1],
        operand=operand[chosen] - first[plan[row[chosen]]],
        layouts=layouts,
        context=program.context,
    )


def _shared(context: Context) -> list[int]:
    """Tensors that both cores of a rank may reach."""
    shared = {tensor.storage.id for tensor in context.shared.values()}
    return sorted(shared | {row for row, tensor in enumerate(context.trace.tensors) if tensor[5] == "input"})


def _between(
    left: Accesses, right: Accesses, of_left: list[Segment], of_right: list[Segment], a: Place, b: Place
) -> Iterator[Finding]:
    """Races between two programs, segment by segment of those that are not ordered."""
    for i in np.unique(left.segment):
        for j in np.unique(right.segment):
            mine, theirs = of_left[i].clock, of_right[j].clock
            if mine[b] < theirs[b] and theirs[a] < mine[a]:
                yield from _overlaps(left.only(left.segment == i), right.only(right.segment == j))


def _overlaps(left: Accesses, right: Accesses) -> Iterator[Finding]:
    for tensor in np.intersect1d(left.tensor, right.tensor):
        one, other = left.only(left.tensor == tensor), right.only(right.tensor == tensor)
        if not one.write.any() and not other.write.any():
            continue
        one, other = _without_twins(one, other), _without_twins(other, one)
        yield from _collisions(one.only(one.write), other)
        yield from _collisions(other.only(other.write), one.only(~one.write))


def _without_twins(these: Accesses, others: Accesses) -> Accesses:
    """Without writes that the other core does too, of the same values: a kernel that knows no cores does all twice."""
    theirs = {_value(others, k) for k in np.flatnonzero(others.write).tolist()}
    twin = [bool(these.write[k]) and _value(these, k) in theirs for k in range(len(these.row))]
    return these.only(~np.array(twin, np.bool_))


def _value(accesses: Accesses, k: int) -> tuple[object, ...]:
    """What a write wrote where; by its line where values are not computed."""
    digest = accesses.context.digests.get((int(accesses.row[k]), int(accesses.operand[k])))
    by = -_site(accesses, k) if digest is None else digest
    return accesses.layouts[int(accesses.layout[k])], int(accesses.byte[k]), digest is None, by


def _collisions(writes: Accesses, users: Accesses) -> Iterator[Finding]:
    """Findings of `users` that touch bytes of `writes`, one for each pair of lines; all are of one tensor."""
    writes, users = _meeting(writes, users), _meeting(users, writes)
    if not len(writes.row) or not len(users.row):
        return
    size = users.layouts[int(users.layout[0])].row_bytes
    every = Written(1, size)
    for k in range(len(writes.row)):
        _mark(every, writes, k)
    told: set[tuple[int, int]] = set()
    for k in range(len(users.row)):
        if not _touches(every, users, k):
            continue
        other = next(n for n in range(len(writes.row)) if _collide(writes, n, users, k, size))
        sites = (_site(writes, other), _site(users, k))
        if sites not in told:
            told.add(sites)
            yield _race(writes, other, users, k)


def _meeting(these: Accesses, others: Accesses) -> Accesses:
    """The accesses whose box meets one of the others'."""
    begins, ends = np.sort(others.byte), np.sort(others.stop())
    started = np.searchsorted(begins, these.stop(), side="left")
    ended = np.searchsorted(ends, these.byte, side="right")
    return these.only(started > ended)


def _mark(written: Written, accesses: Accesses, k: int) -> None:
    layout, byte, rows = accesses.layouts[int(accesses.layout[k])], int(accesses.byte[k]), _rows(accesses, k)
    if rows is None:
        written.mark(layout, byte)
    else:
        written.mark_rows(layout, byte, rows)


def _touches(written: Written, accesses: Accesses, k: int) -> bool:
    layout, byte, rows = accesses.layouts[int(accesses.layout[k])], int(accesses.byte[k]), _rows(accesses, k)
    if written.state_of(layout, byte) == NOTHING:
        return False
    return rows is None or bool(written.some(layout, byte)[rows].any())


def _collide(writes: Accesses, n: int, users: Accesses, k: int, size: int) -> bool:
    one = Written(1, size)
    _mark(one, writes, n)
    return _touches(one, users, k)


def _rows(accesses: Accesses, k: int) -> np.ndarray | None:
    """The rows that an access by run-time indices touched; None for any other access."""
    return accesses.context.scattered.get((int(accesses.row[k]), int(accesses.operand[k])))


def remember_rows(context: Context, operands: tuple[Any, ...], positions: tuple[int, ...], *, skipped: bool) -> None:
    """Keep which rows of a tensor the next instruction touches by run-time indices; without values they are unknown."""
    for number, position in enumerate(positions):
        tensor = operands[position]
        if skipped:
            context.scattered[len(context.trace), number] = np.zeros(0, np.int64)
        elif tensor.indirection is not None and context.values:
            rows, count = row_numbers(tensor), table(tensor)[2]
            context.scattered[len(context.trace), number] = rows[(rows >= 0) & (rows < count)]


def remember_value(context: Context, tensor: NkiTensor, number: int) -> None:
    """Keep a digest of what the last instruction has written into shared HBM by its operand `number`."""
    row = len(context.trace) - 1
    rows = context.scattered.get((row, number))
    if rows is None:
        written = tensor.storage.array(tensor.layout, tensor.byte).tobytes()
    else:
        layout, byte, _ = table(tensor)
        written = rows.tobytes() + tensor.storage.array(layout, byte)[rows].tobytes()
    context.digests[row, number] = hash(written)


def _site(accesses: Accesses, k: int) -> int:
    return accesses.context.trace.rows[PER_INSTRUCTION * int(accesses.row[k]) + 1]


def _race(writes: Accesses, n: int, users: Accesses, k: int) -> Finding:
    tensor = int(users.tensor[k])
    row = users.context.trace.tensors[tensor]
    writer, user = writes.context, users.context
    written, used = writer.location(_site(writes, n)), user.location(_site(users, k))
    verb = "writes them too" if users.write[k] else "reads them"
    message = (
        f"core {writer.core} writes bytes of {row[7] or 'a tensor'} (shared HBM, allocated at {user.location(row[6])}) "
        f"at {written}, and core {user.core} {verb} at {used}; nothing orders the two"
    )
    return finding("race", message, used, rank=user.rank, core=user.core)
