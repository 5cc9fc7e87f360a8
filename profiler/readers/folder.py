"""nkilab's own folder: one Parquet file per table and a manifest with the schema's version."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl

from nkilab.errors import InputError, UsageError

from ..profile import Origin, Profile
from ..schema import SCHEMA_VERSION
from .source import bytes_of, json_value, shown
from .trial import tried
from .wire import malformed

MANIFEST = "manifest.json"
FORMAT = "nkilab.profile"


def save(profile: Profile, folder: Path) -> Path:
    """Write every table of `profile` into `folder`, which must be new, empty, or a profile saved before.

    Raises:
        UsageError: the folder holds something else, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not is_own(folder):
            raise UsageError(f"{folder} is not empty and not a saved profile", fix="name a new folder")
        for name in profile.names:
            profile.table(name).write_parquet(folder / f"{name}.parquet", compression="zstd", statistics=False)
        (folder / MANIFEST).write_text(json.dumps(_manifest(profile, folder), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}") from error
    return folder


def _manifest(profile: Profile, folder: Path) -> dict[str, Any]:
    """What `read` needs beside the tables."""
    origin = profile.origin
    return {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "origin": {"kind": origin.kind, "path": shown(origin.path), "producer": origin.producer},
        "notes": [shown(note) for note in profile.notes],
        "tables": {name: _digest(folder / f"{name}.parquet") for name in profile.names},
    }


def is_own(folder: Path) -> bool:
    """Whether `folder` is a profile saved by nkilab."""
    manifest = folder / MANIFEST
    return manifest.is_file() and FORMAT.encode() in bytes(bytes_of(manifest)[:256])


def read(folder: Path) -> Profile:
    """The profile in a folder written by `save`; tables stay on disk until they are asked for.

    Raises:
        InputError: the manifest is damaged, a table it names is missing, or a newer nkilab wrote it.
    """
    manifest = _read_manifest(folder / MANIFEST)
    version = str(manifest["schema_version"])
    if version.partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
        raise InputError(
            f"{folder}: schema version {version}, this nkilab reads {SCHEMA_VERSION}",
            fix="use the nkilab that wrote it",
        )
    for name, digest in manifest["tables"].items():
        path = folder / f"{name}.parquet"
        if _digest(path) != digest:
            raise malformed(str(path), "sha256", 0, "not the Parquet file that was saved")
    tables = {name: scan(folder / f"{name}.parquet") for name in manifest["tables"]}
    return Profile.build(tables, Origin(**manifest["origin"]), tuple(manifest["notes"]))


def _digest(path: Path) -> str:
    """SHA-256 of a file. Raises InputError like `bytes_of`."""
    return hashlib.sha256(bytes_of(path)).hexdigest()


def scan(path: Path) -> pl.LazyFrame:
    """One Parquet file, lazily; it is checked now. Raises InputError like `trial.tried`."""
    tried(path)
    try:
        frame = pl.scan_parquet(path, glob=False)
        frame.collect_schema()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise malformed(str(path), "footer", 0, "not a readable Parquet file") from error
    return frame


def _read_manifest(path: Path) -> dict[str, Any]:
    """The manifest, checked."""
    try:
        manifest = json_value(bytes(bytes_of(path)))
        origin, tables, notes = manifest["origin"], manifest["tables"], manifest["notes"]
        fine = all(
            isinstance(x, str)
            for x in (*tables, *tables.values(), *notes, *origin.values(), manifest["schema_version"])
        )
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise malformed(str(path), str(error)[:80], 0, "not the manifest of a saved profile") from error
    if (
        not fine
        or set(origin) != {"kind", "path", "producer"}
        or any("/" in t or "\\" in t or t.startswith(".") for t in tables)
    ):
        raise malformed(str(path), "tables", 0, "not the manifest of a saved profile")
    return dict(manifest)
