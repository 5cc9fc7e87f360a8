"""A PyTorch (Kineto) trace.json beside a system trace: what the framework did on the host."""

from __future__ import annotations

import re

import polars as pl

from ..jsontables import frame, outline
from ..source import json_start
from ..wire import Source

_BASE = re.compile(rb'"baseTimeNanoseconds"\s*:\s*(\d{1,19})')
_EDGE = 1 << 16
_LATEST = 1 << 62
_LATEST_US = 4e15  # the year 2096 in microseconds since the epoch, from which older files count
_NEEDED = {"ph": pl.String, "name": pl.String, "ts": pl.Float64, "dur": pl.Float64, "pid": pl.Int64, "tid": pl.Int64}


def framework_events(source: Source) -> pl.DataFrame:
    """SystemProfileEvents of the trace's complete events ("ph": "X"), in unix nanoseconds.

    Raises:
        InputError: no valid JSON.
    """
    data = memoryview(source.data)
    start = json_start(data)
    if start < 0:
        raise source.fail("trace", 0, "no JSON object")
    spans = {span.name: span for span in outline(data, source.file, start)}
    if "traceEvents" not in spans:
        return pl.DataFrame()
    rows = frame(data, source.file, spans["traceEvents"])
    if not {"ph", "name", "ts"} <= set(rows.columns):
        return pl.DataFrame()
    rows = rows.select(
        pl.col(name).cast(dtype, strict=False)
        if name in rows.columns and not rows.schema[name].is_nested()
        else pl.lit(None, dtype).alias(name)
        for name, dtype in _NEEDED.items()
    )
    rows = rows.filter((pl.col("ph") == "X") & pl.col("ts").is_finite() & (pl.col("ts").abs() < _LATEST_US))
    base = _base(data)
    length = pl.when((pl.col("dur") >= 0) & (pl.col("dur") < 1e15)).then(
        (pl.col("dur") * 1000).round().cast(pl.Int64, strict=False)
    )
    begin = (pl.col("ts") * 1000).round().cast(pl.Int64, strict=False) + base
    return rows.select(
        "name",
        start_ts=begin,
        end_ts=begin + length,
        duration_ns=length,
        trace_event_source=pl.lit("framework"),
        process_id="pid",
        thread_id="tid",
    )


def _base(data: memoryview) -> int:
    """The moment that times count from, 0 where the file does not say (older files count from the epoch)."""
    for edge in (data[:_EDGE], data[-_EDGE:]):
        match = _BASE.search(bytes(edge))
        if match and int(match[1]) < _LATEST:
            return int(match[1])
    return 0
