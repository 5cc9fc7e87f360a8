"""`nkilab preflight`: is every NeuronCore of this instance fit for work?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from nkilab.command import bench_options as measuring
from nkilab.command import options
from nkilab.command.result import Result
from nkilab.command.running import working

if TYPE_CHECKING:
    from nkilab.bench.preflight import Check, Report

Slack = Annotated[
    float, typer.Option(min=0.0, help="How much slower than its neighbours a core may be, as a fraction.")
]
Over = Annotated[float, typer.Option(min=1.0, help="How many times the expected time a core may take.")]
Collectives = Annotated[bool, typer.Option(help="Run nccom-test between the cores.")]
Keep = Annotated[Path | None, typer.Option(metavar="FOLDER", help="Keep requests, NEFF, NTFF and logs here.")]
Timeout = Annotated[float, typer.Option(min=1.0, help="Most seconds for one command of the vendor's.")]


def preflight(
    *,
    runner_python: measuring.RunnerPython = None,
    timer_python: measuring.TimerPython = None,
    route: measuring.Route = "auto",
    target: options.Target = None,
    slack: Slack = 0.10,
    over: Over = 1.5,
    collectives: Collectives = True,
    timeout: Timeout = 300.0,
    keep: Keep = None,
) -> Result:
    """Matmul, DMA and vector work on every NeuronCore, collectives between them; names what is slow or fails.

    Each core is held against the median of its neighbours and against what the hardware table expects. Exit status 1 if a
    check does not pass, for a scheduler's node check.

    \b
    nkilab preflight --runner-python ~/nki_venv/bin/python
    nkilab preflight --runner-python ~/nki_venv/bin/python --no-collectives --json
    """
    from nkilab.bench.point import Settings
    from nkilab.bench.preflight import Limits
    from nkilab.bench.preflight import preflight as check_all

    settings = Settings(
        backend="trn", target=target, route=route, runner_python=runner_python, timer_python=timer_python,
        timeout_s=timeout, work=str(keep.resolve()) if keep else None,
    )  # fmt: skip
    with working("checking every NeuronCore"):
        report = check_all(settings, Limits(slack=slack, over=over), collectives=collectives)
    return Result(data=_data(report), text=_text(report), failed=bool(report.bad))


COMMANDS: dict[str, Callable[..., Result]] = {"preflight": preflight}


def _data(report: Report) -> dict[str, Any]:
    return {"cores": report.cores, "checks": report.checks, "bad": report.bad, "passed": not report.bad}


def _text(report: Report) -> tuple[Any, ...]:
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("probe", "device", "core", "measured", "neighbours", "expected", "verdict"):
        grid.add_column(name, justify="left" if name in {"probe", "verdict"} else "right")
    for check in report.checks:
        places = ("all" if check.device is None else str(check.device), "–" if check.core is None else str(check.core))
        numbers = (_number(check.value, check.unit), _number(check.neighbours, check.unit))
        expected = _number(check.expected, check.unit) + (" (guessed)" if check.guessed else "")
        grid.add_row(check.probe, *places, *numbers, expected, _verdict(check))
    said = [Text(f"{_place(c)}: {c.probe} {c.verdict}: {c.message}", "bold red") for c in report.bad]
    return (grid, *said, f"{len(report.cores)} cores, {len(report.bad)} of {len(report.checks)} checks did not pass")


def _number(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:.2f} {unit}"


def _verdict(check: Check) -> Text:
    return Text(check.verdict, "green" if check.verdict == "ok" else "bold red")


def _place(check: Check) -> str:
    if check.device is None:
        return "between devices"
    return f"device {check.device}" + ("" if check.core is None else f" core {check.core}")
