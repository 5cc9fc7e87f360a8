"""Options of the commands that measure, and what they become."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nkilab.command import options
from nkilab.command.result import console

if TYPE_CHECKING:
    from nkilab.bench.point import Row, Settings
    from nkilab.bench.store import ResultSet

Kernels = Annotated[
    list[str], typer.Argument(metavar="KERNEL…", help="FILE.py[:CASE], or the name of one of nkilab's own kernels.")
]
Axis = Annotated[list[str] | None, typer.Option(metavar="NAME=V1,V2", help="Values of one axis of the case.")]
Meta = Annotated[
    list[str] | None, typer.Option(metavar="NAME=V1,V2", help="Values of one keyword argument of the kernel.")
]
Pairwise = Annotated[bool, typer.Option("--pairwise", help="So few points that each pair of values still occurs.")]
Backend = Annotated[str, typer.Option(help="sim, trn, vendor-sim, torch, or auto.")]
Seeds = Annotated[int, typer.Option(min=1, help="Sets of fresh random inputs that the gate tries.")]
Gate = Annotated[bool, typer.Option(help="Compare with the reference before timing.")]
Width = Annotated[float, typer.Option(min=1e-4, help="Half-width of the median's interval that is narrow enough.")]
Most = Annotated[int, typer.Option(min=1, help="Most timed runs of one point.")]
Warmup = Annotated[int, typer.Option(min=1, help="Runs before the first one that counts.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes to spread the points over.")]
Scheduler = Annotated[
    str | None, typer.Option(metavar="tcp://HOST:PORT", help="Spread the points over a dask cluster.")
]
Store = Annotated[Path | None, typer.Option(help="Folder of result sets; ./nkilab-out/bench where not given.")]
Name = Annotated[str, typer.Option(help="Name of the result set, to find it by.")]
Route = Annotated[str, typer.Option(help="How trn times: neuron-explorer, nrtpy, spike, or auto.")]
RunnerPython = Annotated[str | None, typer.Option(metavar="PYTHON", help="The Python that has the vendor's nki.")]
TimerPython = Annotated[str | None, typer.Option(metavar="PYTHON", help="The Python that has nrtpy or spike.")]
Core = Annotated[int, typer.Option(min=0, help="NeuronCore to run on.")]
Lnc = Annotated[int, typer.Option(min=1, max=2, help="Cores of a logical NeuronCore.")]
Timeout = Annotated[
    float, typer.Option(min=0.001, help="Most seconds for one simulation of the kernel, or one vendor command.")
]
Torch = Annotated[str | None, typer.Option(metavar="FILE.py:FUNCTION", help="The function of the torch backend.")]


def settings(*, width: float, most: int, change: Sequence[str] | None, backend: str, **fields: Any) -> Settings:
    """The settings of a command. Raises UsageError for an unknown backend, target or number."""
    from nkilab.bench.choose import hardware_of, resolve
    from nkilab.bench.point import Settings
    from nkilab.bench.statistics import Rule

    rule = Rule(width=width, most=most, least=min(Rule().least, most))
    made = Settings(backend=resolve(backend), changes=options.pairs("--set", change), rule=rule, **fields)
    hardware_of(made)
    return made


def measured(
    kernels: Sequence[str],
    axis: Sequence[str] | None,
    meta: Sequence[str] | None,
    settings: Settings,
    *,
    pairs: bool,
    workers: int,
    scheduler: str | None,
    name: str,
    folder: Path,
) -> ResultSet:
    """Measure every case of the kernels at every point, and store the set.

    Raises:
        UsageError: an unknown kernel, case, axis or meta-parameter, or a store that cannot be written.
    """
    from nkilab.bench.axes import parse
    from nkilab.bench.executors import choose
    from nkilab.bench.measure import case_of
    from nkilab.bench.session import record
    from nkilab.bench.sweep import plan
    from nkilab.bench.targets import targets

    axes, metas = parse("--axis", axis), parse("--meta", meta)
    points = []
    for kernel in kernels:
        path, cases = targets(kernel)
        points += plan(path, [case.name for case in cases], axes, metas, pairs=pairs)
    for point in points:
        case_of(point)
    with choose(scheduler, workers, len(points)) as executor, progress("measuring", len(points)) as done:
        command = " ".join(["nkilab", *sys.argv[1:]])
        return record(points, settings, executor, folder=folder, name=name, command=command, done=done)


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int, Row], None]]:
    """A bar over points; gives the function to call as each finishes."""
    with bar(what, total) as advance:
        yield lambda _position, row: advance(f"{what}: {row.label}")


@contextmanager
def bar(what: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar on a terminal, nothing in a pipe; gives the function that takes it a step further and says what was done."""
    if not sys.stderr.isatty() or total < 2:
        yield lambda _said: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=total)
        yield lambda said: shown.update(task, advance=1, description=said)
