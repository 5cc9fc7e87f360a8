"""Commands that simulate a kernel: `sim` and `check`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from nkilab.command import options
from nkilab.command.files import place, show
from nkilab.command.result import Result
from nkilab.command.running import (
    arguments,
    bound,
    on_cores,
    policy_of,
    positive,
    run_case,
    run_kernel,
    sim_of,
    status_of,
)
from nkilab.errors import NkilabError, UsageError
from nkilab.suggest import fix_for

if TYPE_CHECKING:
    from nkilab.case import Case, Comparison
    from nkilab.clock import Ladder
    from nkilab.run import Run


def sim(
    kernel: Annotated[str, typer.Argument(metavar="FILE.py:KERNEL", help="The kernel, or a case of that name.")],
    *,
    arg: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="An argument: bf16[2048,2048] for a random array, or a number."),
    ] = None,
    per_rank: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="With --ranks: the array of this --arg is another one on every rank."),
    ] = None,
    axis: options.Axis = None,
    meta: options.Meta = None,
    target: options.Target = None,
    ranks: options.Ranks = None,
    lnc: options.Lnc = None,
    change: options.Set = None,
    hardware: options.Hardware = None,
    policy: options.Policy = None,
    ladder: Annotated[bool, typer.Option("--ladder", help="Tell which resource bounds: one free at a time.")] = False,
    values: Annotated[bool, typer.Option(help="Compute results, or only check and time.")] = True,
    precise: Annotated[bool, typer.Option(help="Round to narrow types, or keep everything fp32.")] = True,
    seed: options.Seed = 0,
    nki: options.Nki = "0.7",
    report: Annotated[bool, typer.Option("--report", help="Write the report page too.")] = False,
    out: options.Out = None,
    force: options.Force = False,
    open_: options.Open = False,
) -> Result:
    """Simulate one kernel, time it, and save the run.

    With --arg the kernel gets these arguments; without, the case of its name in CASES brings them, and the outputs are
    compared with the case's reference. Exit status 1 if they differ or a check finds something.

    \b
    nkilab sim kernels/matmul.py:matmul_tiled
    nkilab sim kernels/matmul.py:matmul_tiled --axis m=2048 --axis dtype=float32
    nkilab sim my_kernel.py:add --arg a=bf16[128,512] --arg b=bf16[128,512] --target trn3
    nkilab sim my_kernel.py:shared --arg x=bf16[128,512] --ranks 4 --per-rank x --lnc 2
    nkilab sim kernels/matmul.py:matmul_blocked --set hbm.gbps=1000 --no-values --open
    nkilab sim kernels/matmul.py:matmul_blocked --hardware my.toml --ladder
    nkilab sim kernels/matmul.py:matmul_tiled --policy queue=sync --policy loads=program
    """
    from nkilab import whatif
    from nkilab.discover import case_named, kernel_named

    given = sim_of(
        target,
        change,
        hardware,
        values=values,
        precise=precise,
        seed=seed,
        nki=nki,
        ranks=positive("--ranks", ranks),
        policy=policy_of(policy),
    )
    case, comparison = (None if arg else case_named(kernel)), None
    if case is not None:
        if per_rank:
            raise UsageError("--per-rank belongs to --arg", fix="a case's inputs return nkilab.per_rank([…])")
        case = bound(case, axis, ranks, lnc).with_meta(**options.pairs("--meta", meta))
        run, comparison = run_case(case, given)
        steps = whatif.ladder(case, sim=given) if ladder else None
    elif axis:
        raise UsageError("--axis belongs to a case", values=f"{kernel} has no case of its name or --arg is given")
    else:
        function = on_cores(kernel_named(kernel), lnc)
        words = arguments(function, arg, given, per_rank) | options.pairs("--meta", meta)
        run = run_kernel(function, given, words)
        steps = whatif.ladder(function, sim=given, **words) if ladder else None
    folder = run.save(place(out, run.kernel, force=force), force=force)
    page = _page(run, folder, force=force, wanted=report or open_)
    if open_ and page:
        show(page)
    failed = bool(run.findings) or (comparison is not None and not comparison.passed)
    more = {"comparison": comparison, **({"ladder": steps} if steps else {}), "saved": folder, "report": page}
    places = (f"saved: {folder}", *([f"report: {page}"] if page else []))
    text = (*run_text(run, comparison), *_ladder_text(steps), *places)
    return Result(data={**run_data(run), **more}, text=text, failed=failed)


def check(
    file: options.KernelFile,
    *,
    axis: options.Axis = None,
    target: options.Target = None,
    ranks: options.Ranks = None,
    lnc: options.Lnc = None,
    seed: options.Seed = 0,
    nki: options.Nki = "0.7",
) -> Result:
    """Run a file's cases with every check on and compare them with their references.

    Exit status 1 if a case fails: a difference beyond the tolerance, a finding, or an error of the kernel.

    \b
    nkilab check kernels/matmul.py
    nkilab check kernels/matmul.py:matmul_tiled --axis k=512 --target trn1
    """
    given = sim_of(target, seed=seed, nki=nki, ranks=positive("--ranks", ranks))
    cases = [bound(case, axis, ranks, lnc) for case in _chosen(file)]
    rows = [_checked(case, given) for case in cases]
    notes = [f"{row['case']}: {row['message']}" for row in rows if row["message"]]
    return Result(
        data={"file": file, "target": given.resolved().target, "cases": rows},
        text=(_check_table(rows), *notes),
        failed=not all(row["passed"] for row in rows),
    )


COMMANDS: dict[str, Callable[..., Result]] = {"sim": sim, "check": check}


def run_data(run: Run) -> dict[str, Any]:
    """A run's times, confidence and findings for `--json`."""
    return {
        "kernel": run.kernel,
        "target": run.sim.target,
        "nki": run.sim.nki,
        "ranks": run.sim.ranks,
        "policy": run.sim.policy.changes(),
        "loads_left_out": run.loads_left_out,
        "modelled": True,
        "body_us": run.body_us,
        "body_range_us": run.body_range_us,
        "total_us": run.total_us,
        "total_range_us": run.total_range_us,
        "confidence": run.confidence,
        "findings": run.findings,
    }


