"""The DMA engines while transfers are laid out in time: in order in a queue, in turns between queues, HBM shared by all.

Source: DMA overview: a queue runs in order, an engine takes turns between its queues. A transfer therefore takes its own
time and as much of what other queues have left at most; these get theirs later, which only what they begin afterwards
can show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .dma import QUEUES

if TYPE_CHECKING:
    from nkilab.hardware import Hardware

    from .dma import Transfers
    from .program import Floats


@dataclass(slots=True)
class Channels:
    """State of the queues, the engines and HBM.

    `issued[queue]`: (end, descriptors on an engine so far) of each transfer issued on it, and `behind[queue]` how many
    of them need not be waited for any more: for the ring. `busy[engine][queue]`: when an engine is done with what it has
    of a queue; `level` stands for all engines while they are equal (`flat`), as they are while every transfer uses all.
    `pieces`: (start, end) of each transfer on each engine it uses, by transfer. `memory`: when HBM would be done if it
    moved one transfer after the other; `front`: when the engines are done with all of them. Where HBM is behind the
    engines, it holds them back.
    """

    columns: tuple[list[Any], ...]
    engines: int
    ring: int
    semaphore: float
    completion: float
    issued: list[list[tuple[float, int]]]
    behind: list[int]
    busy: list[list[float]]
    pieces: list[tuple[list[float], list[float]]]
    level: list[float]
    flat: bool = True
    memory: float = 0.0
    front: float = 0.0

    def room(self, transfer: int) -> float:
        """When the transfer's queue has room for it; one that fills the ring alone needs half of it to begin."""
        queue = self.columns[0][transfer]
        issued, at = self.issued[queue], self.behind[queue]
        if not issued:
            return 0.0
        most = issued[-1][1] + min(self.columns[8][transfer], self.ring // 2) - self.ring
        while at < len(issued) and issued[at][1] < most:
            at += 1
        self.behind[queue] = at
        return issued[at][0] if at < len(issued) and most > 0 else 0.0

    def move(self, transfer: int, issued: float) -> float:
        """Run one transfer that was issued at a time; when its last byte has landed."""
        queue, latency, first, last, head, middle, tail, memory, many = (column[transfer] for column in self.columns)
        arrival = issued + latency
        even = last - first + 1 == self.engines and head == middle == tail
        if even and self.flat:
            begin, end = _turns(self.level, queue, arrival, middle + self.semaphore)
            used, starts, ends = [self.level], [begin], [end]
        else:
            used, starts, ends = self._uneven(queue, arrival, range(first, last + 1), (head, middle, tail))
        late = self._behind(min(starts), max(ends), memory)
        if late > 0:
            ends = [end + late for end in ends]
            for busy in used:
                busy[queue] += late
        self.pieces[transfer] = (starts, ends)
        if not self.flat and all(busy == self.busy[0] for busy in self.busy):
            self.flat, self.level = True, list(self.busy[0])
        done = max(ends)
        before = self.issued[queue]
        before.append((done, (before[-1][1] if before else 0) + many))
        return done

    def _behind(self, begin: float, end: float, work: float) -> float:
        """How far HBM is behind the engines with the work of one more transfer, which they move from begin to end."""
        self.memory = max(self.memory, begin) + work
        self.front = max(self.front, end)
        late = max(self.memory - self.front, 0.0)
        self.front += late
        return late

    def _uneven(
        self, queue: int, arrival: float, engines: range, times: tuple[float, float, float]
    ) -> tuple[list[list[float]], list[float], list[float]]:
        """The engines' states, and start and end on each."""
        if self.flat:
            self.busy, self.flat = [list(self.level) for _ in range(self.engines)], False
        head, middle, tail = times
        starts, ends = [], []
        for engine in engines:
            work = head if engine == engines.start else tail if engine == engines[-1] else middle
            begin, end = _turns(self.busy[engine], queue, arrival, work + self.semaphore)
            starts.append(begin)
            ends.append(end)
        return [self.busy[engine] for engine in engines], starts, ends


def _turns(busy: list[float], queue: int, arrival: float, work: float) -> tuple[float, float]:
    """Start and end of work on one engine, of which `busy` says until when it has work of each queue."""
    begin = max(arrival, busy[queue])
    end = begin + work
    for other, until in enumerate(busy):
        if until > begin and other != queue:
            shared = min(until - begin, work)
            busy[other] = until + shared
            end += shared
    busy[queue] = end
    return begin, end


def channels(moved: Transfers, hw: Hardware) -> Channels:
    """Idle channels for a program's transfers."""
    names = ("queue", "latency", "first", "last", "head", "middle", "tail", "hbm", "descriptors")
    dma = hw.dma
    return Channels(
        columns=tuple(getattr(moved, name).tolist() for name in names),
        engines=dma.engines,
        ring=dma.ring,
        semaphore=dma.semaphore_ns,
        completion=dma.completion_ns + hw.handover.wait_ns,
        issued=[[] for _ in QUEUES],
        behind=[0] * len(QUEUES),
        busy=[],
        level=[0.0] * len(QUEUES),
        pieces=[([], [])] * len(moved.row),
    )


def pieces_table(state: Channels, moved: Transfers) -> tuple[Floats, Floats]:
    """Start and end of every transfer on every engine it uses: transfers in order, engines from first to last."""
    count = moved.last - moved.first + 1
    held = np.array([len(starts) for starts, _ in state.pieces], np.int64)
    repeat = np.repeat(np.where(held == count, 1, count), held) if len(held) else held
    start = np.array([time for starts, _ in state.pieces for time in starts])
    end = np.array([time for _, ends in state.pieces for time in ends])
    return np.repeat(start, repeat), np.repeat(end, repeat)
