"""Kept rows as the tables of the profile schema, made when they are asked for. Nothing in here can fail."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from ..neff.debug_info import DEPENDENCES
from ..neff.program import Neff, queue_name
from .clocks import PS_PER_NS
from .metadata import Graph
from .opcodes import ENGINES
from .program_table import COLUMNS, ProgramTable
from .rows import QUEUES, SEMAPHORES, TABLE_QUEUE

_DMA_PER_PAIR = 32
_SPAN = ("start_ts", "end_ts", "duration_ns")
_ID = pl.int_range(pl.len(), dtype=pl.Int64)


def _of(values: pl.Series, index: pl.Expr) -> pl.Expr:
    """The value at each index; one number or text for all rows where there is only one, which takes no memory."""
    if values.n_unique() == 1:
        return pl.lit(values[0], dtype=values.dtype)
    return pl.lit(values).gather(index)


def _number(name: str) -> pl.Expr:
    """A column of whole numbers."""
    return pl.col(name).cast(pl.Int64)


def instruction(rows: pl.DataFrame, table: ProgramTable, clock_ghz: float | None) -> pl.LazyFrame:
    """Instruction; `clock_ghz` is the engines' clock, in which they count waits."""
    program = {name: _of(table.rows[name], pl.col("row")) for name in COLUMNS}
    wait = _of(_waits(clock_ghz), pl.col("wait"))
    crc = {"crc_in": _number("crc") & 0xFFFF, "crc_out": _number("crc") // (1 << 16)}
    return rows.lazy().select(*_SPAN, id=_ID, evt_wait_time_ns=wait, **crc, **program)


def _waits(clock_ghz: float | None) -> pl.Series:
    """Each wait counter in ns, to the picosecond, in the single precision in which the vendor's tool divides."""
    if clock_ghz is None:
        return pl.Series([None], dtype=pl.Float64)
    ps = np.floor(np.arange(1 << 16, dtype=np.float32) * np.float32(1000) / np.float32(clock_ghz))
    return pl.Series(ps.astype(np.float64) / 1000)


def active(rows: pl.DataFrame) -> pl.LazyFrame:
    """ActiveTime."""
    engine = _of(pl.Series(ENGINES), pl.col("engine"))
    length = pl.col("end_ts") - pl.col("start_ts")
    return rows.lazy().select("start_ts", "end_ts", duration_ns=length, engine=engine, pcore_idx=_number("core"))


def packet(rows: pl.DataFrame, graphs: Sequence[Graph]) -> pl.LazyFrame:
    """DmaPacket."""
    names, kinds = _rings(graphs)
    ring, core = pl.col("ring"), _number("ring") // QUEUES
    first = pl.Series([_DMA_PER_PAIR * (graph.nc // 2) for graph in graphs], dtype=pl.Int64)
    ps = (pl.col("duration_ns") * PS_PER_NS).round()
    moved = {name: _number("size") for name in ("read_bytes", "write_bytes", "transfer_bytes")}
    return rows.lazy().select(
        *_SPAN, id=_ID, pcore_idx=core, engine_idx=_number("engine") + _of(first, core), queue_idx=_number("ring") % QUEUES,
        queue_name=_of(names, ring), queue_type=_of(kinds, ring), **moved,
        throughput=pl.when(ps > 0).then(pl.col("size").cast(pl.Float64) * 1e12 / ps), crc=_number("crc"),
    )  # fmt: skip


def _rings(graphs: Sequence[Graph]) -> tuple[pl.Series, pl.Series]:
    """Names and kinds by core and queue; null where the file names none, or kinds are not proven."""
    names: list[str | None] = []
    kinds: list[str | None] = []
    for graph in graphs:
        named = {queue.index: queue_name(queue.name) for queue in reversed(graph.queues) if queue.index != TABLE_QUEUE}
        kind = {index: _kind(name) for index, name in named.items()} | {TABLE_QUEUE: "instruction"}
        names += [named.get(index) for index in range(QUEUES)]
        kinds += [kind.get(index) for index in range(QUEUES)]
    return pl.Series(names, dtype=pl.String), pl.Series(kinds, dtype=pl.String)


def _kind(name: str) -> str | None:
    """software_dynamic or hardware_dynamic, from the queue's name."""
    return {"Dynamic": "software_dynamic", "DynamicHW": "hardware_dynamic"}.get(
        "Dynamic" + name.rpartition("Dynamic")[2] if "Dynamic" in name else ""
    )


def semaphore(rows: pl.DataFrame, graphs: Sequence[Graph], neff: Neff | None) -> pl.LazyFrame:
    """SemaphoreUpdate."""
    named = [neff.semaphores.get(graph.name, {}) if neff else {} for graph in graphs]
    shown = [f"S[{i}] ({names[i]})" if i in names else str(i) for names in named for i in range(SEMAPHORES)]
    return rows.lazy().select(
        "timestamp",
        id=_of(pl.Series(shown), pl.col("semaphore")),
        value=_number("value"),
        pcore_idx=_number("semaphore") // SEMAPHORES,
    )


def throttle(rows: pl.DataFrame) -> pl.LazyFrame:
    """Throttle."""
    kept = {name: _number(name) for name in ("k", "n", "type")}
    return rows.lazy().select("timestamp", "duration", **kept, pcore_idx=_number("core"))


def flow(pairs: pl.DataFrame, rows: pl.DataFrame) -> pl.LazyFrame:
    """Flow: each instruction of `rows` after the ones it depends on; gap_time is its start minus the other's end."""
    before, after = pl.col("id_right"), pl.col("id")
    return pairs.lazy().select(
        in_id=before.cast(pl.Int64),
        out_id=after.cast(pl.Int64),
        in_table=pl.lit("Instruction"),
        out_table=pl.lit("Instruction"),
        dependency_type=_of(pl.Series(DEPENDENCES), pl.col("kind")),
        gap_time=pl.lit(rows["start_ts"]).gather(after) - pl.lit(rows["end_ts"]).gather(before),
    )
