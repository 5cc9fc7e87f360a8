"""ntrace.pb: what the runtime and the device did, starts and stops paired."""

from __future__ import annotations

import json

import numpy as np
import polars as pl

from ..wire import Source
from .info import EVENT_NAMES, TraceInfo
from .records import present, records, texts

START, STOP = 1, 2
DEVICE_EVENTS = ("nc_exec_running", "nc_model_switch")
_LIFTED = ("nc_idx", "device_core_idx", "worker_gid")
_UINT63 = (1 << 63) - 1


def events(source: Source, info: TraceInfo) -> tuple[pl.DataFrame, int]:
    """SystemProfileEvents in order of start, and how many starts or stops have no partner.

    A device event's duration is the difference of the device's own clock readings; its start is the host time that the
    runtime worked out. A start without a stop has no end; a stop without a start is left out.

    Raises:
        InputError: malformed.
    """
    columns = records(source, "event")
    names = {str(key): name for key, name in info.tables.get(EVENT_NAMES, {}).items()}
    numbers = {"ts": 2, "type": 7, "thread_id": 9, "event": 10, "phase": 14, "tracking": 15}
    raw = pl.DataFrame({name: columns.ints(number) for name, number in numbers.items()})
    flow = np.where(present(columns, 16), columns.ints(16), -1)
    owner, pairs = columns.rows(12)
    attributes = pl.DataFrame({"row": owner, "key": texts(pairs, 1), "value": texts(pairs, 2)})
    raw = raw.with_columns(pl.Series("flow_id", flow).replace(-1, None)).with_row_index("row").cast({"row": pl.Int64})
    named = pl.col("type").cast(pl.String)
    raw = raw.with_columns(
        name=pl.coalesce(named.replace_strict(names, default=None, return_dtype=pl.String), "event_" + named)
    )
    rows, lonely = _paired(raw)
    return _finished(rows, attributes, info), lonely


def _paired(raw: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Each start with its stop, and each instant; the k-th start of a tracking id with its k-th stop."""
    turn = pl.int_range(pl.len()).over("type", "tracking", "phase")
    raw = raw.with_columns(turn=turn)
    starts, stops = raw.filter(pl.col("phase") == START), raw.filter(pl.col("phase") == STOP)
    key = ["type", "tracking", "turn"]
    both = starts.join(stops.select(*key, stop="ts", stop_row="row"), on=key, how="left", maintain_order="left")
    instants = raw.filter(~pl.col("phase").is_in([START, STOP]))
    instants = instants.with_columns(stop=pl.col("ts"), stop_row=pl.lit(None, pl.Int64))
    paired = both["stop"].count()
    rows = pl.concat([both, instants.select(both.columns)]).sort("ts", maintain_order=True)
    return rows, (starts.height - paired) + (stops.height - paired)


def _finished(rows: pl.DataFrame, attributes: pl.DataFrame, info: TraceInfo) -> pl.DataFrame:
    """The columns of SystemProfileEvents."""
    rows = rows.with_row_index("id").cast({"id": pl.Int64})
    parts = [rows.select("id", row=column).drop_nulls() for column in ("row", "stop_row")]
    mine = pl.concat(parts).join(attributes, on="row", maintain_order="left")
    for key in (*_LIFTED, "nc_timestamp_ns"):
        found = mine.filter(pl.col("key") == key).select("id", pl.col("value").cast(pl.Int64, strict=False).alias(key))
        ends = found.group_by("id", maintain_order=True).agg(pl.first(key), pl.last(key).alias(f"{key}_stop"))
        rows = rows.join(ends, on="id", how="left", maintain_order="left")
    rows = rows.join(_as_json(mine), on="id", how="left", maintain_order="left")
    device = pl.col("name").is_in(DEVICE_EVENTS)
    ran = pl.when(device).then(pl.col("nc_timestamp_ns_stop") - pl.col("nc_timestamp_ns"))
    length = pl.when(pl.col("stop").is_not_null()).then(pl.coalesce(ran, pl.col("stop") - pl.col("ts")))
    return rows.select(
        "id",
        "name",
        start_ts="ts",
        end_ts=pl.col("ts") + length,
        duration_ns=length,
        trace_event_source=pl.when(device).then(pl.lit("device")).otherwise(pl.lit("runtime")),
        instance_id=pl.lit(info.instance_id or None, pl.String),
        process_id=pl.lit(info.pid if info.pid is not None and info.pid <= _UINT63 else None, pl.Int64),
        thread_id="thread_id",
        nc_idx="nc_idx",
        pcore_idx="device_core_idx",
        worker_gid="worker_gid",
        flow_id="flow_id",
        extra_attributes_json="extra_attributes_json",
    )


def _as_json(mine: pl.DataFrame) -> pl.DataFrame:
    """All attributes of each event as one JSON object; start and stop of a device reading are told apart."""
    again = pl.int_range(pl.len()).over("id", "key") > 0
    keyed = mine.with_columns(
        key=pl.when(again & (pl.col("key") == "nc_timestamp_ns")).then(pl.lit("nc_timestamp_ns_stop")).otherwise("key")
    )
    keyed = keyed.unique(["id", "key"], keep="first", maintain_order=True)
    quoted = keyed.with_columns(_quoted(keyed["key"]), _quoted(keyed["value"]))
    members = quoted.with_columns(member=pl.format("{}: {}", "key", "value"))
    inside = members.group_by("id", maintain_order=True).agg(pl.col("member").str.join(", "))
    return inside.select("id", extra_attributes_json=pl.concat_str(pl.lit("{"), "member", pl.lit("}")))


def _quoted(column: pl.Series) -> pl.Series:
    """Each text as a JSON string, worked out once per distinct text."""
    distinct = column.unique()
    return column.replace_strict(
        distinct, pl.Series([json.dumps(text) for text in distinct.to_list()], dtype=pl.String)
    )
