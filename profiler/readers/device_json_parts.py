"""How each table of the vendor's device JSON becomes one of ours: renames, spans, cores, text to numbers."""

from __future__ import annotations

import polars as pl

from ..schema import ENGINES

_ENGINE = {name.lower(): name for name in ENGINES} | {
    "pe": "Tensor",
    "act": "Scalar",
    "pool": "GpSimd",
    "dve": "Vector",
    "sp": "Sync",
}
_METADATA = {
    "pe_num_rows": "tensor_engine_num_rows",
    "pe_num_cols": "tensor_engine_num_cols",
    "pe_clock_freq": "tensor_engine_clock_freq",
    "pe_clock_others": "neuroncore_clock_freq",
}
_INSTRUCTION = {
    "label": "timeline_track",
    "subgroup": "engine",
    "evt_wait_time": "evt_wait_time_ns",
    "instruction_type": "tensor_instruction_type",
    "activation_fn": "scalar_activation_fn",
    "elements": "tensor_elements",
}
_DMA = {
    "dma_engine": "engine_idx",
    "dma_queue": "queue_idx",
    "transfer_size": "transfer_bytes",
    "read_size": "read_bytes",
    "write_size": "write_bytes",
    "transfer_rate": "throughput",
    "subgroup": "queue_name",
}
_QUEUE = {
    "q_name": "name",
    "q_type": "type",
    "q_idx": "idx",
    "q_eng_idx": "engine_idx",
    "q_axi_port": "axi_port",
    "q_dram_channel": "dram_channel",
}
_LOCATION = r"""^[\s\["']*(.+?):(\d{1,9})(?::\d+)?["'\]]?\s*(?:[,;].*)?$"""
"""The first of the places that a text names: the vendor's tool lists all of which a fused instruction was made."""
LOCATED = (
    pl.col("nki_source_location").cast(pl.String).str.extract(_LOCATION, 1).alias("file"),
    pl.col("nki_source_location").cast(pl.String).str.extract(_LOCATION, 2).cast(pl.Int64).alias("line"),
)


def as_it_is(rows: pl.DataFrame) -> pl.DataFrame:
    """A table whose names are ours already."""
    return rows


def on_core(rows: pl.DataFrame) -> pl.DataFrame:
    """`subgraph` ("sg00", the physical core of an LNC pair) as `pcore_idx`."""
    if "subgraph" not in rows.columns or "pcore_idx" in rows.columns:
        return rows
    return rows.with_columns(pcore_idx=pl.col("subgraph").cast(pl.String).str.extract(r"(\d+)$").cast(pl.Int64))


def _spans(rows: pl.DataFrame, start: str = "timestamp", duration: str = "duration") -> pl.DataFrame:
    """`start` and `duration` as start_ts, end_ts and duration_ns."""
    if start not in rows.columns or duration not in rows.columns:
        return rows
    begin, length = pl.col(start).cast(pl.Float64), pl.col(duration).cast(pl.Float64)
    return rows.with_columns(start_ts=begin, end_ts=begin + length, duration_ns=length).drop(start, duration)


def _rename(rows: pl.DataFrame, names: dict[str, str]) -> pl.DataFrame:
    """Rename the columns that are there."""
    return rows.rename({old: new for old, new in names.items() if old in rows.columns and new not in rows.columns})


def _lists_as_text(rows: pl.DataFrame, *names: str) -> pl.DataFrame:
    """Lists of names, as the vendor writes sources and destinations, as one text each."""
    for name in names:
        dtype = rows.schema.get(name)
        if isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.List):
            rows = rows.with_columns(pl.col(name).list.eval(pl.element().cast(pl.List(pl.String)).list.join("/")))
        if isinstance(dtype, pl.List):
            rows = rows.with_columns(pl.col(name).cast(pl.List(pl.String)).list.join(", "))
    return rows


def _yes_no(rows: pl.DataFrame, *names: str) -> pl.DataFrame:
    """The vendor's "yes" and "no" (or "true" and "false") as booleans."""
    present = [name for name in names if name in rows.columns]
    return rows.with_columns(pl.col(name).cast(pl.String).str.to_lowercase().is_in(["yes", "true"]) for name in present)


def _no_empty_text(rows: pl.DataFrame) -> pl.DataFrame:
    """The vendor's "" for unknown, as null."""
    return rows.with_columns(
        pl.when(pl.col(name) != "").then(pl.col(name)).alias(name)
        for name, dtype in rows.schema.items()
        if dtype == pl.String
    )


def instruction(rows: pl.DataFrame) -> pl.DataFrame:
    """Instructions with their engine, core, FLOPs and source line."""
    rows = on_core(_no_empty_text(_spans(_rename(rows, _INSTRUCTION)))).drop("predecessors", strict=False)
    rows = located(_rename(rows, {"bir_debug_info_source_location": "nki_source_location"}))
    if "engine" in rows.columns:
        rows = rows.with_columns(pl.col("engine").str.to_lowercase().replace(_ENGINE).alias("engine"))
    if "tensor_elements" in rows.columns:
        rows = rows.with_columns(raw_flops=pl.col("tensor_elements").cast(pl.Int64) * 2)
        if "tensor_instruction_type" in rows.columns:
            transpose = pl.when(pl.col("tensor_instruction_type") == "TRANSPOSE").then("raw_flops")
            rows = rows.with_columns(flops_transpose=transpose)
    return rows


