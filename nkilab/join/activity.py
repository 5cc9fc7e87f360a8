"""Tables that follow from instructions and transfers: when engines are busy, DMAs in flight, their rate, and queues."""

from __future__ import annotations

import polars as pl

_USED = ("timestamp", "pcore_idx")


def tables(instructions: pl.DataFrame, transfers: pl.DataFrame, packets: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """ActiveTime, and where there are DMAs PendingDma, DmaUsage, HbmUsage and DmaQueuesInfo."""
    found = {"ActiveTime": _active(instructions)}
    if transfers.height:
        found |= {
            "PendingDma": _pending(transfers, instructions),
            "DmaUsage": _usage(transfers),
            "HbmUsage": _usage(transfers.filter((pl.col("source") == "hbm") | (pl.col("dest") == "hbm"))),
            "DmaQueuesInfo": _queues(transfers, packets),
        }
    return found


def execution(body_ns: float) -> pl.DataFrame:
    """ExecutionInfo: the one execution, from the first trigger of the body to its end."""
    return pl.DataFrame({"execution_index": [0], "execution_start_ts": [0.0], "execution_end_ts": [body_ns]})


def _active(rows: pl.DataFrame) -> pl.DataFrame:
    """The union of each engine's instructions on each core; spans that touch are one."""
    engine = ["pcore_idx", "engine"]
    rows = rows.select(*engine, "start_ts", "end_ts").sort(*engine, "start_ts")
    before = pl.col("end_ts").cum_max().shift(1).over(engine)
    rows = rows.with_columns(span=(before.is_null() | (pl.col("start_ts") > before)).cum_sum())
    spans = rows.group_by("span", maintain_order=True).agg(pl.first(*engine, "start_ts"), pl.max("end_ts")).drop("span")
    return spans.with_columns(duration_ns=pl.col("end_ts") - pl.col("start_ts"))


def _changes(rows: pl.DataFrame, name: str, value: pl.Expr) -> pl.DataFrame:
    """`value` is added to a level when a row begins and taken away when it ends: the level after each change."""
    up = rows.select("pcore_idx", timestamp="start_ts", change=value)
    down = rows.select("pcore_idx", timestamp="end_ts", change=-value)
    steps = pl.concat([up, down]).group_by(*_USED).agg(pl.col("change").sum()).sort("pcore_idx", "timestamp")
    return steps.select(*_USED, pl.col("change").cum_sum().over("pcore_idx").alias(name))


def _pending(transfers: pl.DataFrame, instructions: pl.DataFrame) -> pl.DataFrame:
    """DMAs that were triggered and whose data has not all landed."""
    triggers = instructions.select("id", trigger=pl.col("start_ts"))
    rows = transfers.join(triggers, left_on="instruction_id", right_on="id", how="left", maintain_order="left")
    rows = rows.with_columns(start_ts=pl.coalesce("trigger", "start_ts"))
    return _changes(rows, "value", pl.lit(1, pl.Int64))


def _usage(transfers: pl.DataFrame) -> pl.DataFrame:
    """The summed rate of the transfers that move data, each even over its time, and what has landed so far."""
    long = transfers.filter(pl.col("duration_ns") > 0)
    rate = _changes(long, "current_throughput", pl.col("throughput")).with_columns(
        pl.col("current_throughput").clip(0.0)
    )
    landed = transfers.sort("end_ts").select(
        "pcore_idx",
        timestamp="end_ts",
        total_transfer_bytes=pl.col("transfer_bytes").cum_sum().over("pcore_idx"),
    )
    landed = landed.group_by(*_USED).agg(pl.col("total_transfer_bytes").max())
    both = rate.join(landed, on=list(_USED), how="left").sort("pcore_idx", "timestamp")
    return both.with_columns(pl.col("total_transfer_bytes").forward_fill().over("pcore_idx").fill_null(0))


def _queues(transfers: pl.DataFrame, packets: pl.DataFrame) -> pl.DataFrame:
    """One row for each queue of a core and each DMA engine that served it."""
    owner = transfers.select(packet_aggregation_id="id", core="pcore_idx")
    rows = packets.join(owner, on="packet_aggregation_id", how="left", maintain_order="left")
    found = rows.group_by("core", "queue_idx", "engine_idx").agg(pl.col("queue_name", "queue_type").first())
    return found.sort("core", "queue_idx", "engine_idx").select(
        name="queue_name", type="queue_type", pcore_idx="core", idx="queue_idx", engine_idx="engine_idx"
    )
