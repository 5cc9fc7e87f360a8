"""The timeline's JSON (`nkilab.timeline/1`, docs/timeline-json.md) from a profile."""

from __future__ import annotations

import gzip
import json
from typing import Any

import polars as pl

from ...analyses.lines import lines
from ...profile import Profile
from ...schema import ENGINES
from .. import theme
from . import counters, encode, spans
from .encode import Field
from .gather import MOST_PACKETS, dependences, gather
from .spans import Spans

SCHEMA = "nkilab.timeline/1"


def timeline(profile: Profile, title: str = "", *, most_packets: int = MOST_PACKETS) -> dict[str, Any]:
    """Everything the timeline draws, as a JSON value of schema `nkilab.timeline/1`.

    Args:
        profile: a simulated or measured profile; tables it does not have become notes, not empty tracks.
        title: shown above the timeline.
        most_packets: with more DMA packets than this the DMA engines' tracks are left out, and a note says so.
    """
    drawn = gather(profile, most_packets)
    parts = drawn.spans
    everything = pl.concat([part.frame.select(spans.COLUMNS) for part in parts]) if parts else spans.nothing()
    table = _lines(everything)
    return {
        "schema": SCHEMA,
        "title": title,
        "modelled": profile.origin.simulated,
        "time": {"unit": "ns", "tick": encode.TICK_NS, "end": _end(everything, drawn.counters)},
        "classes": [{"name": s.name, "light": s.light, "dark": s.dark} for s in theme.SHADES],
        "tracks": [*_span_tracks(everything), *map(_counter_track, drawn.counters)],
        "spans": _span_columns(everything, table),
        "details": _details(parts),
        "flows": _flows(profile, parts),
        "lines": {
            "file": encode.text(table["file"]),
            "line": encode.integers(table["line"].to_numpy()),
            "function": encode.text(table["function"]),
            "times": _line_times(profile, table),
        },
        "sources": profile.rows("Source").select("file", "text").drop_nulls().to_dicts(),
        "notes": list(drawn.notes),
    }


def pack(data: dict[str, Any]) -> bytes:
    """The JSON text of `data`, gzip-compressed; the same bytes for the same data."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return gzip.compress(text.encode("utf-8"), compresslevel=6, mtime=0)


def _end(frame: pl.DataFrame, drawn: tuple[counters.Counter, ...]) -> float:
    """End of the last span or sample, ns."""
    ends = [frame["end"].max(), *(counter.frame["t"].max() for counter in drawn)]
    return max((float(end) for end in ends if isinstance(end, (int, float))), default=0.0)


def _span_tracks(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """One entry per run of rows of the same track; spans of a track are contiguous and sorted by start."""
    runs = (
        frame.with_row_index("row")
        .group_by("order", "group", "track", maintain_order=True)
        .agg(first=pl.col("row").min(), count=pl.len())
    )
    return [
        {
            "kind": "spans",
            "group": r["group"],
            "name": r["track"],
            "order": r["order"],
            "first": r["first"],
            "count": r["count"],
        }
        for r in runs.iter_rows(named=True)
    ]


def _counter_track(counter: counters.Counter) -> dict[str, Any]:
    return {
        "kind": "counter",
        "group": counter.group,
        "name": counter.name,
        "order": 2_000_000,
        "unit": counter.unit,
        "class": counter.shade,
        "top": counter.top,
        "t": encode.integers(encode.ticks(counter.frame["t"])),
        "v": encode.floats(counter.frame["v"].to_numpy()),
    }


def _lines(frame: pl.DataFrame) -> pl.DataFrame:
    """The source lines that spans name, in order of file and line."""
    return (
        frame.select("file", "line", "function")
        .drop_nulls(["file", "line"])
        .unique(["file", "line"])
        .sort("file", "line")
    )


def _line_times(profile: Profile, table: pl.DataFrame) -> list[dict[str, Any]]:
    """Per class, the time of each source line in ns, as the analysis `lines` defines it."""
    if table.is_empty():
        return []
    answer = lines(profile).rows
    times = []
    for name in (*ENGINES, "DMA"):
        column = f"{name.lower()}_ns"
        ns = table.join(answer, on=["file", "line"], how="left", maintain_order="left")[column].fill_null(0.0)
        if float(ns.sum()) > 0:
            times.append({"class": theme.index(name), "ns": encode.floats(ns.to_numpy())})
    return times


def _span_columns(frame: pl.DataFrame, table: pl.DataFrame) -> dict[str, Field | int]:
    """The columns that every span has."""
    rows = table.with_row_index("row").select("file", "line", pl.col("row").cast(pl.Int64))
    line = frame.select("file", "line").join(rows, on=["file", "line"], how="left", maintain_order="left")["row"]
    start = encode.ticks(frame["start"])
    return {
        "count": frame.height,
        "start": encode.integers(start),
        "duration": encode.integers(encode.ticks(frame["end"]) - start),
        "name": encode.text(frame["name"]),
        "class": encode.integers(frame["class"].to_numpy()),
        "line": encode.integers(line.fill_null(-1).to_numpy()),
    }


def _details(parts: tuple[Spans, ...]) -> list[dict[str, Any]]:
    """Detail columns, each over the run of spans that its table filled."""
    details, first = [], 0
    for part in parts:
        for name, unit in part.details.items():
            details.append({"name": name, "unit": unit, "first": first, "values": encode.column(part.frame[name])})
        first += part.frame.height
    return details


def _flows(profile: Profile, parts: tuple[Spans, ...]) -> dict[str, Field | int]:
    """Dependences between spans, both ends known, sorted by the one that waits."""
    flows = dependences(profile, parts)
    return {
        "count": flows.height,
        "offset": encode.integers((flows["in_row"] - flows["out_row"]).to_numpy()),
        "to": encode.integers(flows["out_row"].to_numpy()),
        "kind": encode.text(flows["dependency_type"]),
    }
