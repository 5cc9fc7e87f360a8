"""The command line itself: which commands there are, their common options, exit statuses and error output."""

from __future__ import annotations

import functools
import inspect
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from nkilab.command import api, bench, calibrate, compare, demo, inspection, preflight, simulation, tune, writing
from nkilab.command.result import Result, envelope, error_envelope, print_error, print_json, print_text
from nkilab.command.running import status_of
from nkilab.errors import NkilabError, UsageError
from nkilab.suggest import fix_for
from nkilab.version import VERSION

# A new command is a function that returns a Result, named in its group's COMMANDS.
GROUPS = (demo, simulation, api, inspection, writing, calibrate, bench, tune, compare, preflight)
COMMANDS: dict[str, Callable[..., Result]] = {name: run for group in GROUPS for name, run in group.COMMANDS.items()}

# typer brings its own copy of click from some version on, so click's base class is taken from typer's.
_UsageProblem: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give the exit status: 0 ok, 1 a gate or check failed, 2 bad usage or unreadable input."""
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our pipe has gone, as `| head` does: leave quietly.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    return status


def _run(arguments: list[str]) -> int:
    try:
        answer = build()(arguments, prog_name="nkilab", standalone_mode=False)
    except NkilabError as error:
        return _report(error, as_json="--json" in arguments)
    except _UsageProblem as problem:
        return _report(_usage_error(problem), as_json="--json" in arguments)
    # Printed here and not inside typer, which would turn a closed pipe into exit status 1.
    return answer() if callable(answer) else 0


def _show(name: str, result: Result, *, as_json: bool) -> int:
    """Print a result and give its exit status."""
    if as_json:
        print_json(envelope(name, result))
    else:
        print_text(result)
    return result.status


def _report(error: NkilabError, *, as_json: bool) -> int:
    if as_json:
        print_json(error_envelope(error))
    else:
        print_error(error)
    return status_of(error)


def build() -> typer.Typer:
    """The typer application with every command."""
    app = typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        suggest_commands=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_top)
    for name, run in COMMANDS.items():
        app.command(name)(_with_json(name, run))
    return app


def _top(
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Simulate, check, time and profile AWS Trainium NKI kernels.

    \b
    nkilab demo                                 four matmul kernels, simulated, checked and timed
    nkilab sim kernel.py:my_kernel --arg a=bf16[2048,2048]
    nkilab check kernel.py                      every case against its NumPy reference
    nkilab report profile.json --open           a measured or simulated profile as a page
    """
    if version:
        print_version()


def print_version() -> None:
    """Print the version and leave with status 0."""
    sys.stdout.write(f"nkilab {VERSION}\n")
    raise typer.Exit


def _with_json(name: str, run: Callable[..., Result]) -> Callable[..., Callable[[], int]]:
    """The command as typer sees it: the function's own parameters and `--json`; gives what prints the result."""

    @functools.wraps(run)
    def command(*, json: bool = False, **options: Any) -> Callable[[], int]:
        return functools.partial(_show, name, run(**options), as_json=json)

    signature = inspect.signature(run, eval_str=True)
    flag = inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json)
    parameters = [*signature.parameters.values(), flag]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def _usage_error(problem: Any) -> UsageError:
    """Typer's complaint as ours, with the nearest known name."""
    text = problem.format_message()
    unknown = re.match(r"No such command '?([^'.]+)", text)
    if unknown:
        return UsageError(f"there is no command {unknown[1]!r}", fix=fix_for(unknown[1], COMMANDS))
    option = getattr(problem, "option_name", "")
    if option:
        known = [name for p in problem.ctx.command.params for name in p.opts] if problem.ctx else []
        return UsageError(f"there is no option {option}", fix=fix_for(option, known))
    command = problem.ctx.command_path if getattr(problem, "ctx", None) else "nkilab"
    return UsageError(text.rstrip("."), fix=f"{command} --help")
