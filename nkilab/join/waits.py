"""Semaphores as far as the clock has them: who waited for other engines and DMAs, how long, and what told it to go on.

The clock knows which instruction waits for which, not which of the device's semaphores the compiler takes for it. So each
engine and each DMA queue has one here, named after it, that counts: an engine's those of its instructions that another
engine or a DMA waits for, a queue's all of its transfers.
"""

from __future__ import annotations

import polars as pl

from nkilab.join.columns import Joinable, frame, named
from nkilab.profiler.schema import ENGINES

_HELD = ("core_barrier", "sendrecv")
"""What waits for the other core; a collective's own trigger waits for nothing beyond its operands."""


def waited(joined: Joinable) -> pl.DataFrame:
    """`id` and `evt_wait_time_ns` of each device instruction.

    From the end of the one before on its engine until the last other engine, queue or core that it waits for lets it
    go; 0 where none is later than that.
    """
    rows = _rows(joined)
    met = _foreign(joined, rows).group_by("id").agg(other=pl.col("gap").min())
    any_met = _waits(joined).group_by("id").agg(least=pl.col("gap").min())
    rows = rows.join(met, on="id", how="left").join(any_met, on="id", how="left").sort("core", "engine", "start", "id")
    last = pl.when(pl.col("other") <= pl.col("least")).then(pl.min_horizontal("ready", "start"))
    held = (
        pl.when(pl.col("api").is_in(_HELD)).then("start").otherwise(last.otherwise(pl.col("start") - pl.col("other")))
    )
    before = pl.col("end").cum_max().shift(1).over("core", "engine").fill_null(0.0)
    return rows.select("id", evt_wait_time_ns=(held - before).clip(0.0).fill_null(0.0)).sort("id")


def updates(joined: Joinable, transfers: pl.DataFrame) -> pl.DataFrame:
    """SemaphoreUpdate: each count of an engine's or a queue's semaphore, when the instruction or transfer has ended."""
    rows = _rows(joined)
    told = _foreign(joined, rows).filter(~pl.col("producer_is_dma")).join(rows.select("id", "start"), on="id")
    done = told.group_by(id="producer").agg(done=(pl.col("start") - pl.col("gap")).max())
    engines = rows.join(done, on="id").select(timestamp="done", id="engine", pcore_idx="core", update_source="engine")
    queues = transfers.select(
        "pcore_idx", timestamp="end_ts", id="queue_name", update_source=pl.lit("AXI", dtype=pl.String)
    )
    both = pl.concat([engines, queues.select(engines.columns)]).sort("timestamp", "pcore_idx", "id")
    return both.with_columns(
        value=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("pcore_idx", "id"),
        update_operation_type=pl.lit("sem_inc"),
        update_trigger_timing=pl.lit("complete"),
    )


def _rows(joined: Joinable) -> pl.DataFrame:
    """Device instructions: id, engine, core, api, start, end, ready."""
    columns = joined.timing.instructions
    program = frame(joined.trace["instructions"], "trace_row").select(
        "trace_row", pl.col("core").cast(pl.Int64), api=named(joined.trace["instructions"]["api"], joined.names["api"])
    )
    rows = frame(columns, "id").select(
        "id", "start", "end", "ready", pl.col("trace_row").cast(pl.Int64), engine=named(columns["engine"], ENGINES)
    )
    return rows.join(program, on="trace_row", how="left", maintain_order="left")


def _waits(joined: Joinable) -> pl.DataFrame:
    """Dependences with `id`, the instruction that waits: of a transfer its trigger."""
    flows = joined.timing.flows
    issue = pl.Series(joined.timing.dma["issue"]).cast(pl.Int64)
    rows = frame(flows, "flow").with_columns(pl.col("producer", "consumer").cast(pl.Int64))
    if issue.is_empty():
        return rows.with_columns(id="consumer")
    of = pl.when("consumer_is_dma").then("consumer").otherwise(0).map_batches(issue.gather, return_dtype=pl.Int64)
    return rows.with_columns(id=pl.when("consumer_is_dma").then(of).otherwise("consumer"))


def _foreign(joined: Joinable, rows: pl.DataFrame) -> pl.DataFrame:
    """The dependences on a transfer, or on another engine's instruction."""
    engines = rows.select("id", "engine")
    waits = _waits(joined).join(engines, on="id", how="left")
    waits = waits.join(engines.rename({"id": "producer", "engine": "by"}), on="producer", how="left")
    return waits.filter(pl.col("producer_is_dma") | (pl.col("by") != pl.col("engine")))
