"""Run a kernel for a command: options, progress, errors of the kernel's own code, comparison with the reference."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

import nkilab
from nkilab.arrays import from_text
from nkilab.case import Case, Comparison, compare
from nkilab.command import options
from nkilab.command.result import console
from nkilab.errors import Location, NkilabError, UsageError
from nkilab.suggest import fix_for

if TYPE_CHECKING:
    from nkilab.run import Run
    from nkilab.simulator import Sim


class KernelRaisedError(NkilabError):
    """The kernel's own code raised, for example an assertion about its shapes."""

    code = "kernel-raised"


def sim_of(
    target: str | None, changed: Sequence[str] | None = None, hardware: Path | None = None, **fields: Any
) -> Sim:
    """The Sim of a command: findings are collected, the table is that of `--hardware`, changed as `--set` says.

    Raises:
        UsageError: an unknown target, key or value.
    """
    from nkilab.hardware import load
    from nkilab.simulator import Sim

    table = load(str(hardware)) if hardware else None
    sim = Sim(target=target, on_finding="collect", hardware=table, **fields)
    values = options.pairs("--set", changed)
    if not values:
        return sim
    sim = sim.resolved()
    return replace(sim, hardware=(table or load(str(sim.target))).replace(**values))


def run_case(case: Case, sim: Sim) -> tuple[Run, Comparison | None]:
    """Simulate a case and compare its outputs with the reference; None without reference or without values.

    Raises:
        KernelRaisedError: the kernel's own code raised.
        KernelError: an instruction cannot execute.
    """
    inputs = case.arguments(sim.seed)
    wanted = case.reference is not None and sim.values
    expected, after = case.run_reference(inputs) if wanted else (None, None)
    with working(f"simulating {case.name}"), kernel_errors(case.name):
        run = nkilab.simulate(case.kernel, *inputs, sim=sim, mutates=case.mutates, **case.meta)
    if not wanted:
        return run, None
    return run, compare(case, (run.outputs, case.written(inputs)), (expected, case.written(after)))


def run_kernel(kernel: Callable[..., Any], sim: Sim, words: Sequence[str] | None, meta: Sequence[str] | None) -> Run:
    """Simulate a kernel with the arguments of `--arg` and `--meta`. Raises like `run_case`, and UsageError."""
    name = getattr(kernel, "__name__", "kernel")
    given = arguments(kernel, words, sim.seed)
    with working(f"simulating {name}"), kernel_errors(name):
        return nkilab.simulate(kernel, sim=sim, **given, **options.pairs("--meta", meta))


def arguments(kernel: Callable[..., Any], words: Sequence[str] | None, seed: int) -> dict[str, Any]:
    """The kernel's arguments from `--arg NAME=VALUE` words.

    Raises:
        UsageError: a name that is no parameter, or a parameter without default that has no word.
    """
    rng = np.random.default_rng(seed)
    given = {name: from_text(text, rng) for name, text in options.texts("--arg", words).items()}
    parameters = inspect.signature(kernel).parameters
    for name in given:
        if name not in parameters:
            raise UsageError(f"the kernel has no parameter {name!r}", fix=fix_for(name, parameters))
    missing = [
        n for n, p in parameters.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD and n not in given
    ]
    if missing:
        example = " ".join(f"--arg {name}=bf16[128,512]" for name in missing)
        raise UsageError(f"the kernel needs {', '.join(missing)}, and there is no case of its name", fix=example)
    return given


@contextmanager
def kernel_errors(kernel: str) -> Iterator[None]:
    """Turn what the kernel's own code raises into one screen with its line; errors of nkilab pass."""
    try:
        yield
    except NkilabError:
        raise
    except Exception as error:
        where = _users_line(error.__traceback__)
        if where is None:
            raise
        raise KernelRaisedError(f"{kernel} raised {type(error).__name__}: {error}", where=where) from error


def _users_line(traceback: TracebackType | None) -> Location | None:
    """Where an exception was raised, None where that is in nkilab itself or in a library."""
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return None
    code, line = traceback.tb_frame.f_code, traceback.tb_lineno
    file = Path(code.co_filename)
    library = any(part in {"site-packages", "dist-packages"} for part in file.parts) and "kernels" not in file.parts
    own = [Path(entry) / name for entry in nkilab.__path__ for name in ("command", "simulator", "clock", "join")]
    if library or any(file.is_relative_to(folder) for folder in own):
        return None
    return Location(str(file), line, code.co_name)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Say what is going on, on a terminal only."""
    if not sys.stderr.isatty():
        yield
        return
    with console(stderr=True).status(what):
        yield


def status_of(error: NkilabError) -> int:
    """Exit status of an error: 1 where a check of the kernel failed, 2 for usage and input."""
    simulator = sys.modules.get("nkilab.simulator")
    failed = (simulator.KernelError, simulator.FindingsError) if simulator else ()
    return 1 if isinstance(error, (*failed, KernelRaisedError)) else 2
