"""A file given by the user: its bytes without a copy, its first bytes, and JSON behind log lines."""

from __future__ import annotations

import json
import mmap
import re
import stat
from pathlib import Path
from typing import Any

from nkilab.errors import InputError

from .wire import malformed

HEAD = 4096
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_FORMATS = (
    "a folder saved by nkilab, an NTFF with its NEFF, the JSON of `neuron-profile view` (full, summary-json), "
    "summary-text, an Explorer Parquet folder, or an inspect folder"
)


def unreadable(path: Path, what: str, fix: str = "") -> InputError:
    """The error for a path that is no profile; without a `fix` it says what a profile is."""
    rule = "" if fix else f"a profile is {_FORMATS}"
    return InputError(f"{shown(path)}: {what}", values=f"file {shown(path)}", rule=rule, fix=fix)


def bytes_of(path: Path) -> memoryview:
    """The file's bytes, mapped into memory.

    Raises:
        InputError: the path is missing, is no file, cannot be read, or is empty.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise unreadable(path, "not a file", "name a file, or the folder of a profile")
        with path.open("rb") as handle:
            return memoryview(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError as error:
        raise unreadable(path, "no such file or folder", "look at the path") from error
    except ValueError as error:
        if "\0" in str(path):
            raise unreadable(path, "no such file or folder", "look at the path") from error
        raise malformed(str(path), "", 0, "the file is empty") from error
    except OSError as error:
        raise unreadable(path, error.strerror or "cannot be read", "look at its permissions and at the disk") from error


def released(data: bytes | memoryview) -> None:
    """Let go of the pages of a mapped file that were read so far: they no longer count as this process's memory."""
    mapped = data.obj if isinstance(data, memoryview) else None
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def shown(text: str | Path) -> str:
    """A path or a text with a path in it as Unicode: bytes of a file's name that are none become U+FFFD."""
    return str(text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder; False for names that no file system takes."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def head(path: Path) -> bytes:
    """At most the first `HEAD` bytes. Raises InputError like `bytes_of`."""
    return bytes(bytes_of(path)[:HEAD])


def json_value(data: bytes | str) -> Any:
    """A JSON value.

    Raises:
        ValueError: not JSON, or a text in it is no Unicode (half of a surrogate pair).
        RecursionError: deeper than Python parses.
    """
    return unicode_only(json.loads(data), data)


def unicode_only(value: Any, data: bytes | str) -> Any:
    """`value`, parsed from `data`. Raises ValueError where a text in it is half of a surrogate pair."""
    if _SURROGATE.search(data if isinstance(data, str) else data.decode("utf-8", "replace")):
        json.dumps(value, ensure_ascii=False).encode()
    return value


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