def located(rows: pl.DataFrame) -> pl.DataFrame:
    """`nki_source_location` ("path:line" or "path:line:column") as `file` and `line`."""
    return rows.with_columns(*LOCATED) if "nki_source_location" in rows.columns else rows


def flow(rows: pl.DataFrame) -> pl.DataFrame:
    """The `predecessors` of instructions, one row per dependence."""
    dtype = rows.schema.get("predecessors")
    if not isinstance(dtype, pl.List) or not isinstance(dtype.inner, pl.Struct) or "id" not in rows.columns:
        return pl.DataFrame()
    pairs = rows.select(in_id=pl.col("id"), of="predecessors").explode("of").drop_nulls("of")
    return pairs.select(
        pl.col("of").struct.field("id").alias("in_id"),
        pl.col("in_id").alias("out_id"),
        pl.lit("Instruction").alias("in_table"),
        pl.lit("Instruction").alias("out_table"),
        pl.col("of").struct.field("type").alias("dependency_type"),
    )


def dma_packet(rows: pl.DataFrame) -> pl.DataFrame:
    """DMA packets."""
    rows = on_core(_spans(_rename(rows, _DMA)))
    return _lists_as_text(_yes_no(rows, "is_cc_dma", "duplicate"), "source", "dest")


def active_time(rows: pl.DataFrame) -> pl.DataFrame:
    """Busy intervals, engines spelled as everywhere else."""
    return on_core(rows).with_columns(pl.col("engine").str.to_lowercase().replace(_ENGINE).alias("engine"))


def cc_op(rows: pl.DataFrame) -> pl.DataFrame:
    """Collective operations."""
    rows = _spans(_rename(rows, {"cc_trigger": "trigger_start_ts"}))
    return _lists_as_text(rows, "replica_group")


def dma_usage(rows: pl.DataFrame) -> pl.DataFrame:
    """DMA throughput over time."""
    return _yes_no(on_core(_rename(rows, {"transfer_rate": "current_throughput"})), "uses_hbm")


def _usage(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    """One memory of `instruction_usage`, without the columns that the other one fills."""
    mine = on_core(rows.filter(pl.col("type") == kind)).drop("type")
    empty = [name for name in mine.columns if mine[name].null_count() == mine.height]
    return mine.drop(empty).rename({"usage_avg": "avg_util_percent"}, strict=False)


def sbuf_usage(rows: pl.DataFrame) -> pl.DataFrame:
    """SBUF use over time."""
    return _usage(rows, "sb")


def psum_usage(rows: pl.DataFrame) -> pl.DataFrame:
    """PSUM use over time."""
    return _usage(rows, "psum")


def tensor_info(rows: pl.DataFrame) -> pl.DataFrame:
    """Named tensors of the program; rows without a name stand for graphs and are left out."""
    rows = _rename(_no_empty_text(rows), {"sg_name": "subgraph"})
    return on_core(rows).drop("subgraph", strict=False).filter(pl.col("variable_name").is_not_null())


def dma_queues(rows: pl.DataFrame) -> pl.DataFrame:
    """DMA queues."""
    return on_core(_rename(rows, _QUEUE))


def hbm_usage(rows: pl.DataFrame) -> pl.DataFrame:
    """HBM in use by kind."""
    return _rename(rows, {"nd": "neuron_device_idx", "nc": "neuroncore_idx", "amount_bytes": "usage_bytes"})


def layer_summary(rows: pl.DataFrame) -> pl.DataFrame:
    """Spans of layers."""
    return _spans(rows.drop("end", strict=False), "start")


def facts(rows: pl.DataFrame) -> pl.DataFrame:
    """The first row as (key, value) texts."""
    flat = rows.head(1).select(pl.selectors.by_dtype(pl.String, pl.Boolean) | pl.selectors.numeric())
    found = flat.select(pl.all().cast(pl.String)).unpivot(variable_name="key", value_name="value").drop_nulls("value")
    return found.sort("key")  # polars gives the members of an object in any order


def metadata(rows: pl.DataFrame) -> pl.DataFrame:
    """Facts about the machine and the run, under the Explorer's names."""
    return facts(_rename(rows, _METADATA))


def summary(rows: pl.DataFrame) -> pl.DataFrame:
    """The vendor's metrics: numbers as `value`, texts as `text`."""
    flat = rows.head(1)
    numbers = flat.select(pl.selectors.numeric().cast(pl.Float64)).unpivot(variable_name="metric", value_name="value")
    texts = flat.select(pl.selectors.string()).unpivot(variable_name="metric", value_name="text")
    have = [part for part in (numbers, texts) if not part.is_empty()]
    return pl.concat(have, how="diagonal_relaxed").sort("metric") if have else pl.DataFrame()
