"""A file given by the user: its bytes without a copy, its first bytes, and JSON behind log lines."""

from __future__ import annotations

import mmap
from pathlib import Path

from nkilab.errors import InputError

from .wire import malformed

HEAD = 4096
_FORMATS = (
    "a folder saved by nkilab, an NTFF with its NEFF, the JSON of `neuron-profile view` (full, summary-json), "
    "summary-text, an Explorer Parquet folder, or an inspect folder"
)


def unreadable(path: Path, what: str) -> InputError:
    """The error for a path that is no profile."""
    return InputError(f"{path}: {what}", values=f"file {path}", rule=f"a profile is {_FORMATS}")


def bytes_of(path: Path) -> memoryview:
    """The file's bytes, mapped into memory.

    Raises:
        InputError: the path is missing, is no file, cannot be read, or is empty.
    """
    try:
        with path.open("rb") as handle:
            return memoryview(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError as error:
        raise unreadable(path, "no such file or folder") from error
    except ValueError as error:
        raise malformed(str(path), "", 0, "the file is empty") from error
    except OSError as error:
        raise unreadable(path, error.strerror or "cannot be read") from error


def head(path: Path) -> bytes:
    """At most the first `HEAD` bytes. Raises InputError like `bytes_of`."""
    return bytes(bytes_of(path)[:HEAD])


def json_start(data: memoryview) -> int:
    """Offset of the JSON object: the first `{` that begins a line, else the first one; -1 where there is none.

    Tools print log lines before the object when both streams go to one file.
    """
    raw = data.obj
    if not isinstance(raw, mmap.mmap):
        raw = bytes(data)
    if raw[:1] == b"{":
        return 0
    behind = raw.find(b"\n{")
    return behind + 1 if behind >= 0 else raw.find(b"{")
