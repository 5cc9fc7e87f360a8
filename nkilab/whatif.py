"""What if a resource cost nothing: which one bounds a kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import replace
from typing import Any

from nkilab import clock
from nkilab.case import Case
from nkilab.errors import UsageError
from nkilab.simulator import Sim, default_sim, execute


def loads_registers(functions: Iterable[str]) -> bool:
    """Whether any of these `nki.isa` functions loads a register: then loops and times may depend on values."""
    return not {"register_load", "scalar_load"}.isdisjoint(each.lower() for each in functions)


def ladder(kernel: Callable[..., Any] | Case, *args: Any, sim: Sim | None = None, **kwargs: Any) -> clock.Ladder:
    """The kernel's modelled body, and what it would be with DMA, each engine, or all overhead free.

    Args:
        kernel: a function under `nki.jit`, or a Case, which brings its own inputs.
        args: the kernel's arguments.
        sim: the options; values are computed only where the kernel loads registers, which its loops may depend on, and
            findings are not raised. Arguments are left as they are.
        kwargs: the kernel's keyword arguments.

    Raises:
        KernelError: an instruction cannot execute; names the kernel's line.
        UsageError: a Case is given arguments.
    """
    sim = replace((sim or default_sim()).resolved(), values=False, on_finding="collect")
    mutates: tuple[str, ...] = ()
    if isinstance(kernel, Case):
        if args:
            raise UsageError(f"case {kernel.name} brings its own inputs", fix="give its kernel: case.kernel")
        mutates = tuple(kernel.mutates)
        sim = replace(sim, ranks=kernel.ranks) if sim.ranks == 1 else sim
        args, kwargs, kernel = kernel.arguments(sim.seed), {**kernel.meta, **kwargs}, kernel.kernel
    trace = execute(kernel, args, kwargs, sim, mutates=mutates).trace
    if loads_registers(trace.names["api"]):
        given = deepcopy((args, kwargs))
        trace = execute(kernel, *given, replace(sim, values=True), mutates=mutates).trace
    if sim.hardware is None:
        raise UsageError("no hardware table for this target")
    return clock.ladder(trace.columns(), trace.names, sim.hardware, sim.policy)
