"""An inspect folder as a `Profile`."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from nkilab.errors import InputError

from ...profile import Origin, Profile
from .events import events
from .info import trace_info
from .kineto import framework_events
from .records import source_of
from .usage import cpu, host_memory

MARKERS = ("ntrace.pb", "trace_info.pb")


def read(path: Path) -> Profile:
    """The system profile in an inspect folder.

    Args:
        path: the folder; any of ntrace.pb, trace_info.pb, cpu_util.pb, host_mem.pb and trace.json may be absent or empty.

    Raises:
        InputError: none of these files is there, or one is damaged.
    """
    if not any((path / name).is_file() for name in MARKERS):
        raise InputError(
            f"{path}: not an inspect folder", values=f"file {path}", rule="it holds ntrace.pb or trace_info.pb"
        )
    info = trace_info(source_of(path / "trace_info.pb"))
    notes = []
    parts = []
    if source := source_of(path / "ntrace.pb"):
        found, lonely = events(source, info)
        parts.append(found)
        notes += _event_notes(found, lonely)
    else:
        notes.append("ntrace.pb is empty or absent: no runtime events were recorded")
    if source := source_of(path / "trace.json"):
        parts.append(framework_events(source))
        if parts[-1].is_empty():
            notes.append("trace.json holds no complete event of PyTorch's profiler")
    tables = {"SystemProfileEvents": _joined(parts)}
    if source := source_of(path / "cpu_util.pb"):
        tables["CpuUsage"] = cpu(source, info)
    if source := source_of(path / "host_mem.pb"):
        tables["HostMemUsage"] = host_memory(source, info)
    facts = dict(info.facts)
    tables["Metadata"] = pl.DataFrame(
        {"key": list(facts), "value": list(facts.values())}, {"key": pl.String, "value": pl.String}
    )
    kept = {name: frame for name, frame in tables.items() if frame.height}
    return Profile.build(kept, Origin("inspect", str(path)), tuple(notes))


def _joined(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """All events in order of start, numbered anew."""
    have = [part for part in parts if part.height]
    if not have:
        return pl.DataFrame()
    rows = pl.concat(have, how="diagonal").sort("start_ts", maintain_order=True)
    return rows.drop("id", strict=False).with_row_index("id").cast({"id": pl.Int64})


def _event_notes(found: pl.DataFrame, lonely: int) -> list[str]:
    """What is missing among the events."""
    notes = []
    if lonely:
        notes.append(
            f"{lonely} starts or stops of runtime events have no partner: the trace was cut or events were lost"
        )
    if found["name"].str.starts_with("event_").any():
        notes.append("events without a name in trace_info.pb are shown by number")
    return notes
