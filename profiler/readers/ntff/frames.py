"""Decoded records as the tables of the profile schema."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..neff.program import Neff, queue_name
from .clocks import ns
from .events import Executed, Packets
from .metadata import Graph
from .opcodes import ENGINES
from .program_table import COLUMNS, ProgramTable

Ints = NDArray[np.int64]

_TABLE_QUEUE, _QUEUES = 14, 16
_QUEUE_TYPES = {2: "weights"}
_MEMORY = {
    "generic": "Generic", "pe": "Tensor Instructions", "act": "Scalar Instructions", "pool": "GpSimd Instructions",
    "io": "IO", "spill": "DRAM Spill", "weight": "Weights", "profiler buffers": "Profiler Buffers",
    "act table": "Scalar Table", "dve": "Vector Instructions", "sp": "Sync Instructions",
    "shared scratchpad": "Shared Scratchpad", "tensor": "Tensors", "ucode": "Ucode lib", "pool stdio": "GpSimd STDIO",
    "collectives": "Collectives", "scratchpad": "Scratchpad", "xt cc": "XT CC (unused)",
    "dma rings runtime": "DMA Rings Runtime", "dma rings spill": "DMA Rings Spill", "dma rings io": "DMA Rings IO",
    "dma rings collectives": "DMA Rings Collectives",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Window:
    """The execution on the device's clock, picoseconds: its start, and its length or None."""

    start: int
    length: int | None

    def holds(self, start: Ints, end: Ints) -> NDArray[np.bool_]:
        """Which spans lie in it whole."""
        inside = (start >= self.start) & (end >= start)
        return inside & (end - self.start <= self.length) if self.length is not None else inside

    def ns(self, time: Ints) -> NDArray[np.float64]:
        """Nanoseconds since the start."""
        return ns(time - self.start)


def _spans(window: Window, start: Ints, end: Ints) -> dict[str, NDArray[np.float64]]:
    """The three columns of a span."""
    return {"start_ts": window.ns(start), "end_ts": window.ns(end), "duration_ns": ns(end - start)}


def instructions(
    ran: Executed, core: int, window: Window, table: ProgramTable, clock_ghz: float | None
) -> pl.DataFrame:
    """Instruction rows of one core, in order of start. Ids are given later, over all cores."""
    ran = ran.take(_in_order(window.holds(ran.start, ran.end) & (ran.pc >= 0), ran.start))
    engine, pc, start, end = ran.engine, ran.pc, ran.start, ran.end
    static = table.rows.select(COLUMNS)[table.first[core, engine] + pc]
    names = pl.Series(ENGINES).gather(engine)
    matmul = static["opcode"] == "MATMUL"
    moving = pl.DataFrame(_spans(window, start, end)).with_columns(
        engine=names,
        timeline_track=pl.Series(["TensorMatrix"]).new_from_index(0, len(pc)).zip_with(matmul, names),
        pcore_idx=pl.lit(core, pl.Int64),
        pc=pl.Series(pc),
        evt_wait_time_ns=_waits(ran.wait, clock_ghz),
        crc_in=pl.Series(ran.crc & 0xFFFF),
        crc_out=pl.Series(ran.crc >> 16),
    )
    return moving.hstack(static)


def _in_order(keep: NDArray[np.bool_], start: Ints) -> Ints:
    """The rows of a mask in order of start."""
    rows = np.flatnonzero(keep)
    return rows[np.argsort(start[rows], kind="stable")]


def _waits(cycles: Ints, clock_ghz: float | None) -> pl.Series:
    """Wait counters in ns, to the picosecond, in the single precision in which the vendor's tool divides."""
    if clock_ghz is None:
        return pl.Series([None], dtype=pl.Float64).new_from_index(0, len(cycles))
    ps = np.floor(cycles.astype(np.float32) * np.float32(1000) / np.float32(clock_ghz))
    return pl.Series(ps.astype(np.float64) / 1000)


def active(rows: pl.DataFrame) -> pl.DataFrame:
    """ActiveTime: the union of each engine's instructions on each core. Spans that touch are one."""
    if rows.is_empty():
        return pl.DataFrame()
    rows = rows.select("engine", "pcore_idx", "start_ts", "end_ts", "opcode")  # before the filter, which copies
    rows = rows.filter(pl.col("opcode") != "EVENT_SEMAPHORE").drop("opcode").sort("pcore_idx", "engine", "start_ts")
    before = pl.col("end_ts").cum_max().shift(1).over("pcore_idx", "engine")
    begins = (before.is_null() | (pl.col("start_ts") > before)).cum_sum()
    spans = rows.with_columns(span=begins).group_by("span", maintain_order=True)
    merged = spans.agg(pl.first("engine", "pcore_idx", "start_ts"), pl.max("end_ts")).drop("span")
    return merged.with_columns(duration_ns=pl.col("end_ts") - pl.col("start_ts"))


