"""ntrace.pb: what the runtime and the device did, starts and stops paired."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..wire import Source
from .info import EVENT_NAMES, TraceInfo
from .records import CHUNK, present, records, texts

Ints = NDArray[np.int64]
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
    names = {str(key): name for key, name in info.tables.get(EVENT_NAMES, {}).items()}
    raw, attributes, keys = _raw(source)
    named = pl.col("type").cast(pl.String)
    rows, lonely = _paired(raw)
    del raw
    rows = rows.with_columns(
        name=pl.coalesce(named.replace_strict(names, default=None, return_dtype=pl.String), "event_" + named)
    )
    rows = rows.with_row_index("id").cast({"id": pl.Int64})
    parts = (rows[at : at + CHUNK] for at in range(0, max(1, rows.height), CHUNK))
    return pl.concat(_finished(part, _of(part, attributes, keys), info) for part in parts), lonely


def _raw(source: Source) -> tuple[pl.DataFrame, pl.DataFrame, pl.Series]:
    """The records as they stand, their attributes in order of record, and the texts of the attributes' keys."""
    numbers = {"ts": 2, "type": 7, "thread_id": 9, "phase": 14, "tracking": 15}
    parts, attributes, keys, base = [], [], dict[str, int](), 0
    for columns in records(source, "event"):
        part = pl.DataFrame({name: columns.ints(number) for name, number in numbers.items()})
        flow = pl.Series("flow_id", np.where(present(columns, 16), columns.ints(16), -1))
        parts.append(part.with_columns(flow.replace(-1, None)))
        owner, pairs = columns.rows(12)
        code = np.array([keys.setdefault(key, len(keys)) for key in texts(pairs, 1)], np.uint32)
        values = pl.Series(texts(pairs, 2), dtype=pl.String)
        attributes.append(pl.DataFrame({"row": owner + base, "key": code, "value": values}))
        base += columns.count
    raw = pl.concat(parts).with_row_index("row").cast({"row": pl.Int64})
    return raw, pl.concat(attributes, rechunk=True), pl.Series(list(keys), dtype=pl.String)


def _of(rows: pl.DataFrame, attributes: pl.DataFrame, keys: pl.Series) -> pl.DataFrame:
    """The attributes of the records from which `rows` were made."""
    mine = pl.concat([rows["row"], rows["stop_row"]]).drop_nulls().unique().sort()
    first, behind = (attributes["row"].search_sorted(mine, side=side).to_numpy() for side in ("left", "right"))
    size = (behind - first).astype(np.int64)
    at = np.arange(size.sum()) + np.repeat(first - (np.cumsum(size) - size), size)
    found = attributes.select(pl.all().gather(at))
    return found.with_columns(keys.gather(found["key"]).alias("key"))


def _paired(raw: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Each start with its stop, and each instant, in order of time; how many starts and stops have no partner."""
    phase, ts = raw["phase"].to_numpy(), raw["ts"].to_numpy()
    stop_row = _stops(raw["type"].to_numpy(), raw["tracking"].to_numpy(), phase)
    stop = np.where(phase == START, ts[stop_row], ts)
    known = stop_row >= 0
    kept = np.concatenate([np.flatnonzero(phase == START), np.flatnonzero((phase != START) & (phase != STOP))])
    kept = kept[np.argsort(ts[kept], kind="stable")]
    ends = pl.DataFrame({"stop": stop[kept], "stop_row": stop_row[kept], "known": known[kept] | (phase[kept] != START)})
    rows = raw[kept].hstack(
        ends.select(pl.when("known").then("stop"), pl.when(pl.col("stop_row") >= 0).then("stop_row"))
    )
    return rows, int(np.isin(phase, (START, STOP)).sum() - 2 * known.sum())


def _stops(kind: Ints, tracking: Ints, phase: Ints) -> Ints:
    """The row of each start's stop, else -1: the k-th start of a type and tracking id with its k-th stop."""
    order = np.lexsort((tracking, kind))
    new = (np.diff(kind[order]) != 0) | (np.diff(tracking[order]) != 0)
    group = np.cumsum(np.append(0, new)[: len(order)])
    keys, rows = [], []
    for wanted in (START, STOP):
        mine = phase[order] == wanted
        of = group[mine]
        turn = np.arange(len(of)) - np.searchsorted(of, of)
        keys.append(of * len(order) + turn)
        rows.append(order[mine])
    found = np.full(len(order), -1)
    _, first, last = np.intersect1d(keys[0], keys[1], assume_unique=True, return_indices=True)
    found[rows[0][first]] = rows[1][last]
    return found


def _finished(rows: pl.DataFrame, attributes: pl.DataFrame, info: TraceInfo) -> pl.DataFrame:
    """The columns of SystemProfileEvents."""
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
