"""`nkilab bench`: gate and time kernels; `bench log`, `show` and `export` for what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from nkilab.command import bench_options as measuring
from nkilab.command import options
from nkilab.command.bench_text import set_text
from nkilab.command.files import place
from nkilab.command.result import Result
from nkilab.errors import UsageError

if TYPE_CHECKING:
    from nkilab.bench.store import ResultSet


def bench(
    kernels: measuring.Kernels,
    *,
    axis: measuring.Axis = None,
    meta: measuring.Meta = None,
    pairwise: measuring.Pairwise = False,
    backend: measuring.Backend = "auto",
    target: options.Target = None,
    change: options.Set = None,
    nki: options.Nki = "0.7",
    seed: options.Seed = 0,
    seeds: measuring.Seeds = 3,
    gate: measuring.Gate = True,
    width: measuring.Width = 0.01,
    most: measuring.Most = 200,
    warmup: measuring.Warmup = 2,
    workers: measuring.Workers = 1,
    scheduler: measuring.Scheduler = None,
    name: measuring.Name = "",
    store: measuring.Store = None,
    route: measuring.Route = "auto",
    runner_python: measuring.RunnerPython = None,
    timer_python: measuring.TimerPython = None,
    core: measuring.Core = 0,
    lnc: measuring.Lnc = 1,
    torch: measuring.Torch = None,
    timeout: measuring.Timeout = 900.0,
    out: options.Out = None,
    force: options.Force = False,
) -> Result:
    """Check kernels against their references, then time them; every result is stored with its environment.

    A kernel that is wrong is refused by name and not timed. Exit status 1 if one was refused.
    `bench log` lists the stored sets, `bench show SET` prints one, `bench export SET --out FILE.csv` writes its points.

    \b
    nkilab bench matmul_fully_blocked --axis m=2048 --axis dtype=bfloat16,float32
    nkilab bench my_kernel.py --axis n=1024,2048,4096 --workers 2 --name before
    nkilab bench my_kernel.py:softmax --backend trn --runner-python ~/nki_venv/bin/python
    nkilab bench show latest --json
    """
    folder = _store(store)
    if kernels[0] in _STORED and not Path(kernels[0]).exists():
        return _STORED[kernels[0]](kernels[1:], folder, out, force=force)
    settings = measuring.settings(
        backend=backend, target=target, change=change, nki=nki, seed=seed, seeds=seeds, gated=gate, width=width,
        most=most, warmup=warmup, route=route, runner_python=runner_python, timer_python=timer_python, core=core,
        lnc=lnc, torch=torch, timeout_s=timeout,
    )  # fmt: skip
    results = measuring.measured(
        kernels, axis, meta, settings, pairs=pairwise, workers=workers, scheduler=scheduler, name=name, folder=folder
    )
    return Result(data=set_data(results), text=set_text(results), failed=failed(results))


COMMANDS: dict[str, Callable[..., Result]] = {"bench": bench}


def failed(results: ResultSet) -> bool:
    """Whether a point was refused, or points are missing."""
    return results.status != "complete" or any(row.refused for row in results.rows)


def set_data(results: ResultSet) -> dict[str, Any]:
    """A set for `--json`."""
    names = ("id", "name", "made", "command", "status", "fingerprint", "settings", "folder", "rows")
    return {name: getattr(results, name) for name in names}


def _store(folder: Path | None) -> Path:
    from nkilab.bench.store import FOLDER

    return folder or FOLDER


def _log(words: Sequence[str], folder: Path, _out: Path | None, *, force: bool) -> Result:  # noqa: ARG001
    from nkilab.bench.store import scan

    if words:
        raise UsageError("bench log takes no further words", values=" ".join(words), fix="nkilab bench show SET")
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("set", "name", "made (UTC)", "points", "refused", "backend", "commit", "status"):
        grid.add_column(column)
    sets, damaged = scan(folder)
    for entry in sets:
        git = entry.fingerprint.get("git") or {}
        commit = str(git.get("commit", "–"))[:9] + (" +changes" if git.get("dirty") else "")
        refused = sum(bool(row.refused) for row in entry.rows)
        counts = (str(len(entry.rows)), str(refused))
        grid.add_row(
            entry.id, entry.name or "–", entry.made[:19], *counts, str(entry.settings["backend"]), commit, entry.status
        )
    heads = ("id", "name", "made", "command", "status", "folder")
    rows = [{**{h: getattr(s, h) for h in heads}, "points": len(s.rows)} for s in sets]
    text = (grid if sets else f"no result sets in {folder}", *(f"cannot be read: {what}" for what in damaged))
    return Result(data={"store": folder, "sets": rows, "damaged": damaged}, text=text)


def _show(words: Sequence[str], folder: Path, _out: Path | None, *, force: bool) -> Result:  # noqa: ARG001
    results = _found(words, folder)
    return Result(
        data=set_data(results), text=(f"{results.id}  {results.made[:19]} UTC  {results.command}", *set_text(results))
    )


def _export(words: Sequence[str], folder: Path, out: Path | None, *, force: bool) -> Result:
    from nkilab.bench.store import export

    results = _found(words, folder)
    written = place(out, f"{results.id}.csv", force=force)
    export(results, written)
    return Result(data={"set": results.id, "written": written}, text=(f"{len(results.rows)} points: {written}",))


def _found(words: Sequence[str], folder: Path) -> ResultSet:
    from nkilab.bench.store import find

    if len(words) > 1:
        raise UsageError("one result set at a time", values=" ".join(words))
    return find(words[0] if words else "latest", folder)


_STORED: dict[str, Callable[..., Result]] = {"log": _log, "show": _show, "export": _export}
