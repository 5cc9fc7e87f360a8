"""Running a kernel: arguments in, the kernel's Python function, the checks at the end, results out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nkilab.errors import UsageError
from nkilab.hardware import Hardware

from .arguments import Arguments, copied, update
from .binding import check_shapes, prepared
from .calls import unbound_call
from .context import CURRENT, Context
from .errors import FindingsError, KernelError, trimmed
from .findings import Finding
from .finish import (
    check_capacity,
    check_input_writes,
    check_outputs,
    check_prepared,
    check_returned,
    gathered,
    lives_of,
)
from .jit import Kernel, as_kernel
from .races import check_races
from .sim import Sim
from .source import Sources
from .team import Team
from .trace import Trace, merged


@dataclass(frozen=True, slots=True)
class Execution:
    """One simulated run.

    Attributes:
        outputs: for each rank what the kernel returned, with tensors as NumPy arrays.
        trace: the instructions in columns; see docs/contracts.md.
        findings: everything the checks found.
        sim: the options, target and hardware filled in.
        torch: whether the caller passed torch tensors.
    """

    outputs: tuple[Any, ...]
    trace: Trace
    findings: tuple[Finding, ...]
    sim: Sim
    torch: bool = False

    def results(self) -> tuple[Any, ...]:
        """The outputs in the caller's framework: torch tensors where torch came in."""
        if not self.torch:
            return self.outputs
        from .arguments import mapped
        from .torch_arrays import to_torch

        return tuple(mapped(to_torch, output) for output in self.outputs)


def execute(
    kernel: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    sim: Sim | None = None,
    *,
    mutates: Sequence[str] = (),
) -> Execution:
    """Simulate one call of a kernel.

    Args:
        kernel: a function, decorated with `nki.jit` or not.
        args: positional arguments: NumPy arrays or torch tensors become HBM tensors, anything else passes. Every rank
            gets its own copy; a `PerRank` gives each rank another value.
        kwargs: keyword arguments.
        sim: options; by default `Sim()`.
        mutates: parameters that the kernel is meant to write, besides those annotated as `mutable_tensor`.

    Returns:
        The Execution.

    Raises:
        KernelError: an instruction cannot execute.
        FindingsError: there are findings and `sim.on_finding` is "raise".
        UsageError: arguments that do not fit the kernel, or a dtype that NKI does not have.
    """
    __tracebackhide__ = True
    handle = as_kernel(kernel)
    options = (sim or Sim()).resolved()
    kwargs, aliased = prepared(handle, kwargs, options)
    hardware = _hardware(options)
    _check_cores(handle, hardware)
    team = Team()
    sources = Sources(_enter.__code__)
    first: Context | None = None
    for rank in range(options.ranks):
        for core in range(handle.lnc):
            context = Context(options, hardware, sources, team, rank=rank, core=core, cores=handle.lnc, first=first)
            first = first or context
            context.options = handle.options
            if core:
                context.shared = team.programs[rank, 0].context.shared
            team.add(context)
    try:
        return _run(team, handle, args, kwargs, aliased | set(mutates))
    except KernelError as error:
        raise error.with_traceback(trimmed(error.__traceback__)) from None
    except TypeError as error:
        unbound = unbound_call(error)
        if unbound is None:
            raise
        raise unbound.with_traceback(trimmed(error.__traceback__)) from None


def _check_cores(kernel: Kernel, hardware: Hardware) -> None:
    if kernel.lnc > hardware.hbm.cores:
        raise KernelError(
            "target",
            f"{kernel.name}[{kernel.lnc}] on {hardware.name}",
            rule=f"a logical NeuronCore of {hardware.name} has {hardware.hbm.cores} core",
            source="Logical NeuronCore configuration; nki.isa.core_barrier",
            fix="call the kernel without [2], or simulate a trn2 or trn3",
            where=kernel.definition,
        )


def _run(
    team: Team, kernel: Kernel, args: Sequence[Any], kwargs: Mapping[str, Any], mutates: frozenset[str]
) -> Execution:
    __tracebackhide__ = True
    code = kernel.code
    positional, named = _bound(kernel, args, kwargs)
    contexts = [program.context for program in team.programs.values()]
    first = contexts[0]
    site = first.sources.site(code, code.co_firstlineno)
    ranks = [
        Arguments(context, site, kernel.mutable | mutates, context.rank) for context in contexts if context.core == 0
    ]
    entered = [([a.enter(name, value) for name, value in positional], _entered(a, named)) for a in ranks]

    def body(context: Context) -> Any:
        __tracebackhide__ = True
        values, keywords = copied(entered[context.rank]) if context.cores > 1 else entered[context.rank]
        token = CURRENT.set(context)
        try:
            returned = _enter(kernel.function, values, keywords)
            check_prepared(context)
            return returned
        finally:
            CURRENT.reset(token)

    returned = team.run(body)
    results = [returned[arguments.rank, 0] for arguments in ranks]
    outputs = tuple(arguments.leave(result) for arguments, result in zip(ranks, results, strict=True))
    first.mark_outputs(results)
    trace = merged([context.trace for context in contexts], first.sources, team.parts)
    races = check_races(team)
    lives = lives_of(trace)
    for context in contexts:
        check_capacity(context, trace, lives)
    for arguments, result, output in zip(ranks, results, outputs, strict=True):
        check_returned(kernel, [returned[arguments.rank, core] for core in range(kernel.lnc)])
        check_input_writes(arguments.context, result, arguments)
        check_outputs(arguments.context, result, output, arguments, kernel.definition)
    if first.values:
        update(ranks)
    findings = gathered(contexts, races)
    if findings and first.sim.on_finding == "raise":
        raise FindingsError(findings)
    return Execution(outputs, trace, findings, first.sim, any(arguments.torch for arguments in ranks))


def _entered(arguments: Arguments, named: Mapping[str, Any]) -> dict[str, Any]:
    return {name: arguments.enter(name, value) for name, value in named.items()}


def _enter(function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Call the kernel; this frame marks where the user's stack begins."""
    __tracebackhide__ = True
    return function(*args, **kwargs)


def _bound(
    kernel: Kernel, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[list[tuple[str, Any]], dict[str, Any]]:
    """Arguments with the names of their parameters.

    Raises:
        UsageError: they do not fit the kernel's signature.
    """
    signature = inspect.signature(kernel.function)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise UsageError(
            f"{kernel.name}{signature}: {error}",
            fix="give the kernel its parameters by position or by name",
            where=kernel.definition,
        ) from None
    check_shapes(kernel, bound.arguments)
    names: list[str] = []
    for name, value in bound.arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            names += [f"{name}[{i}]" for i in range(len(value))]
        else:
            names.append(name)
    return list(zip(names, args, strict=False)), dict(kwargs)


def _hardware(sim: Sim) -> Hardware:
    if sim.hardware is None:
        raise UsageError("a Sim without its hardware table")
    return sim.hardware
