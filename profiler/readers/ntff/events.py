"""What the records say, one frame per kind: executed instructions, DMA packets, semaphore changes, throttle windows.

Times are picoseconds on the device's clock. Every number is kept in the narrowest type that holds its field, because
there is one per record and a trace has millions.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..wire import Source
from .clocks import to_ps
from .metadata import Graph
from .opcodes import ENGINES, NOTIFY
from .records import DMA, EVENT, INSTRUCTION, THROTTLE, Numbers, pairs, records

Ints = NDArray[np.int64]

_FIRST_CODE = 0x84
_PC_BITS = 21
_PC_MASK = (1 << _PC_BITS) - 1
_PACKET_START, _PACKET_END = 1, 5
_SEMAPHORE_CHANGES = (0xF3, 0xF9, 0xF4)


@dataclass(frozen=True, slots=True)
class Records:
    """Columns of numbers, one row per event.

    Attributes:
        start, end: picoseconds.
    """

    start: Ints
    end: Ints

    def __len__(self) -> int:
        return len(self.start)

    def take(self, rows: Numbers) -> Self:
        """Some rows, by index."""
        return type(self)(**{column.name: getattr(self, column.name)[rows] for column in fields(self)})


@dataclass(frozen=True, slots=True)
class Executed(Records):
    """Instructions as executed on one core.

    Attributes:
        pc: device pc, -1 outside the program.
        wait: the raw 16-bit wait counter, in engine cycles.
        crc: checksums of what was read (low 16 bits) and written (high).
    """

    engine: Numbers
    pc: Numbers
    wait: Numbers
    crc: Numbers


@dataclass(frozen=True, slots=True)
class Packets(Records):
    """DMA packets of one core; engine is that within the core's pair."""

    engine: Numbers
    queue: Numbers
    size: Numbers
    crc: Numbers


@dataclass(frozen=True, slots=True)
class Changes(Records):
    """Changes of semaphores: index and new value. They have no length."""

    index: Numbers
    value: Numbers


@dataclass(frozen=True, slots=True)
class Throttles(Records):
    """Throttle windows of the tensor engine, k of n; each lasts until the next."""

    k: Numbers
    n: Numbers
    type: Numbers


def executed(source: Source, graph: Graph) -> tuple[Executed, int]:
    """Every instruction with a start and an end, and the number of records without a partner."""
    found = records(source, graph, INSTRUCTION)
    code = (found["a"] >> 24).astype(np.uint8) - np.uint8(_FIRST_CODE)  # wraps below the first code
    known = (code < 4 * len(ENGINES)) & ((code & 3) < 2)
    key = (code >> 2).astype(np.uint32) << _PC_BITS | (found["a"] & _PC_MASK)
    key[~known] = np.iinfo(np.uint32).max
    first, last = pairs(key, (code & 1).astype(bool))
    engine, pc = code[first] >> 2, (key[first] & _PC_MASK).astype(np.int32)
    unpaired = int(np.count_nonzero(known)) - 2 * len(first)
    del code, known, key
    bases = [graph.code[e].address >> 6 & _PC_MASK if e in graph.code else 0 for e in range(len(ENGINES))]
    sizes = [graph.code[e].size if e in graph.code else 0 for e in range(len(ENGINES))]
    pc = (pc - np.array(bases, np.int32)[engine]) & _PC_MASK
    return Executed(
        start=to_ps(found["t"][first], engine, graph.engine_clocks),
        end=to_ps(found["t"][last], engine, graph.engine_clocks),
        engine=engine,
        pc=np.where(pc < np.array(sizes)[engine], pc, np.int32(-1)),
        wait=(found["b"][first] >> 16).astype(np.uint16),
        crc=found["b"][last],
    ), unpaired


def notify_end(source: Source, graph: Graph, ran: Executed) -> int | None:
    """End of the last NOTIFY in the tensor engine's preamble (the code inserted at pc 0), None where there is none."""
    if 0 not in graph.code or 0 not in graph.patches:
        return None
    inserts = graph.patches[0]
    preamble = int(inserts[(inserts[:, 0] == 0) & (inserts[:, 2] == 0), 1].sum())
    code = graph.code[0]
    image = np.frombuffer(source.data, np.uint8, code.size * 64, code.start).reshape(-1, 64)
    tensor = (ran.engine == 0) & (ran.pc >= 0) & (ran.pc < preamble)
    ends = ran.end[tensor][image[ran.pc[tensor], 0] == NOTIFY]
    return int(ends.max()) if len(ends) else None


def packets(source: Source, graph: Graph) -> tuple[Packets, int]:
    """Every DMA packet with a start and an end, and the number of records without a partner."""
    found = records(source, graph, DMA)
    mark = found["b"].astype(np.uint8)  # queue, then kind
    kind = mark & 15
    known = (kind == _PACKET_START) | (kind == _PACKET_END)
    local = (found["a"] >> 24).astype(np.uint8) & 0x7F  # from 0x80 on
    key = local.astype(np.uint16) << 4 | (mark >> 4)
    key[~known] = np.iinfo(np.uint16).max
    first, last = pairs(key, kind == _PACKET_END)
    engine, unpaired = local[first], int(np.count_nonzero(known)) - 2 * len(first)
    queue = mark[first] >> 4
    del mark, kind, known, local, key
    return Packets(
        start=to_ps(found["t"][first], engine & 15, graph.dma_clocks),
        end=to_ps(found["t"][last], engine & 15, graph.dma_clocks),
        engine=engine,
        queue=queue,
        size=found["a"][last] & 0xFFFFFF,
        crc=(found["b"][last] >> 16).astype(np.uint16),
    ), unpaired


def event_times(source: Source, graph: Graph) -> Ints:
    """When each event record was written: changes of semaphores, and events set and cleared."""
    return _event_times(records(source, graph, EVENT), graph)


def _event_times(found: NDArray[np.void], graph: Graph) -> Ints:
    """Times of event records, each by the clock of the engine that wrote it."""
    owner = (found["a"] >> 24).astype(np.uint8) - np.uint8(0x87)  # below the first it wraps, to no engine
    return to_ps(found["t"], owner >> 2, graph.engine_clocks)


def semaphores(source: Source, graph: Graph) -> Changes:
    """Changes of semaphores. Events (set and cleared) are left out, as in the vendor's table."""
    found = records(source, graph, EVENT)
    rows = np.flatnonzero(np.isin((found["a"] >> 16).astype(np.uint8), _SEMAPHORE_CHANGES))
    time = _event_times(found, graph)[rows]
    return Changes(time, time, found["a"][rows].astype(np.uint8), found["b"][rows])


def throttles(source: Source, graph: Graph, stop: int) -> Throttles:
    """Throttle windows in order of start; the last ends at `stop`."""
    found = records(source, graph, THROTTLE)
    order = np.argsort(found["t"], kind="stable")
    time = to_ps(found["t"][order], np.zeros(len(found), np.uint8), graph.engine_clocks)
    k, kind, n = (found[name][order] >> shift for name, shift in (("b", 0), ("b", 8), ("a", 16)))
    end = np.append(time[1:], stop) if len(time) else time
    return Throttles(time, end, k.astype(np.uint8), n.astype(np.uint8), kind.astype(np.uint8))
