"""The Explorer's Parquet folder: one file per table (or several parts of one), schemas 7.x to 12.x.

The folder's own `SchemaFields` table and `Metadata.profile_schema_version` say what it holds. Facts: format note,
section 7, and the schema references of 7.4.0 and 12.0.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from ..profile import Origin, Profile
from ..schema import TABLES
from . import explorer_tables
from .folder import scan
from .source import unreadable
from .wire import malformed

KNOWN_MAJOR = 7
SIGNS = ("Instruction", "Metadata", "Summary", "DmaPacket", "SystemProfileEvents", "ExecutionInfo")
MAX_FILES = 4096
_PART = re.compile(r"([A-Z][A-Za-z]+)(?:[-_.](?:part[-_]?)?\d{1,9})?")


def is_explorer(folder: Path) -> bool:
    """Whether `folder` holds the Explorer's tables."""
    return any((folder / f"{name}.parquet").exists() for name in SIGNS) or any(
        (match := _PART.fullmatch(path.stem)) and match[1] in SIGNS for path in folder.glob("*.parquet")
    )


def read(folder: Path) -> Profile:
    """The profile in an Explorer folder; big tables stay on disk until they are asked for.

    Raises:
        InputError: no table in the folder, or a file that is no Parquet.
    """
    frames = _frames(folder)
    if not frames:
        raise unreadable(folder, "no Parquet table in it")
    try:
        return _profile(folder, frames)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise malformed(str(folder), "columns", 0, f"not the Explorer's tables: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    """The first line of an error's text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _profile(folder: Path, frames: Mapping[str, pl.LazyFrame]) -> Profile:
    """The profile over the Explorer's tables."""
    changes: list[str] = []
    units = explorer_tables.units(frames)
    tables = {name: explorer_tables.table(name, frame, units, changes) for name, frame in frames.items()}
    tables = explorer_tables.joined(tables, changes)
    facts = Profile.build({n: tables[n] for n in ("Metadata",) if n in tables}, Origin("parquet")).facts
    version = facts.get("profile_schema_version", "")
    origin = Origin("parquet", str(folder), facts.get("explorer_version", ""))
    profile = Profile.build(tables, origin)
    said = (*_version(version), *changes, *_lacking(tables), *_described(frames), *_executions(profile))
    return profile.with_tables({}, notes=said)


def _frames(folder: Path) -> dict[str, pl.LazyFrame]:
    """Every table by name; a table in several files (`Instruction_0`, `Instruction-part-1`, or a folder) is joined."""
    parts: dict[str, list[pl.LazyFrame]] = {}
    for path in sorted(folder.glob("*.parquet"), key=lambda path: (len(path.stem), path.stem))[:MAX_FILES]:
        match = _PART.fullmatch(path.stem)
        files = sorted(path.glob("*.parquet"))[:MAX_FILES] if path.is_dir() else [path]
        parts.setdefault(match[1] if match else path.stem, []).extend(scan(file) for file in files)
    return {
        name: found[0] if len(found) == 1 else pl.concat(found, how="diagonal_relaxed")
        for name, found in parts.items()
        if found
    }


def _version(version: str) -> list[str]:
    """What is said about the schema's version."""
    if not version:
        return ["the folder does not say its schema's version; read by names"]
    if version.partition(".")[0] != str(KNOWN_MAJOR):
        return [
            f"schema version {version} is not the {KNOWN_MAJOR}.x known best: read by names; unknown columns are kept"
        ]
    return []


def _lacking(tables: Mapping[str, pl.LazyFrame]) -> list[str]:
    """Columns of known tables that the folder does not have."""
    notes = []
    for name, frame in tables.items():
        if name in TABLES and name not in (*explorer_tables.WIDE, "Summary"):
            theirs = {c.name for c in TABLES[name].columns if not c.ours} - set(frame.collect_schema())
            if theirs:
                notes.append(f"{name} lacks {', '.join(sorted(theirs))}")
    return notes


def _described(frames: Mapping[str, pl.LazyFrame]) -> list[str]:
    """Tables that the folder's SchemaFields names and the folder does not hold."""
    if "SchemaFields" not in frames or "table_name" not in frames["SchemaFields"].collect_schema():
        return []
    named = set(frames["SchemaFields"].select("table_name").collect()["table_name"].to_list()) & set(TABLES)
    absent = sorted(named - set(frames))
    return [f"not in the folder: {', '.join(absent)}"] if absent else []


def _executions(profile: Profile) -> list[str]:
    """How to cut one execution out of several."""
    rows = profile.rows("ExecutionInfo").drop_nulls(["execution_start_ts", "execution_end_ts"])
    if rows.height < 2:
        return []
    spans = [
        f"{a / 1e3:g} to {b / 1e3:g} us"
        for a, b in rows.select("execution_start_ts", "execution_end_ts").head(8).rows()
    ]
    return [f"{rows.height} executions in one profile; between() cuts one out: {', '.join(spans)}"]
