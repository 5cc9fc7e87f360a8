"""How an operator comes to be: its backends on the CPU, the kernel it runs, its registration with torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any

import torch

from nkilab.errors import UsageError

BACKENDS = ("simulator", "torch")
_BACKEND: ContextVar[str] = ContextVar("nkilab_torch_backend", default="simulator")


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Choose what CPU tensors run on: "simulator" (the default) or "torch".

    Raises:
        UsageError: another name.
    """
    if name not in BACKENDS:
        raise UsageError(f"there is no torch backend {name!r}", rule=f"one of {', '.join(BACKENDS)}")
    token = _BACKEND.set(name)
    try:
        yield
    finally:
        _BACKEND.reset(token)


def run(file: str, name: str, *args: Any, mutates: Sequence[str] = (), **kwargs: Any) -> Any:
    """A kernel's result for these tensors: simulated on the CPU, run on a Neuron device; it writes into `mutates` only."""
    from nkilab.finder import is_real
    from nkilab.simulator import FindingsError, Sim, execute

    kernel = getattr(import_module(f"nkilab.kernels.{file}"), name)
    device = next(arg.device for arg in args if isinstance(arg, torch.Tensor))
    if device.type != "cpu":
        if is_real():
            return kernel(*args, **kwargs)
        raise UsageError(
            f"{name}: tensors on {device}",
            rule="the simulator takes CPU tensors; a Neuron device needs AWS's nki package",
            fix="move the tensors to the CPU, or install the Neuron SDK",
        )
    execution = execute(kernel, args, kwargs, Sim(on_finding="collect"), mutates=mutates)
    wrong = tuple(finding for finding in execution.findings if finding.severity == "error")
    if wrong:
        raise FindingsError(wrong)
    return execution.results()[0]


def define(
    schema: str,
    simulated: Callable[..., Any],
    eager: Callable[..., Any],
    fake: Callable[..., Any],
    mutates: Sequence[str] = (),
) -> Any:
    """Register `nkilab::name`; `schema` is torch's, all three functions take its arguments and write into `mutates` only."""
    name, _, signature = schema.partition("(")

    def call(*args: Any, **kwargs: Any) -> Any:
        on_cpu = all(arg.device.type == "cpu" for arg in args if isinstance(arg, torch.Tensor))
        return (eager if on_cpu and _BACKEND.get() == "torch" else simulated)(*args, **kwargs)

    operator = torch.library.custom_op(f"nkilab::{name}", call, mutates_args=mutates, schema=f"({signature}")
    operator.register_fake(fake)
    return operator