def run_text(run: Run, comparison: Comparison | None) -> tuple[RenderableType, ...]:
    """A run's times, comparison and findings as lines of text."""
    low, high = run.body_range_us
    shares = ", ".join(f"{share:.0%} {name}" for name, share in run.confidence.items())
    devices = f" on each of {run.sim.ranks} devices" if run.sim.ranks > 1 else ""
    chosen = ", ".join(f"{name} {value}" for name, value in run.sim.policy.changes().items())
    lines = [
        f"{run.kernel} on {run.sim.target}{devices}: modelled {run.body_us:.2f} us ({low:.2f} to {high:.2f})",
        f"with launch and completion: {run.total_us:.2f} us",
        f"engine time by how well its cost is known: {shares}",
        *([f"the compiler is taken to choose: {chosen}"] if chosen else []),
    ]
    if run.loads_left_out:
        lines.append(
            f"loads taken to be left out by the compiler, their data being in SBUF: {run.loads_left_out:,} "
            "(--policy repeats=0 does them all)"
        )
    if comparison:
        lines.append(_compared(comparison))
    return (*lines, *(str(finding) for finding in run.findings))


def _ladder_text(found: Ladder | None) -> tuple[RenderableType, ...]:
    """The ladder as a table."""
    if found is None:
        return ()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("free", "body us", "saves us"):
        table.add_column(name, justify="left" if name == "free" else "right")
    for step in found.steps:
        table.add_row(step.free, f"{step.body_ns / 1e3:.2f}", f"{step.saved_ns / 1e3:.2f}")
    return (table, f"bound by {found.bound}")


def _compared(comparison: Comparison) -> str:
    if not comparison.passed:
        return f"differs from the reference: {comparison.message}"
    return f"equals the reference: largest error {comparison.max_error:.3g} (rtol {comparison.rtol:.3g}, atol {comparison.atol:.3g})"


def _page(run: Run, folder: Path, *, force: bool, wanted: bool) -> Path | None:
    """The report beside the saved run, where wanted."""
    if not wanted:
        return None
    page = place(folder.with_suffix(".html"), "", force=force)
    run.report(page, force=force)
    return page


def _chosen(file: str) -> Sequence[Case]:
    """The cases of `FILE.py[:KERNEL]`. Raises UsageError where there are none."""
    from nkilab.discover import cases_in, split

    path, name = split(file)
    every = cases_in(path)
    if not every:
        raise UsageError(f"{path.name} has no CASES", fix=f"write CASES in {path.stem}_cases.py beside it")
    cases = [case for case in every if name in {"", case.name}]
    if not cases:
        raise UsageError(f"{path.name} has no case {name!r}", fix=fix_for(name, [case.name for case in every]))
    return cases


def _checked(case: Case, sim: Any) -> dict[str, Any]:
    """One row of `check`; an error of the kernel is a failed case, an error of usage is raised."""
    row: dict[str, Any] = {"case": case.name, "axes": case.axes, "meta": case.meta}
    try:
        run, comparison = run_case(case, sim)
    except NkilabError as error:
        if status_of(error) != 1:
            raise
        unknown = dict.fromkeys(("modelled_us", "max_error", "rtol", "atol"))
        return {**row, "passed": False, **unknown, "findings": [], "message": str(error)}
    passed = not run.findings and (comparison is None or comparison.passed)
    numbers = asdict(comparison) if comparison else dict.fromkeys(("max_error", "rtol", "atol"))
    message = "\n".join([*([comparison.message] if comparison and comparison.message else []), *map(str, run.findings)])
    return {
        **row,
        "passed": passed,
        "modelled_us": run.body_us,
        **{name: numbers[name] for name in ("max_error", "rtol", "atol")},
        "findings": run.findings,
        "message": message if comparison else message or "no reference to compare with",
    }


def _check_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("case", "axes", "result", "modelled us", "largest error", "allowed"):
        table.add_column(name, justify="left" if name in {"case", "axes", "result"} else "right")
    for row in rows:
        result = Text("pass", "green") if row["passed"] else Text("FAIL", "bold red")
        axes = " ".join(f"{name}={value}" for name, value in row["axes"].items())
        allowed = "–" if row["rtol"] is None else f"{row['atol']:.3g} + {row['rtol']:.3g}·|x|"
        table.add_row(
            row["case"], axes, result, _number(row["modelled_us"], ".2f"), _number(row["max_error"], ".3g"), allowed
        )
    return table


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
