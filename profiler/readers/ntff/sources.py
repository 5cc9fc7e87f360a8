"""The kernel's source files, found under a folder that the user names; never by the path that a profile states."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

import polars as pl

MAX_FILES = 100
MAX_BYTES = 1 << 20
_SCHEMA = {"file": pl.String, "sha256": pl.String, "text": pl.String}


def sources(rows: pl.DataFrame, root: Path | None) -> pl.DataFrame:
    """Source: text and hash of each file that instructions point at, found by the longest end of its path under `root`."""
    if root is None or "file" not in rows.columns:
        return pl.DataFrame(schema=_SCHEMA)
    found = []
    for file in rows["file"].drop_nulls().unique().sort().head(MAX_FILES).to_list():
        text = _text(root, file)
        if text is not None:
            found.append((file, hashlib.sha256(text.encode()).hexdigest(), text))
    return pl.DataFrame(found, _SCHEMA, orient="row")


def _text(root: Path, file: str) -> str | None:
    """The text of one file, None where it is not under `root`, too large, or no text."""
    parts = [part for part in PurePosixPath(file).parts if part not in ("/", "..", ".")]
    base = root.resolve()
    for first in range(len(parts)):
        path = base.joinpath(*parts[first:]).resolve()
        try:
            if path.is_relative_to(base) and path.is_file() and path.stat().st_size <= MAX_BYTES:
                return path.read_text("utf-8")
        except (OSError, ValueError):
            return None
    return None
