"""Read any profile: what a path is, is found by what it holds, never by its name.

p = read("profile.json")
p = read("profile.ntff", neff="kernel.neff")
p = read("captures/", select="rank=3,exec=2")
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from nkilab.errors import UsageError

from ..profile import Profile
from . import device_json, explorer, folder, summary_files
from .choose import choose, several
from .detect import candidates, detect
from .sources import with_sources

__all__ = ["Options", "candidates", "choose", "detect", "read"]

_Path = str | PathLike[str]


@dataclass(frozen=True, slots=True)
class Options:
    """What a reader may need beside the path."""

    neff: Path | None = None


Read = Callable[[Path, Options], Profile]


def read(
    path: _Path,
    neff: _Path | None = None,
    source_root: _Path | None = None,
    *,
    select: str | None = None,
    with_vendor_tool: bool = False,
) -> Profile:
    """The profile at `path`, whatever wrote it.

    Args:
        path: a file or a folder.
        neff: the compiled program of an NTFF; looked for beside it where not given.
        source_root: where the kernel sources are on this machine.
        select: which of several profiles in a folder: part of its path, or "rank=3,exec=2". See `choose.choose`.
        with_vendor_tool: fill in what is not decoded from an NTFF by `neuron-explorer`. See `vendor_tool.filled`.

    Raises:
        InputError: missing, empty, damaged, or not a profile; the error names file, offset and field.
        UsageError: a folder with several profiles, options that do not fit the path, or no tool of the vendor's.
    """
    where = choose(Path(path), select) if select else Path(path)
    name = detect(where)
    if name == "several":
        raise several(where)
    if name == "one":
        return read(candidates(where)[0], neff, source_root, with_vendor_tool=with_vendor_tool)
    if neff and name != "ntff":
        raise UsageError(f"neff= belongs to an NTFF; {where} is {name}")
    profile = _READERS[name](where, Options(Path(neff) if neff else None))
    if with_vendor_tool:
        profile = importlib.import_module(".vendor_tool", __package__).filled(profile)
    return with_sources(profile, Path(source_root) if source_root else None)


def _ntff(path: Path, options: Options) -> Profile:
    """An NTFF with its NEFF."""
    profile: Profile = importlib.import_module(".ntff", __package__).read(path, options.neff)
    return profile


def _inspect(path: Path, _: Options) -> Profile:
    """An inspect folder (system trace)."""
    profile: Profile = importlib.import_module(".inspect", __package__).read(path)
    return profile


_READERS: dict[str, Read] = {
    "folder": lambda path, _: folder.read(path),
    "parquet": lambda path, _: explorer.read(path),
    "device-json": lambda path, _: device_json.read(path),
    "summary-json": lambda path, _: summary_files.read_json(path),
    "summary-text": lambda path, _: summary_files.read_text(path),
    "ntff": _ntff,
    "inspect": _inspect,
}
