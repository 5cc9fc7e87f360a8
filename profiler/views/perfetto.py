"""A profile as a Chrome trace-event file, which the Perfetto UI (ui.perfetto.dev) opens offline or online.

Format: "Trace Event Format" (Google, docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU), JSON
object form: "X" complete spans, "C" counters, "M" names, "s"/"f" flow arrows; times in microseconds.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import polars as pl

from ..profile import Profile
from . import theme
from .timeline.counters import Counter
from .timeline.gather import dependences, gather
from .timeline.spans import Spans
from .writing import write

Event = dict[str, Any]


def to_perfetto(profile: Profile, path: str | PathLike[str], *, force: bool = False) -> Path:
    """Write `profile` as a trace that Perfetto opens; gzip-compressed where the name ends in `.gz`.

    Tracks become threads, groups of tracks processes; a span's arguments hold its source line and details.

    Args:
        profile: a simulated or measured profile.
        path: the file to write.
        force: replace an existing file.

    Returns:
        The path written.

    Raises:
        UsageError: the file exists and `force` is not set, or it cannot be written.
    """
    text = json.dumps(
        {"displayTimeUnit": "ns", "traceEvents": list(events(profile))}, separators=(",", ":"), allow_nan=False
    )
    raw = text.encode("utf-8")
    return write(path, gzip.compress(raw, mtime=0) if Path(path).suffix == ".gz" else raw, force=force)


def events(profile: Profile) -> Iterator[Event]:
    """The trace events of a profile: names of tracks, spans, counters, flow arrows."""
    drawn = gather(profile)
    threads = _threads(drawn.spans)
    yield from _names(threads)
    for part, rows in zip(drawn.spans, threads.partition_by("part", maintain_order=True), strict=True):
        yield from _spans(part, rows)
    last = _top(threads, "pid")
    for number, counter in enumerate(drawn.counters):
        yield from _counter(counter, last + 1 + number)
    yield from _arrows(dependences(profile, drawn.spans), threads)


def _threads(parts: tuple[Spans, ...]) -> pl.DataFrame:
    """One row per span over all parts: part, group, track, order, lane, pid, tid, start (ns).

    Perfetto nests what overlaps in one thread, so spans that overlap get threads of their own, one per lane.
    """
    keys = ("group", "track", "order")
    known = [
        pl.DataFrame(
            schema={
                "part": pl.Int32,
                **dict.fromkeys(keys[:2], pl.String),
                "order": pl.Int64,
                "start": pl.Float64,
                "end": pl.Float64,
            }
        )
    ]
    known += [
        part.frame.select(pl.lit(n, pl.Int32).alias("part"), *keys, "start", "end") for n, part in enumerate(parts)
    ]
    rows = pl.concat(known)
    rows = rows.with_columns(lane=pl.Series(_lanes(rows), dtype=pl.Int64))
    threads = (
        rows.select(*keys, "lane")
        .unique()
        .sort("order", "group", "track", "lane")
        .with_columns(tid=pl.int_range(1, pl.len() + 1))
    )
    groups = rows.group_by("group").agg(pl.col("order").min().alias("first")).sort("first", "group")
    numbered = groups.select("group", pid=pl.int_range(1, pl.len() + 1))
    return rows.join(threads, on=[*keys, "lane"], how="left", maintain_order="left").join(
        numbered, on="group", how="left", maintain_order="left"
    )


def _lanes(rows: pl.DataFrame) -> list[int]:
    """First lane of its track that is free, per span; rows of a track are sorted by start."""
    free: dict[tuple[str, str], list[float]] = {}
    lanes = []
    for group, track, start, end in rows.select("group", "track", "start", "end").iter_rows():
        ends = free.setdefault((group, track), [])
        lane = next((k for k, time in enumerate(ends) if time <= start), len(ends))
        ends[lane : lane + 1] = [end]
        lanes.append(lane)
    return lanes


def _top(threads: pl.DataFrame, column: str) -> int:
    return int(threads.select(pl.col(column).max().fill_null(0)).item()) if threads.height else 0


def _names(threads: pl.DataFrame) -> Iterator[Event]:
    for row in threads.unique("pid", keep="first", maintain_order=True).iter_rows(named=True):
        yield {"ph": "M", "name": "process_name", "pid": row["pid"], "args": {"name": row["group"]}}
        yield {"ph": "M", "name": "process_sort_index", "pid": row["pid"], "args": {"sort_index": row["pid"]}}
    for row in threads.unique("tid", keep="first", maintain_order=True).iter_rows(named=True):
        place = {"pid": row["pid"], "tid": row["tid"]}
        name = f"{row['track']} ({row['lane'] + 1})" if row["lane"] else row["track"]
        yield {"ph": "M", "name": "thread_name", **place, "args": {"name": name}}
        yield {"ph": "M", "name": "thread_sort_index", **place, "args": {"sort_index": row["tid"]}}


def _spans(part: Spans, rows: pl.DataFrame) -> Iterator[Event]:
    """Complete events, one per span."""
    detailed = ("file", "line", "function", *part.details)
    for row in part.frame.with_columns(rows["pid"], rows["tid"]).iter_rows(named=True):
        yield {
            "ph": "X",
            "name": row["name"],
            "cat": theme.SHADES[row["class"]].name,
            "pid": row["pid"],
            "tid": row["tid"],
            "ts": row["start"] / 1e3,
            "dur": (row["end"] - row["start"]) / 1e3,
            "args": {name: row[name] for name in detailed if row[name] is not None},
        }


def _counter(counter: Counter, pid: int) -> Iterator[Event]:
    yield {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": counter.group}}
    name = f"{counter.name} ({counter.unit})"
    for t, value in counter.frame.iter_rows():
        yield {"ph": "C", "name": name, "pid": pid, "ts": t / 1e3, "args": {counter.unit: value}}


def _arrows(flows: pl.DataFrame, threads: pl.DataFrame) -> Iterator[Event]:
    """A start and a finish for each dependence, each inside the span that it belongs to."""
    places = threads.select("pid", "tid", "start")
    made, used = places[flows["in_row"].to_numpy()], places[flows["out_row"].to_numpy()]
    kinds = flows["dependency_type"].fill_null("dependence").to_list()
    for number, (kind, a, b) in enumerate(zip(kinds, made.iter_rows(), used.iter_rows(), strict=True)):
        about = {"cat": "dependence", "name": kind, "id": number}
        yield {"ph": "s", **about, "pid": a[0], "tid": a[1], "ts": a[2] / 1e3}
        yield {"ph": "f", "bp": "e", **about, "pid": b[0], "tid": b[1], "ts": b[2] / 1e3}
