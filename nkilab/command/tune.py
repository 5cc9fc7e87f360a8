"""`nkilab tune`: the best meta-parameters of a kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from nkilab.command import bench_options as measuring
from nkilab.command import options
from nkilab.command.bench_text import point_text
from nkilab.command.result import Result
from nkilab.errors import UsageError

if TYPE_CHECKING:
    from nkilab.bench.point import Point
    from nkilab.bench.tune import Plan, Tuned

Kernel = Annotated[
    str, typer.Argument(metavar="KERNEL", help="FILE.py:CASE, or the name of one of nkilab's own kernels.")
]
Budget = Annotated[
    int | None, typer.Option(min=1, help="Most configurations to simulate; a third of them where not given.")
]
Confirm = Annotated[int, typer.Option(min=1, help="Best configurations to gate and measure at the end.")]
SHOWN = 10


def tune(
    kernel: Kernel,
    *,
    meta: measuring.Meta = None,
    axis: options.Axis = None,
    budget: Budget = None,
    confirm: Confirm = 3,
    backend: measuring.Backend = "auto",
    target: options.Target = None,
    change: options.Set = None,
    nki: options.Nki = "0.7",
    seed: options.Seed = 0,
    seeds: measuring.Seeds = 3,
    workers: measuring.Workers = 1,
    scheduler: measuring.Scheduler = None,
    store: measuring.Store = None,
    route: measuring.Route = "auto",
    runner_python: measuring.RunnerPython = None,
    timer_python: measuring.TimerPython = None,
    core: measuring.Core = 0,
    lnc: measuring.Lnc = 1,
    timeout: measuring.Timeout = 900.0,
) -> Result:
    """Search a kernel's meta-parameters on the simulator's clock, then gate and measure the best few.

    Times are kept by the hash of everything they depend on, so a repeated or interrupted search costs nothing twice.
    On --backend trn the best few are measured on the device. Exit status 1 if none of them passes the gate.

    \b
    nkilab tune matmul_fully_blocked --meta tiles_in_block_m=1,2,4,8 --meta tiles_in_block_n=1,2,4 --axis m=2048
    nkilab tune my_kernel.py:softmax --meta tile=128,256,512 --workers 4
    nkilab tune my_kernel.py:softmax --meta tile=128,256 --scheduler tcp://head:8786
    """
    from nkilab.bench.cache import Cache
    from nkilab.bench.executors import choose
    from nkilab.bench.store import FOLDER
    from nkilab.bench.tune import tune as search

    settings = measuring.settings(
        backend=backend, target=target, change=change, nki=nki, seed=seed, seeds=seeds, width=0.01, most=200,
        route=route, runner_python=runner_python, timer_python=timer_python, core=core, lnc=lnc,
        timeout_s=timeout,
    )  # fmt: skip
    plan = _plan(kernel, axis, meta, settings, budget=budget, confirm=confirm, batch=workers)
    cache = Cache((store or FOLDER) / "cache.sqlite")
    with choose(scheduler, workers, plan.most) as executor, _progress(plan) as done:
        tuned = search(plan, executor, cache, done)
    return Result(data=_data(plan, tuned), text=_text(plan, tuned), failed=tuned.best is None)


COMMANDS: dict[str, Callable[..., Result]] = {"tune": tune}


def _plan(
    kernel: str, axis: Sequence[str] | None, meta: Sequence[str] | None, settings: Any, **fields: int | None
) -> Plan:
    """The plan of the words. Raises UsageError where they name no parameter, or several cases."""
    from nkilab.bench.axes import parse
    from nkilab.bench.point import Point
    from nkilab.bench.sources import source_hash
    from nkilab.bench.targets import targets
    from nkilab.bench.tune import Plan

    path, cases = targets(kernel)
    if len(cases) != 1:
        raise UsageError(f"{kernel} has {len(cases)} cases", fix="one of " + ", ".join(case.name for case in cases))
    space = parse("--meta", meta)
    if not space:
        known = ", ".join(cases[0].meta) or "none in its case"
        raise UsageError(
            "nothing to tune", values=f"meta-parameters of {cases[0].name}: {known}", fix="--meta NAME=V1,V2"
        )
    point = Point(
        file=str(Path(path)), case=cases[0].name, axes=options.pairs("--axis", axis), source=source_hash(path)
    )
    return Plan(point=point, space=space, settings=settings, **fields)  # type: ignore[arg-type]


@contextmanager
def _progress(plan: Plan) -> Iterator[Callable[[str, Point], None]]:
    """A bar over bounds and then simulations."""
    with measuring.bar("tuning", plan.size + plan.most) as advance:
        yield lambda what, point: advance(f"{_DOING[what]}: {point.label}")


_DOING = {"floor": "lower bounds", "time": "simulating"}


def _data(plan: Plan, tuned: Tuned) -> dict[str, Any]:
    return {
        "case": plan.point.case,
        "axes": plan.point.axes,
        "space": plan.space,
        "configurations": tuned.search.size,
        "evaluated": len(tuned.search.trials),
        "pruned": len(tuned.search.pruned),
        "impossible": len(tuned.search.impossible),
        "cached": tuned.cached,
        "budget": plan.most,
        "stopped": tuned.search.stopped,
        "bound_us": tuned.bound_us,
        "trials": (*tuned.search.trials, *tuned.search.pruned, *tuned.search.impossible),
        "confirmed": tuned.confirmed,
        "best": tuned.best,
    }


_WHY = {
    "exhausted": "every configuration was tried",
    "budget": "the budget is used up",
    "pruned": "nothing that is left can be faster",
    "interrupted": "interrupted: what was simulated is kept, the same command goes on from there",
}


def _text(plan: Plan, tuned: Tuned) -> tuple[Any, ...]:
    found = tuned.search
    head = (
        f"{len(found.trials)} of {found.size} configurations simulated ({tuned.cached} were known): {_WHY[found.stopped]}",
        f"{len(found.pruned)} pruned: their lower bound is above the best time, or their instructions are those of another; {len(found.impossible)} cannot run",
        "no lower bounds: more than a thousand configurations"
        if tuned.bound_us is None
        else f"no configuration can be modelled faster than {tuned.bound_us:.2f} us",
    )
    best = point_text(tuned.best) if tuned.best else ("no configuration passed the gate",)
    return (*head, _table(plan, tuned), "best:", *best)


def _table(plan: Plan, tuned: Tuned) -> Table:
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for name in plan.space:
        grid.add_column(name, justify="right")
    grid.add_column("modelled us", justify="right")
    grid.add_column("at least us", justify="right")
    grid.add_column("confirmed")
    rows = {tuple(row.meta.get(name) for name in plan.space): row for row in tuned.confirmed}
    every = (*tuned.search.trials, *tuned.search.impossible, *tuned.search.pruned)
    ranked = sorted(every, key=lambda trial: (trial.us is None, trial.us or trial.floor_us or 0.0))
    for trial in ranked[:SHOWN]:
        values = tuple(trial.configuration[name] for name in plan.space)
        row, said = rows.get(values), ""
        if row is not None:
            said = ", ".join(r["code"] for r in row.refused) or f"{row.median_us:.2f} us {row.kind}"
        numbers = ("–" if us is None else f"{us:.2f}" for us in (trial.us, trial.floor_us))
        grid.add_row(*map(str, values), *numbers, said or trial.why.partition("\n")[0])
    return grid
