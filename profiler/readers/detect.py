"""What a path is, found by what it holds, never by its name."""

from __future__ import annotations

import re
from pathlib import Path

from nkilab.errors import InputError

from . import explorer, folder, summary_files
from .ntff.header import VERSIONS, refusal
from .source import bytes_of, head, is_folder, json_start, unreadable
from .wire import Source

MAX_CANDIDATES = 4096
MAX_LEVELS = 5
_SYSTEM = ("ntrace.pb", "trace_info.pb")
_PARTS = (*_SYSTEM, "cpu_util.pb", "host_mem.pb")
_FIRST_VALUE = re.compile(rb'\{\s*"[^"]{0,200}"\s*:\s*([\[{])')
_KINETO = b'"traceEvents"'
# How a profile's JSON begins: a table with a row, or a node's metrics. Other JSON in a folder is no profile.
_LIKELY = re.compile(rb'\{\s*("[^"]{0,200}"\s*:\s*\[\s*\{|"n_[0-9a-f]{8,64}"\s*:\s*\{)')


def detect(path: Path) -> str:
    """The kind of profile at `path`: a key of the registry, or "several" for a folder with more than one.

    Raises:
        InputError: nothing that is known.
    """
    if is_folder(path):
        return _detect_folder(path)
    start = head(path)
    if start[0] in VERSIONS and _metadata_fits(path, start):
        return "ntff"
    if start[:4] == b"PAR1":
        raise unreadable(path, "one Parquet table", "give the folder it lies in")
    if len(start) >= 1024 and start[:8] == (2).to_bytes(8, "little"):
        raise unreadable(path, "a NEFF, the compiled program", "give the NTFF, and this as --neff (neff= in Python)")
    return _detect_text(path, start)


def _metadata_fits(path: Path, start: bytes) -> bool:
    """Whether an NTFF's metadata ends inside the file; text and record files fail this."""
    return len(start) >= 128 and int.from_bytes(start[1:8], "little") <= path.stat().st_size - 128


def _detect_text(path: Path, start: bytes) -> str:
    """Which JSON or text a file is; a damaged NTFF, one of another version or a system trace is named."""
    if summary_files.is_text(start):
        return "summary-text"
    data = bytes_of(path)
    if refused := refusal(Source(data, str(path))):
        raise refused
    begin = json_start(data)
    if begin < 0:
        if path.name in _PARTS:
            raise unreadable(path, "a part of a system trace", "open the folder it lies in")
        raise unreadable(path, "not a profile")
    if _KINETO in start:
        raise unreadable(path, "a trace of PyTorch's profiler", "give the inspect folder it lies in")
    first = _FIRST_VALUE.match(data, begin)
    return "summary-json" if first and first[1] == b"{" else "device-json"


def _detect_folder(path: Path) -> str:
    """Which folder of profiles a folder is."""
    if folder.is_own(path):
        return "folder"
    if explorer.is_explorer(path):
        return "parquet"
    if is_inspect(path):
        return "inspect"
    found = candidates(path)
    if not found:
        raise unreadable(path, "a folder without any profile")
    return "several" if len(found) > 1 else "one"


def is_inspect(path: Path) -> bool:
    """Whether a folder holds a system trace."""
    return any((path / name).is_file() for name in _SYSTEM)


def candidates(path: Path, *, inside: bool = False) -> list[Path]:
    """The profiles inside a folder, down to five levels, at most `MAX_CANDIDATES`; links are not followed.

    Args:
        path: the folder.
        inside: whether the device profiles that lie in inspect folders count beside these.
    """
    found: list[Path] = []
    level = [path]
    for _ in range(MAX_LEVELS):
        below: list[Path] = []
        for entry in (entry for here in level for entry in _entries(here)):
            if entry.is_symlink() or len(found) >= MAX_CANDIDATES:
                continue
            is_folder = entry.is_dir()
            if _is_profile_folder(entry) if is_folder else _is_profile_file(entry):
                found.append(entry)
                is_folder = is_folder and inside and is_inspect(entry)
            if is_folder:
                below.append(entry)
        level = below
    return found


def _entries(path: Path) -> list[Path]:
    """What lies in a folder, in order; nothing where it may not be read."""
    try:
        return sorted(path.iterdir())
    except OSError:
        return []


def _is_profile_folder(path: Path) -> bool:
    """Whether a folder is itself one profile; unreadable ones are not."""
    try:
        return folder.is_own(path) or explorer.is_explorer(path) or is_inspect(path)
    except (InputError, OSError):
        return False


def _is_profile_file(path: Path) -> bool:
    """Whether a file looks like a profile; unreadable ones do not."""
    try:
        if not path.is_file():
            return False
        if detect(path) not in ("device-json", "summary-json"):
            return True
        data = bytes_of(path)
        return _LIKELY.match(data, json_start(data)) is not None
    except (InputError, OSError):
        return False
