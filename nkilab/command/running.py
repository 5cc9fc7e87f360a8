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
from nkilab.case import Case, Comparison
from nkilab.command import options
from nkilab.command.result import console
from nkilab.errors import Location, NkilabError, UsageError
from nkilab.suggest import fix_for

if TYPE_CHECKING:
    from nkilab.hardware import Policy
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


def policy_of(words: Sequence[str] | None) -> Policy:
    """The policy that `--policy NAME=VALUE` words spell.

    Raises:
        UsageError: an unknown name, or a value that it may not have.
    """
    from nkilab.hardware import Policy

    return Policy().replace(**options.pairs("--policy", words))


def run_case(case: Case, sim: Sim) -> tuple[Run, Comparison | None]:
    """Simulate a case and compare its outputs with the reference; None without reference or without values.

    Raises:
        KernelRaisedError: the kernel's own code raised.
        KernelError: an instruction cannot execute.
    """
    from nkilab.simulation import simulate_case

    with working(f"simulating {case.name}"), kernel_errors(case.name):
        return simulate_case(case, sim)


def run_kernel(kernel: Callable[..., Any], sim: Sim, given: dict[str, Any]) -> Run:
    """Simulate a kernel with its arguments by name. Raises like `run_case`, and UsageError."""
    name = getattr(kernel, "__name__", "kernel")
    with working(f"simulating {name}"), kernel_errors(name):
        return nkilab.simulate(kernel, sim=sim, **given)


def on_cores(kernel: Callable[..., Any], lnc: int | None) -> Callable[..., Any]:
    """The kernel on `lnc` cores; as it is where `lnc` is None.

    Raises:
        UsageError: neither 1 nor 2.
    """
    if lnc is None:
        return kernel
    from nkilab.simulator.jit import as_kernel

    if lnc not in (1, 2):
        raise UsageError(f"--lnc {lnc}", rule="a logical NeuronCore has 1 or 2 cores")
    return as_kernel(kernel)[lnc]


def bound(case: Case, axis: Sequence[str] | None, ranks: int | None, lnc: int | None) -> Case:
    """The case with the axes of `--axis`, on `--ranks` devices (its axis `ranks`, where it has one) of `--lnc` cores.

    Raises:
        UsageError: an axis that the case does not have, or numbers that cannot be.
    """
    axes = options.pairs("--axis", axis)
    if ranks is not None and "ranks" in case.axes:
        axes |= {"ranks": positive("--ranks", ranks)}
    case = case.bind(**axes)
    positive("--axis ranks", case.ranks)
    return replace(case, kernel=on_cores(case.kernel, lnc), name=case.name)


def positive(option: str, number: int | None) -> int:
    """A number of devices, 1 where it is left out. Raises UsageError below 1."""
    if number is not None and number < 1:
        raise UsageError(f"{option} {number}", rule="at least one device")
    return number or 1


def arguments(
    kernel: Callable[..., Any], words: Sequence[str] | None, sim: Sim, each: Sequence[str] | None = None
) -> dict[str, Any]:
    """The kernel's arguments from `--arg NAME=VALUE` words; those that `each` names are other ones on every rank.

    Raises:
        UsageError: a name that is no parameter, a parameter without default that has no word, or `each` for one rank,
            for a name that is not given, or for what is no array.
    """
    rng = np.random.default_rng(sim.seed)
    texts = options.texts("--arg", words)
    given = {name: from_text(text, rng) for name, text in texts.items()}
    for name in each or ():
        if name not in given:
            raise UsageError(f"--per-rank {name}: there is no --arg of that name", fix=fix_for(name, given))
        if sim.ranks == 1 or not isinstance(given[name], np.ndarray):
            raise UsageError(f"--per-rank {name}", rule="for an array, with --ranks of at least 2")
        given[name] = nkilab.per_rank([given[name], *(from_text(texts[name], rng) for _ in range(1, sim.ranks))])
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
