"""The CcOp and CoreBarriers tables: collectives between ranks, and where the cores of one wait for each other."""

from __future__ import annotations

import polars as pl

from nkilab.join.columns import Joinable, frame, named
from nkilab.join.operands import operands
from nkilab.profiler.schema import ENGINES
from nkilab.simulator.values.dtypes import TABLE

_BARRIER = "core_barrier"
_BETWEEN_CORES = (_BARRIER, "sendrecv")
_SHARED = ("all_gather", "reduce_scatter", "all_to_all")


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
    core = pl.Series(joined.trace["instructions"]["core"])
    rows = rows.with_columns(core=core.gather(rows["trace_row"]))
    rows = rows.with_columns(compiler_pc=pl.int_range(pl.len(), dtype=pl.Int64).over("core", "engine_name"))
    rows = rows.unique("trace_row", keep="first", maintain_order=True).drop("id", "core")
    rows = parts.join(ends, on="trace_row").join(rows, on="trace_row", how="left")
    for more in (_held(joined), operands(joined, parts)):
        rows = rows.join(more, on="trace_row", how="left")
    rows = rows.sort("start", "pcore_idx")
    begin = pl.col("start") - pl.col("held").fill_null(0.0)
    return rows.select(
        "pcore_idx",
        "compiler_opcode",
        "engine_name",
        "compiler_pc",
        start_ts=begin,
        end_ts="end",
        duration_ns=pl.col("end") - begin,
        id="meeting",
        compiler_operands="operands",
    )


def table(joined: Joinable) -> pl.DataFrame | None:
    """CcOp, one row for each collective that the rank takes part in (its cores take part together); None without any.

    Trigger: what the rank's own trigger waits for is done; start: the last member is there. There are no streams: null.
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
    rows = rows.join(_held(joined), on="trace_row", how="left", maintain_order="left")
    sizes = pl.col("dtype").replace_strict({name: dtype.itemsize for name, dtype in TABLE.items()}, default=None)
    duration = pl.col("end") - pl.col("start")
    rate = pl.when(duration > 0).then(pl.max_horizontal("sent", "received") / duration * 1e9)
    return rows.select(
        pl.col("id").cast(pl.Int64),
        "operation",
        "dtype",
        "replica_group",
        "algorithm",
        start_ts="start",
        end_ts="end",
        duration_ns=duration,
        num_elements=pl.col("received") // sizes,
        op_id="meeting",
        trigger_engine=pl.lit("GpSimd"),
        input_size="sent",
        output_size="received",
        algorithm_bandwidth=rate,
        bus_bandwidth=rate * _carried(),
        trigger_start_ts=pl.col("start") - pl.col("held"),
        cc_trigger_start_delay="held",
    )


def _held(joined: Joinable) -> pl.DataFrame:
    """`trace_row` and `held`: from when all that the instruction waits for in its own core is done to its start."""
    flows = frame(joined.timing.flows, "flow").filter(~pl.col("consumer_is_dma"))
    row = pl.Series(joined.timing.instructions["trace_row"]).cast(pl.Int64)
    found = flows.select("gap", trace_row=row.gather(flows["consumer"].cast(pl.Int64)))
    return found.group_by("trace_row").agg(held=pl.col("gap").min().clip(0.0))


def _carried() -> pl.Expr:
    """What of the algorithm's rate each rank's links carry; null for operations that have no such formula."""
    first = pl.col("replica_group").str.extract(r"\[\[?([^\]]*)\]", 1)
    ranks = first.str.extract_all(r"\d+").list.len().cast(pl.Float64)
    others = pl.when(ranks > 0).then((ranks - 1) / ranks)
    shared = pl.when(pl.col("operation").is_in(_SHARED)).then(others)
    return pl.when(pl.col("operation") == "all_reduce").then(2 * others).otherwise(shared)
