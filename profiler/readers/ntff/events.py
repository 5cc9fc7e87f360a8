"""What the records say, one frame per kind: executed instructions, DMA packets, semaphore changes, throttle windows.

Times are picoseconds since the start of the execution in int64 columns `start` and `end` (or `t`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..wire import Source
from .clocks import to_ps
from .metadata import Graph
from .opcodes import ENGINES, NOTIFY
from .records import DMA, EVENT, INSTRUCTION, THROTTLE, pairs, records

Ints = NDArray[np.int64]

_FIRST_CODE = 0x84
_PC_MASK = 0x1FFFFF
_PACKET_START, _PACKET_END = 1, 5
_FIRST_DMA_ENGINE, _DMA_PER_PAIR = 0x80, 32
_SEMAPHORE_CHANGES = (0xF3, 0xF9, 0xF4)


@dataclass(frozen=True, slots=True)
class Executed:
    """Instructions as executed on one core.

    Attributes:
        pc: device pc, -1 outside the program.
        wait: the raw 16-bit wait counter, in engine cycles.
        crc: checksums of what was read (low 16 bits) and written (high).
        unpaired: records without a partner.
    """

    engine: Ints
    pc: Ints
    start: Ints
    end: Ints
    wait: Ints
    crc: Ints
    unpaired: int

    def __len__(self) -> int:
        return len(self.pc)

    def take(self, rows: Ints) -> Executed:
        """Some rows, by index."""
        columns = (self.engine, self.pc, self.start, self.end, self.wait, self.crc)
        engine, pc, start, end, wait, crc = (column[rows] for column in columns)
        return Executed(engine, pc, start, end, wait, crc, self.unpaired)


@dataclass(frozen=True, slots=True)
class Packets:
    """DMA packets of one core."""

    engine: Ints
    queue: Ints
    start: Ints
    end: Ints
    size: Ints
    crc: Ints
    unpaired: int

    def __len__(self) -> int:
        return len(self.size)

    def take(self, rows: Ints) -> Packets:
        """Some rows, by index."""
        columns = (self.engine, self.queue, self.start, self.end, self.size, self.crc)
        engine, queue, start, end, size, crc = (column[rows] for column in columns)
        return Packets(engine, queue, start, end, size, crc, self.unpaired)


def executed(source: Source, graph: Graph) -> Executed:
    """Every instruction with a start and an end, times on the device's clock."""
    found = records(source, graph, INSTRUCTION)
    a = found["a"]
    code = (a >> 24).astype(np.int64)
    known = (code >= _FIRST_CODE) & (code < _FIRST_CODE + 4 * len(ENGINES)) & ((code & 3) < 2)
    found, a, code = found[known], a[known], code[known]
    engine = (code - _FIRST_CODE) >> 2
    first, last = pairs((engine << 21 | (a & _PC_MASK)).astype(np.uint32), (code & 1) == 1)
    engine = engine[first]
    address = np.array([graph.code[e].address >> 6 if e in graph.code else 0 for e in range(len(ENGINES))], np.uint64)
    size = np.array([graph.code[e].size if e in graph.code else 0 for e in range(len(ENGINES))])
    base = (address & np.uint64(_PC_MASK)).astype(np.int64)[engine]
    pc = ((a[first] & _PC_MASK).astype(np.int64) - base) & _PC_MASK
    return Executed(
        engine=engine,
        pc=np.where(pc < size[engine], pc, -1),
        start=to_ps(found["t"][first], engine, graph.engine_clocks),
        end=to_ps(found["t"][last], engine, graph.engine_clocks),
        wait=(found["b"][first] >> 16).astype(np.int64),
        crc=found["b"][last].astype(np.int64),
        unpaired=len(found) - 2 * len(first),
    )


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


def packets(source: Source, graph: Graph) -> Packets:
    """Every DMA packet with a start and an end, times on the device's clock."""
    found = records(source, graph, DMA)
    kind = found["b"] & 15
    found = found[(kind == _PACKET_START) | (kind == _PACKET_END)]
    local = ((found["a"] >> 24).astype(np.int64) - _FIRST_DMA_ENGINE) & 0x7F
    queue = ((found["b"] >> 4) & 15).astype(np.int64)
    first, last = pairs((local << 4 | queue).astype(np.uint32), (found["b"] & 15) == _PACKET_END)
    return Packets(
        engine=local[first] + _DMA_PER_PAIR * (graph.nc // 2),
        queue=queue[first],
        start=to_ps(found["t"][first], local[first] & 15, graph.dma_clocks),
        end=to_ps(found["t"][last], local[last] & 15, graph.dma_clocks),
        size=(found["a"][last] & 0xFFFFFF).astype(np.int64),
        crc=(found["b"][last] >> 16).astype(np.int64),
        unpaired=len(found) - 2 * len(first),
    )


def event_times(source: Source, graph: Graph) -> Ints:
    """When each event record was written: changes of semaphores, and events set and cleared."""
    return _event_times(records(source, graph, EVENT), graph)


def _event_times(found: NDArray[np.void], graph: Graph) -> Ints:
    """Times of event records, each by the clock of the engine that wrote it."""
    owner = ((found["a"] >> 24).astype(np.int64) - 0x87) >> 2
    return to_ps(found["t"], np.where(owner < 0, len(ENGINES), owner), graph.engine_clocks)


def semaphores(source: Source, graph: Graph) -> tuple[Ints, Ints, Ints]:
    """Changes of semaphores: time, index and new value. Events (set and cleared) are left out, as in the vendor's table."""
    found = records(source, graph, EVENT)
    found = found[np.isin((found["a"] >> 16) & 0xFF, _SEMAPHORE_CHANGES)]
    return _event_times(found, graph), (found["a"] & 0xFF).astype(np.int64), found["b"].astype(np.int64)


def throttles(source: Source, graph: Graph) -> tuple[Ints, Ints, Ints, Ints]:
    """Starts of tensor-engine throttle windows: time, k, n and type; each lasts until the next."""
    found = records(source, graph, THROTTLE)
    found = found[np.argsort(found["t"], kind="stable")]
    time = to_ps(found["t"], np.zeros(len(found), np.int64), graph.engine_clocks)
    k, type_, n = found["b"] & 0xFF, (found["b"] >> 8) & 0xFF, (found["a"] >> 16) & 0xFF
    return time, k.astype(np.int64), n.astype(np.int64), type_.astype(np.int64)
