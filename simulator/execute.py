"""Running a kernel: arguments in, the kernel's Python function, the checks at the end, results out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nkilab.errors import UsageError
from nkilab.hardware import Hardware

from .arguments import Arguments
from .context import CURRENT, Context
from .errors import FindingsError, KernelError, UnsupportedError, trimmed
from .findings import Finding
from .finish import check_capacity, check_input_writes, check_outputs
from .jit import Kernel, as_kernel
from .sim import Sim
from .source import Sources
from .trace import Trace


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
        args: positional arguments: NumPy arrays or torch tensors become HBM tensors, anything else passes.
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
    if options.ranks > 1 or handle.lnc > 1:
        raise UnsupportedError(
            f"{handle.name} on {options.ranks} ranks with {handle.lnc} cores each",
            rule="this simulator runs one rank with one core",
            fix="call the kernel without [2] and with Sim(ranks=1)",
            where=handle.definition,
        )
    context = Context(options, _hardware(options), Sources(_enter.__code__))
    token = CURRENT.set(context)
    try:
        return _run(context, handle, args, kwargs, frozenset(mutates))
    except KernelError as error:
        raise error.with_traceback(trimmed(error.__traceback__)) from None
    finally:
        CURRENT.reset(token)


def _run(
    context: Context, kernel: Kernel, args: Sequence[Any], kwargs: Mapping[str, Any], mutates: frozenset[str]
) -> Execution:
    __tracebackhide__ = True
    code = kernel.code
    arguments = Arguments(context, context.sources.site(code, code.co_firstlineno), kernel.mutable | mutates)
    positional, named = _bound(kernel, args, kwargs)
    entered = [arguments.enter(name, value) for name, value in positional]
    keywords = {name: arguments.enter(name, value) for name, value in named.items()}
    returned = _enter(kernel.function, entered, keywords)
    outputs = arguments.leave(returned)
    context.mark_outputs(returned)
    trace = context.trace.columns(context.sources)
    check_capacity(context, trace)
    check_input_writes(context, returned, arguments)
    check_outputs(context, returned, outputs, arguments, kernel.definition)
    arguments.update()
    findings = tuple(context.findings)
    if findings and context.sim.on_finding == "raise":
        raise FindingsError(findings)
    return Execution((outputs,), trace, findings, context.sim, arguments.torch)


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
