"""Commands that write files: `report`, `export`, `sample`."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from nkilab.command import options
from nkilab.command.files import place, show
from nkilab.command.inspection import opened
from nkilab.command.result import Result
from nkilab.errors import UsageError
from nkilab.suggest import fix_for


def report(
    path: options.ProfilePath,
    *,
    neff: options.Neff = None,
    source_root: options.SourceRoot = None,
    select: options.Select = None,
    with_vendor_tool: options.VendorTool = False,
    out: options.Out = None,
    force: options.Force = False,
    open_: options.Open = False,
) -> Result:
    """Write one self-contained page: engine utilisation, timeline, source with the time of every line.

    \b
    nkilab report profile.json --open
    nkilab report nkilab-out/matmul_tiled --out matmul.html --force
    """
    profile = opened(path, neff, source_root, select, with_vendor_tool=with_vendor_tool)
    page = place(out, f"{_stem(path)}.html", force=force)
    profile.report(page, force=force)
    if open_:
        show(page)
    return Result(data={"report": page}, text=(f"report: {page}",))


def export(
    path: options.ProfilePath,
    *,
    to: Annotated[str, typer.Option(help="parquet, explorer, perfetto or json.")] = "parquet",
    neff: options.Neff = None,
    source_root: options.SourceRoot = None,
    select: options.Select = None,
    with_vendor_tool: options.VendorTool = False,
    out: options.Out = None,
    force: options.Force = False,
) -> Result:
    """Write a profile in another format.

    parquet: a folder of one file per table, which nkilab opens again. explorer: the Parquet files of the vendor's
    documented schema 7.4.0. perfetto: a trace for the Perfetto viewer.
    json: the timeline's data.

    \b
    nkilab export profile.json --to perfetto
    """
    if to not in _FORMATS:
        raise UsageError(f"there is no format {to!r}", fix=fix_for(to, _FORMATS))
    suffix, write = _FORMATS[to]
    profile = opened(path, neff, source_root, select, with_vendor_tool=with_vendor_tool)
    written = place(out, f"{_stem(path)}{suffix}", force=force)
    write(profile, written, force)
    return Result(data={"format": to, "written": written}, text=(f"{to}: {written}",))


def sample(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="Where to; else ./nkilab-out/sample.")
    ] = None,
    *,
    force: options.Force = False,
) -> Result:
    """Write a small profile to look round in: an NTFF, its NEFF and the kernel's source. Its times are made up.

    \b
    nkilab sample
    nkilab lines nkilab-out/sample --source-root nkilab-out/sample
    """
    from nkilab.profiler.sample import sample as write

    written = write(place(folder, "sample", force=force))
    return Result(data={"profile": written}, text=(f"profile: {written}", f"nkilab engines {written.parent}"))


COMMANDS: dict[str, Callable[..., Result]] = {"report": report, "export": export, "sample": sample}


def _stem(path: Path) -> str:
    """A name for what is made from `path`: the folder's where the file is only called profile."""
    whole = path.resolve()
    return whole.parent.name if whole.stem == "profile" and whole.parent.name else whole.stem


def _parquet(profile: Any, path: Path, _force: bool) -> None:
    profile.to_parquet(path)


def _explorer(profile: Any, path: Path, force: bool) -> None:
    profile.to_explorer(path, force=force)


def _perfetto(profile: Any, path: Path, force: bool) -> None:
    profile.to_perfetto(path, force=force)


def _json(profile: Any, path: Path, _force: bool) -> None:
    path.write_text(jsonlib.dumps(profile.timeline().to_json()) + "\n", encoding="utf-8")


_FORMATS: dict[str, tuple[str, Callable[[Any, Path, bool], None]]] = {
    "parquet": ("-parquet", _parquet),
    "explorer": ("-explorer", _explorer),
    "perfetto": (".perfetto.json.gz", _perfetto),
    "json": (".json", _json),
}
