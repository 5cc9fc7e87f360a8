"""What is kept of the records of one core: rows inside the execution, in order of time, in narrow types.

`tables` makes the profile's tables of these rows when they are asked for: those take several times as much memory,
because most of an instruction's columns repeat its program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..source import released
from ..wire import Source
from . import events
from .clocks import PS_PER_NS, ns
from .events import Changes, Executed, Packets, Records, Throttles
from .metadata import Graph
from .opcodes import ENGINES
from .program_table import ProgramTable

Ints = NDArray[np.int64]
_Found = TypeVar("_Found", bound=Records)

TABLE_QUEUE, QUEUES, SEMAPHORES = 14, 16, 256


@dataclass(frozen=True, slots=True)
class Window:
    """The execution on the device's clock, picoseconds: its start, and its length or None."""

    start: int
    length: int | None

    @property
    def stop(self) -> int:
        """The last whole nanosecond of the execution."""
        return min(self.start + (self.length or 0) // PS_PER_NS * PS_PER_NS, np.iinfo(np.int64).max)

    def holds(self, start: Ints, end: Ints) -> NDArray[np.bool_]:
        """Which spans lie in it whole."""
        inside: NDArray[np.bool_] = (start >= self.start) & (end >= start)
        return inside & (end - self.start <= self.length) if self.length is not None else inside


@dataclass(frozen=True, slots=True)
class CoreRows:
    """What is kept of one core.

    Attributes:
        tables: rows by the table that they become.
        events: event records inside the execution.
        unpaired_instructions, unpaired_packets: records without a partner, left out.
        table_packets: packets of busy table rings, left out.
    """

    tables: dict[str, pl.DataFrame]
    events: int
    unpaired_instructions: int
    unpaired_packets: int
    table_packets: int


def core_rows(source: Source, graph: Graph, window: Window, table: ProgramTable) -> CoreRows:
    """Read the records of one core, one kind after the other; the file's pages are let go of between them."""
    core = graph.core
    found, unpaired_packets = events.packets(source, graph)
    released(source.data)
    moved, table_packets = packets(found, core, window)
    del found
    executed, unpaired_instructions = events.executed(source, graph)
    released(source.data)
    ran = instructions(executed, core, window, table)
    del executed
    times = events.event_times(source, graph)
    count = int(window.holds(times, times).sum())
    del times
    changed = events.semaphores(source, graph)
    released(source.data)
    changes = semaphores(changed, core, window)
    del changed
    throttled = events.throttles(source, graph, window.stop)
    released(source.data)
    rows = {
        "Instruction": ran,
        "DmaPacket": moved,
        "SemaphoreUpdate": changes,
        "Throttle": throttles(throttled, core, window),
        "ActiveTime": active(ran, core, table),
    }
    return CoreRows(rows, count, unpaired_instructions, unpaired_packets, table_packets)


def _inside(found: _Found, keep: NDArray[np.bool_]) -> _Found:
    """The rows of a mask in order of start."""
    rows = np.flatnonzero(keep)
    rows = rows[np.argsort(found.start[rows], kind="stable")]
    return found.take(rows)


def _spans(found: Records, window: Window) -> dict[str, NDArray[np.float64]]:
    """The three columns of a span."""
    start, end = ns(found.start - window.start), ns(found.end - window.start)
    return {"start_ts": start, "end_ts": end, "duration_ns": ns(found.end - found.start)}


def instructions(ran: Executed, core: int, window: Window, table: ProgramTable) -> pl.DataFrame:
    """Executed instructions: the span, wait, crc, and `row` in the program table."""
    kept = _inside(ran, window.holds(ran.start, ran.end) & (ran.pc >= 0))
    row = (table.first[core, kept.engine] + kept.pc).astype(np.uint32)
    return pl.DataFrame({**_spans(kept, window), "row": row, "wait": kept.wait, "crc": kept.crc})


def active(ran: pl.DataFrame, core: int, table: ProgramTable) -> pl.DataFrame:
    """The union of the instructions of each engine: start_ts, end_ts, engine, core. Spans that touch are one."""
    row = ran["row"].to_numpy()
    engine = np.where(table.waits[row], np.uint8(len(ENGINES)), table.engine[row])
    parts = []
    for index in sorted(range(len(ENGINES)), key=ENGINES.__getitem__):
        start, end = (ran[name].to_numpy()[engine == index] for name in ("start_ts", "end_ts"))
        first = np.flatnonzero(start > np.append(-1, np.maximum.accumulate(end)[:-1])[: len(start)])
        last = np.maximum.reduceat(end, first) if len(first) else end
        parts.append({"start_ts": start[first], "end_ts": last, "engine": np.full(len(first), index, np.uint8)})
    return pl.concat(map(pl.DataFrame, parts)).with_columns(core=pl.lit(core, pl.UInt8))


def packets(found: Packets, core: int, window: Window) -> tuple[pl.DataFrame, int]:
    """DMA packets: the span, engine, size, crc, and `ring`, 16 to a core; how many of busy table rings were left out.

    The runtime's own ring on each DMA engine (queue 14: instruction fetch and tables) is left out where one of its
    packets straddles the start of the execution, as the vendor's tool does; rings that carry data never are.
    """
    straddles = (found.start < window.start) & (found.end > window.start) & (found.queue == TABLE_QUEUE)
    busy = np.isin(found.engine, found.engine[straddles]) & (found.queue == TABLE_QUEUE)
    inside = window.holds(found.start, found.end)
    kept = _inside(found, inside & ~busy)
    columns = {"engine": kept.engine, "ring": kept.queue + np.uint16(core * QUEUES), "size": kept.size, "crc": kept.crc}
    return pl.DataFrame({**_spans(kept, window), **columns}), int((inside & busy).sum())


def semaphores(found: Changes, core: int, window: Window) -> pl.DataFrame:
    """Changes of semaphores: timestamp, value, and `semaphore`, 256 to a core."""
    kept = _inside(found, window.holds(found.start, found.end))
    semaphore = kept.index + np.uint16(core * SEMAPHORES)
    return pl.DataFrame({"timestamp": ns(kept.start - window.start), "semaphore": semaphore, "value": kept.value})


def throttles(found: Throttles, core: int, window: Window) -> pl.DataFrame:
    """Throttle windows: timestamp, duration, k, n, type, core. Without a length of the execution the last has no end."""
    keep = window.holds(found.start, found.start)
    if window.length is None:
        keep[-1:] = False
    kept = _inside(found, keep)
    span = {"timestamp": ns(kept.start - window.start), "duration": ns(np.maximum(kept.end - kept.start, 0))}
    rows = pl.DataFrame({**span, "k": kept.k, "n": kept.n, "type": kept.type})
    return rows.with_columns(core=pl.lit(core, pl.UInt8))
