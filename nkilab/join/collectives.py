"""The CcOp and CoreBarriers tables: collectives between ranks, and where the cores of one wait for each other."""

from __future__ import annotations

import polars as pl

from nkilab.join.columns import Joinable, frame, named
from nkilab.profiler.schema import ENGINES
from nkilab.simulator.values.dtypes import TABLE

_BARRIER = "core_barrier"
_BETWEEN_CORES = (_BARRIER, "sendrecv")


def barriers(joined: Joinable) -> pl.DataFrame | None:
    """CoreBarriers, one row for each core's part in a barrier, from when its data is there until all go on; None without any."""
    trace = joined.trace["collectives"]
    parts = frame(trace, "part").select(
        trace_row=pl.col("instruction").cast(pl.Int64),
        pcore_idx=pl.col("core").cast(pl.Int64),
        meeting=pl.col("meeting").cast(pl.Int64),
        compiler_opcode=named(trace["api"], joined.names["api"]),
    )
    parts = parts.filter(pl.col("compiler_opcode") == _BARRIER)
    if parts.is_empty():
        return None
    ends = frame(joined.timing.collectives, "row").select(pl.col("trace_row").cast(pl.Int64), "start", "end")
    columns = joined.timing.instructions
    rows = frame(columns, "id").select(
        "id", pl.col("trace_row").cast(pl.Int64), engine_name=named(columns["engine"], ENGINES)
    )
    flows = frame(joined.timing.flows, "flow").filter(~pl.col("consumer_is_dma"))
    waited = flows.group_by(id=pl.col("consumer").cast(pl.Int64)).agg(pl.col("gap").min())
    rows = rows.join(waited, on="id", how="left", maintain_order="left").unique("trace_row", keep="first").drop("id")
    rows = parts.join(ends, on="trace_row").join(rows, on="trace_row", how="left").sort("start", "pcore_idx")
    begin = pl.col("start") - pl.col("gap").fill_null(0.0).clip(0.0)
    return rows.select(
        "pcore_idx",
        "compiler_opcode",
        "engine_name",
        start_ts=begin,
        end_ts="end",
        duration_ns=pl.col("end") - begin,
        id="meeting",
        compiler_pc="trace_row",
    )


def table(joined: Joinable) -> pl.DataFrame | None:
    """CcOp, one row for each collective that the rank takes part in (its cores take part together); None without any.

    Start: the last member is there. What a simulation has no value for is null: stream, bandwidths.
    """
    trace = joined.trace["collectives"]
    parts = frame(trace, "part").select(
        pl.col("meeting").cast(pl.Int64),
        pl.col("sent", "received"),
        trace_row=pl.col("instruction").cast(pl.Int64),
        operation=named(trace["api"], joined.names["api"]),
        replica_group=named(trace["group"], joined.names["group"]),
    )
    parts = parts.filter(~pl.col("operation").is_in(_BETWEEN_CORES))
    if parts.is_empty():
        return None
    times = frame(joined.timing.collectives, "row").select(
        pl.col("trace_row").cast(pl.Int64), "start", "end", "algorithm"
    )
    written = joined.accesses().filter(pl.col("write")).group_by("trace_row", maintain_order=True).first()
    types = written.select("trace_row", dtype=named(written["dtype"].to_numpy(), joined.names["dtype"]))
    rows = parts.join(times, on="trace_row").join(types, on="trace_row", how="left")
    rows = rows.unique("meeting", keep="first", maintain_order=True).sort("start", "meeting").with_row_index("id")
    sizes = pl.col("dtype").replace_strict({name: dtype.itemsize for name, dtype in TABLE.items()}, default=None)
    return rows.select(
        pl.col("id").cast(pl.Int64),
        "operation",
        "dtype",
        "replica_group",
        "algorithm",
        start_ts="start",
        end_ts="end",
        duration_ns=pl.col("end") - pl.col("start"),
        num_elements=pl.col("received") // sizes,
        op_id="meeting",
        trigger_engine=pl.lit("GpSimd"),
        input_size="sent",
        output_size="received",
        trigger_start_ts="start",
    )
