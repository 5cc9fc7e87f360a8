"""The kernel's source files, found under a folder that the user names; never by the path that a profile states."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

import polars as pl

from nkilab.errors import UsageError

from ..conform import collect
from ..profile import Profile
from .source import is_folder, shown

MAX_FILES = 100
MAX_BYTES = 1 << 20
MAX_PARTS = 64
_SCHEMA = {"file": pl.String, "sha256": pl.String, "text": pl.String}


def with_sources(profile: Profile, root: Path | None) -> Profile:
    """`profile` with the text of each file that its instructions point at and that it does not carry itself.

    Args:
        profile: read from any source.
        root: the folder under which files are looked for, by the longest end of their path; None: nothing is read.

    Raises:
        UsageError: `root` is no folder.
    """
    if root is not None and not is_folder(root):
        raise UsageError(
            f"source_root={shown(root)}: no such folder", fix="name the folder that holds the kernel's sources"
        )
    if root is None or "Instruction" not in profile.names:
        return profile
    carried = profile.rows("Source").select(*_SCHEMA)
    named = profile.scan("Instruction").select(pl.col("file").drop_nulls().unique().sort())
    files = collect("Instruction", named, profile.origin.path)["file"]  # only this column of a table not yet made
    found = []
    for file in files.filter(~files.is_in(carried["file"].to_list())).head(MAX_FILES).to_list():
        text = _text(root, file)
        if text is not None:
            found.append((file, hashlib.sha256(text.encode()).hexdigest(), text))
    if not found:
        return profile
    return profile.with_tables({"Source": pl.concat([carried, pl.DataFrame(found, _SCHEMA, orient="row")])})


def _text(root: Path, file: str) -> str | None:
    """The text of one file, None where it is not under `root`, too large, or no text."""
    parts = [part for part in PurePosixPath(file).parts if part not in ("/", "..", ".")][-MAX_PARTS:]
    try:
        base = root.resolve()
        for first in range(len(parts)):
            path = base.joinpath(*parts[first:]).resolve()
            if path.is_relative_to(base) and path.is_file() and path.stat().st_size <= MAX_BYTES:
                return path.read_text("utf-8")
    except (OSError, ValueError, RuntimeError):  # a name that no file system takes, a loop of links, no text
        return None
    return None
