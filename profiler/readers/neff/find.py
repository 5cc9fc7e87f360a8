"""The NEFF of an NTFF: by uuid, among the files beside it."""

from __future__ import annotations

from pathlib import Path

MAX_FILES = 2000
_UUID = slice(204, 220)
_HEAD = 1024


def find_neff(folder: Path, uuid: str) -> Path | None:
    """The NEFF in `folder` whose uuid begins with `uuid` (32 hex digits, fewer when the NTFF has only a part of it).

    Symbolic links are followed, as the user's own files; files are told by content, not by name.
    """
    if len(uuid) < 8:
        return None
    try:
        entries = sorted(folder.iterdir())[:MAX_FILES]
    except OSError:
        return None
    return next((entry for entry in entries if uuid_of(entry).startswith(uuid)), None)


def uuid_of(path: Path) -> str:
    """The uuid in a NEFF's header, "" for anything else."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as handle:
            head = handle.read(_HEAD)
    except OSError:
        return ""
    return head[_UUID].hex() if len(head) == _HEAD and head[:8] == b"\2\0\0\0\0\0\0\0" else ""