def dma(found: Packets, graph: Graph, window: Window) -> tuple[pl.DataFrame, int]:
    """DmaPacket rows of one core, in order of start, and how many packets of busy table rings were left out.

    The runtime's own ring on each DMA engine (queue 14: instruction fetch and tables) is left out where one of its
    packets straddles the start of the execution, as the vendor's tool does; rings that carry data never are.
    """
    straddles = (found.start < window.start) & (found.end > window.start) & (found.queue == _TABLE_QUEUE)
    busy = np.isin(found.engine, found.engine[straddles]) & (found.queue == _TABLE_QUEUE)
    inside = window.holds(found.start, found.end)
    kept = found.take(_in_order(inside & ~busy, found.start))
    start, end, size, queue = kept.start, kept.end, kept.size, kept.queue
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(end > start, size * 1e12 / (end - start), np.nan)
    names, kinds, moved = *_rings(graph), pl.Series(size)
    frame = pl.DataFrame(_spans(window, start, end)).with_columns(
        pcore_idx=pl.lit(graph.core, pl.Int64),
        engine_idx=pl.Series(kept.engine),
        queue_idx=pl.Series(queue),
        read_bytes=moved,
        write_bytes=moved,
        transfer_bytes=moved,
        throughput=pl.Series(rate).fill_nan(None),
        crc=pl.Series(kept.crc),
        queue_name=names.gather(queue),
        queue_type=kinds.gather(queue),
    )
    return frame, int((inside & busy).sum())


def _rings(graph: Graph) -> tuple[pl.Series, pl.Series]:
    """Names and kinds by queue index on one core; null where the file names none, or kinds are not proven."""
    names = {queue.index: queue_name(queue.name) for queue in reversed(graph.queues) if queue.index != _TABLE_QUEUE}
    kinds = {index: _kind(name) for index, name in names.items()} | {_TABLE_QUEUE: "instruction"}
    texts = ([of.get(index) for index in range(_QUEUES)] for of in (names, kinds))
    first, second = (pl.Series(text, dtype=pl.String) for text in texts)
    return first, second


def _kind(name: str) -> str | None:
    """software_dynamic or hardware_dynamic, from the queue's name."""
    return {"Dynamic": "software_dynamic", "DynamicHW": "hardware_dynamic"}.get(
        "Dynamic" + name.rpartition("Dynamic")[2] if "Dynamic" in name else ""
    )


def semaphores(changes: tuple[Ints, Ints, Ints], graph: Graph, window: Window, neff: Neff | None) -> pl.DataFrame:
    """SemaphoreUpdate rows of one core, in order of time."""
    time, index, value = changes
    keep = _in_order(window.holds(time, time), time)
    names = neff.semaphores.get(graph.name, {}) if neff else {}
    shown = pl.Series([f"S[{i}] ({names[i]})" if i in names else str(i) for i in range(256)])
    columns = {"timestamp": window.ns(time[keep]), "id": shown.gather(index[keep]), "value": value[keep]}
    return pl.DataFrame(columns).with_columns(pcore_idx=pl.lit(graph.core, pl.Int64))


def throttles(found: tuple[Ints, Ints, Ints, Ints], graph: Graph, window: Window) -> pl.DataFrame:
    """Throttle rows of one core: each window lasts until the next, the last until the last whole nanosecond."""
    time, k, n, kind = found
    end = np.append(time[1:], window.start + (window.length or 0) // 1000 * 1000) if len(time) else time
    keep = window.holds(time, time)
    if window.length is None and len(time):
        keep[-1] = False
    columns = {
        "timestamp": window.ns(time[keep]),
        "duration": ns(np.maximum(end - time, 0)[keep]),
        "k": k[keep],
        "n": n[keep],
        "type": kind[keep],
    }
    return pl.DataFrame(columns).with_columns(pcore_idx=pl.lit(graph.core, pl.Int64))


def model(
    graph: Graph, event_count: int, rows: pl.DataFrame, packets: pl.DataFrame, clock_ghz: float | None
) -> pl.DataFrame:
    """ModelInfo of one core.

    Its cycles are counted to the end of the last instruction; what was traced is events, instructions and packets. Both
    were found by comparison with the vendor's table on eight cores of four runs.
    """
    end_ps = round(float(rows["end_ts"].to_numpy().max()) * 1000) if rows.height else 0
    cycles = int(end_ps * round(clock_ghz * 10) // 10_000) if clock_ghz and end_ps else None
    columns = {
        "sg_name": graph.name,
        "nc_idx": graph.nc,
        "neuroncore_cycle_count": cycles,
        "event_count": event_count,
        "trace_count": event_count + rows.height + packets.height,
        "dma_queue_count": len(graph.queues),
    }
    types = {name: pl.String if name == "sg_name" else pl.Int64 for name in columns}
    return pl.DataFrame({name: [value] for name, value in columns.items()}, types)


def queues(graph: Graph) -> pl.DataFrame:
    """DmaQueuesInfo: one row per queue name, with its last engine, as the vendor's table has it."""
    last = {queue.name: queue for queue in graph.queues}
    rows = [
        (
            queue_name(q.name),
            _QUEUE_TYPES.get(q.type),
            graph.core,
            q.index,
            q.engine,
            q.channel if q.channel >= 0 else None,
        )
        for q in last.values()
    ]
    schema = {
        "name": pl.String, "type": pl.String, "pcore_idx": pl.Int64, "idx": pl.Int64, "engine_idx": pl.Int64,
        "dram_channel": pl.Int64,
    }  # fmt: skip
    return pl.DataFrame(rows, schema, orient="row")


def memory(graph: Graph) -> pl.DataFrame:
    """HbmUsageSummaryByType of one core, with the vendor's names and its total."""
    rows = [(graph.nc, _MEMORY.get(name, name), size) for _, size, name in graph.memory if name]
    rows += [(graph.nc, "Total", sum(size for *_, size in rows))] if rows else []
    return pl.DataFrame(
        rows, {"neuroncore_idx": pl.Int64, "usage_type": pl.String, "usage_bytes": pl.Int64}, orient="row"
    )
