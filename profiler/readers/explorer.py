"""The Explorer's Parquet folder: one file per table, schema 7.x by our names, others by what the files say of themselves.

Schema 7.4.0 names are ours, so most tables pass as they are. Later schemas may rename columns: the folder's own
`SchemaFields` table and `Metadata.profile_schema_version` say what it holds; columns that we do not know are kept.
Facts: format note, section 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from ..profile import Origin, Profile
from ..schema import TABLES
from .device_json_parts import LOCATED
from .folder import scan
from .source import unreadable

TESTED_MAJOR = 7
SIGNS = ("Instruction", "Metadata", "Summary", "DmaPacket", "SystemProfileEvents", "ExecutionInfo")
_WIDE = ("Metadata", "NeffHeader", "SystemProfileMetadata")
_ENGINE_NAME = {"tensor": "Tensor", "vector": "Vector", "scalar": "Scalar", "gpsimd": "GpSimd", "sync": "Sync"}


def is_explorer(folder: Path) -> bool:
    """Whether `folder` holds the Explorer's tables."""
    return any((folder / f"{name}.parquet").is_file() for name in SIGNS)


def read(folder: Path) -> Profile:
    """The profile in an Explorer folder; big tables stay on disk until they are asked for.

    Raises:
        InputError: no table in the folder, or a file that is no Parquet.
    """
    frames = {path.stem: scan(path) for path in sorted(folder.glob("*.parquet"))}
    if not frames:
        raise unreadable(folder, "no Parquet table in it")
    tables = {name: _table(name, frame) for name, frame in frames.items()}
    facts = Profile.build({n: tables[n] for n in ("Metadata",) if n in tables}, Origin("parquet")).facts
    version = facts.get("profile_schema_version", "")
    origin = Origin("parquet", str(folder), facts.get("explorer_version", ""))
    return Profile.build(tables, origin, _notes(version, frames))


def _table(name: str, frame: pl.LazyFrame) -> pl.LazyFrame:
    """One table of the Explorer as ours."""
    if name in _WIDE:
        return _long(frame, "key", "value")
    if name == "Summary":
        return _summary(frame)
    if "engine" in frame.collect_schema() and name in TABLES:
        frame = frame.with_columns(pl.col("engine").cast(pl.String).replace(_ENGINE_NAME))
    return _instruction(frame) if name == "Instruction" else frame


def _long(frame: pl.LazyFrame, key: str, value: str) -> pl.LazyFrame:
    """One wide row as (key, value) texts, values without one left out."""
    schema = frame.collect_schema()
    if {key, value} <= set(schema):
        return frame
    flat = frame.head(1).select(pl.col(name).cast(pl.String) for name, dtype in schema.items() if not dtype.is_nested())
    return flat.unpivot(variable_name=key, value_name=value).drop_nulls(value)


def _summary(frame: pl.LazyFrame) -> pl.LazyFrame:
    """One wide row of metrics as (metric, value, text)."""
    if "metric" in frame.collect_schema():
        return frame
    row = frame.head(1)
    numbers = row.select(pl.selectors.numeric().cast(pl.Float64)).unpivot(variable_name="metric", value_name="value")
    texts = row.select(pl.selectors.string()).unpivot(variable_name="metric", value_name="text")
    return pl.concat([numbers.drop_nulls("value"), texts.drop_nulls("text")], how="diagonal")


def _instruction(frame: pl.LazyFrame) -> pl.LazyFrame:
    """`file` and `line` from the source location."""
    columns = set(frame.collect_schema())
    if "nki_source_location" not in columns or columns & {"file", "line"}:
        return frame
    return frame.with_columns(*LOCATED)


def _notes(version: str, frames: Mapping[str, pl.LazyFrame]) -> tuple[str, ...]:
    """What the folder's own schema says beyond the one known here."""
    notes = []
    if not version:
        notes.append("the folder does not say its schema's version; read by names")
    elif version.partition(".")[0] != str(TESTED_MAJOR):
        notes.append(
            f"schema version {version}: written after {TESTED_MAJOR}.x, read by names; unknown columns are kept"
        )
    for name, frame in frames.items():
        if name in TABLES and name not in (*_WIDE, "Summary"):
            theirs = {c.name for c in TABLES[name].columns if not c.ours} - set(frame.collect_schema())
            if theirs:
                notes.append(f"{name} lacks {', '.join(sorted(theirs))}")
    return (*notes, *_described(frames))


def _described(frames: Mapping[str, pl.LazyFrame]) -> list[str]:
    """Tables that the folder's SchemaFields names and the folder does not hold."""
    if "SchemaFields" not in frames or "table_name" not in frames["SchemaFields"].collect_schema():
        return []
    named = set(frames["SchemaFields"].select("table_name").collect()["table_name"].to_list()) & set(TABLES)
    absent = sorted(named - set(frames))
    return [f"not in the folder: {', '.join(absent)}"] if absent else []
