"""Read any profile: what a path is, is found by what it holds, never by its name.

p = read("profile.json")
p = read("profile.ntff", neff="kernel.neff")
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from nkilab.errors import InputError, UsageError

from ..profile import Profile
from . import device_json, explorer, folder, summary_files
from .source import bytes_of, head, json_start, unreadable
from .wire import Source

NTFF_VERSIONS = (4, 5, 6)
MAX_CANDIDATES = 50
_SYSTEM = ("ntrace.pb", "trace_info.pb")
_FIRST_VALUE = re.compile(rb'\{\s*"[^"]{0,200}"\s*:\s*([\[{])')


@dataclass(frozen=True, slots=True)
class Options:
    """What a reader may need beside the path."""

    neff: Path | None = None
    source_root: Path | None = None


Read = Callable[[Path, Options], Profile]


def read(
    path: str | PathLike[str], neff: str | PathLike[str] | None = None, source_root: str | PathLike[str] | None = None
) -> Profile:
    """The profile at `path`, whatever wrote it.

    Args:
        path: a file or a folder.
        neff: the compiled program of an NTFF; looked for beside it where not given.
        source_root: where the kernel sources are on this machine.

    Raises:
        InputError: missing, empty, damaged, or not a profile; the error names file, offset and field.
        UsageError: a folder with several profiles, or options that do not fit the path.
    """
    where = Path(path)
    options = Options(Path(neff) if neff else None, Path(source_root) if source_root else None)
    name = detect(where)
    if name == "several":
        raise _several(where)
    if neff and name != "ntff":
        raise UsageError(f"neff= belongs to an NTFF; {where} is {name}")
    return _READERS[name](where, options)


def detect(path: Path) -> str:
    """The kind of profile at `path`: a key of the registry, or "several" for a folder with more than one.

    Raises:
        InputError: nothing that is known.
    """
    if path.is_dir():
        return _detect_folder(path)
    start = head(path)
    if start[0] in NTFF_VERSIONS and _metadata_fits(path, start):
        return "ntff"
    if start[:4] == b"PAR1":
        raise unreadable(path, "one Parquet table; give the folder it lies in")
    if len(start) >= 1024 and start[:8] == (2).to_bytes(8, "little"):
        raise unreadable(path, "a NEFF, the compiled program: give the NTFF, and this as neff=")
    return _detect_text(path, start)


def _metadata_fits(path: Path, start: bytes) -> bool:
    """Whether an NTFF's metadata ends inside the file; text and record files fail this."""
    return len(start) >= 128 and int.from_bytes(start[1:8], "little") <= path.stat().st_size - 128


def _detect_text(path: Path, start: bytes) -> str:
    """Which JSON or text a file is; a damaged NTFF, one of another version or a system trace is named."""
    if summary_files.is_text(start):
        return "summary-text"
    data = bytes_of(path)
    header = importlib.import_module(".ntff.header", __package__)
    if refused := header.refusal(Source(data, str(path))):
        raise refused
    begin = json_start(data)
    if begin < 0:
        raise unreadable(path, "not a profile")
    first = _FIRST_VALUE.match(data, begin)
    return "summary-json" if first and first[1] == b"{" else "device-json"


def _detect_folder(path: Path) -> str:
    """Which folder of profiles a folder is."""
    if folder.is_own(path):
        return "folder"
    if explorer.is_explorer(path):
        return "parquet"
    if any((path / name).is_file() for name in _SYSTEM):
        return "inspect"
    found = candidates(path)
    if not found:
        raise unreadable(path, "a folder without any profile")
    return "several" if len(found) > 1 else "one"


def candidates(path: Path) -> list[Path]:
    """The profiles inside a folder, down to four levels, at most `MAX_CANDIDATES`."""
    found: list[Path] = []
    level = [path]
    for _ in range(5):
        below: list[Path] = []
        for here in level:
            for entry in _entries(here):
                if entry.is_symlink() or len(found) >= MAX_CANDIDATES:
                    continue
                if entry.is_dir():
                    (found if _is_profile_folder(entry) else below).append(entry)
                elif _is_profile_file(entry):
                    found.append(entry)
        level = below
    return found


def _entries(path: Path) -> list[Path]:
    """What lies in a folder, in order; nothing where it may not be read."""
    try:
        return sorted(path.iterdir())
    except OSError:
        return []


def _is_profile_folder(path: Path) -> bool:
    """Whether a folder is itself one profile."""
    return folder.is_own(path) or explorer.is_explorer(path) or any((path / name).is_file() for name in _SYSTEM)


def _is_profile_file(path: Path) -> bool:
    """Whether a file looks like a profile; unreadable ones do not."""
    try:
        return detect(path) in _READERS
    except InputError:
        return False


def _several(path: Path) -> UsageError:
    """The error for a folder with several profiles."""
    found = candidates(path)
    names = "\n    ".join(str(one) for one in found)
    more = " or more" if len(found) == MAX_CANDIDATES else ""
    return UsageError(f"{path} holds {len(found)}{more} profiles", fix=f"name one of them:\n    {names}")


def _one(path: Path, options: Options) -> Profile:
    """The only profile in a folder."""
    return read(candidates(path)[0], options.neff, options.source_root)


def _ntff(path: Path, options: Options) -> Profile:
    """An NTFF with its NEFF."""
    module = importlib.import_module(".ntff", __package__)
    profile: Profile = module.read(path, options.neff, options.source_root)
    return profile


def _inspect(path: Path, options: Options) -> Profile:
    """An inspect folder (system trace)."""
    profile: Profile = importlib.import_module(".inspect", __package__).read(path, options.source_root)
    return profile


_READERS: dict[str, Read] = {
    "folder": lambda path, _: folder.read(path),
    "parquet": lambda path, _: explorer.read(path),
    "device-json": lambda path, _: device_json.read(path),
    "summary-json": lambda path, _: summary_files.read_json(path),
    "summary-text": lambda path, _: summary_files.read_text(path),
    "ntff": _ntff,
    "inspect": _inspect,
    "one": _one,
}
