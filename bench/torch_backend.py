"""Torch on the CPU, eagerly: a second opinion on values and a sanity baseline; its wall times are no device's."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from nkilab.arrays import to_numpy, to_torch
from nkilab.bench.backend import Outcome, Timing
from nkilab.bench.limit import limited
from nkilab.bench.point import Settings
from nkilab.case import Case
from nkilab.discover import kernel_named
from nkilab.errors import UsageError


class TorchBackend:
    """Times one torch function with the wall clock of the host."""

    name = "torch"
    deterministic = False
    times = True

    def __init__(self, function: Callable[..., Any], settings: Settings) -> None:
        self.function = function
        self.warmup = settings.warmup
        self.timeout_s = settings.timeout_s

    def execute(self, case: Case, inputs: Sequence[Sequence[Any]]) -> Sequence[Outcome]:
        """See `Backend.execute`."""
        return [self._execute(case, given) for given in inputs]

    def _execute(self, case: Case, given: Sequence[Any]) -> Outcome:
        tensors = _tensors(case, given)
        with limited(f"the torch function of {case.name}", self.timeout_s):
            return Outcome(to_numpy(self._call(tensors)), tuple(to_numpy(tensors)))

    def _call(self, tensors: Sequence[Any]) -> Any:
        from nkilab import torch as operators

        with operators.backend("torch"):
            return self.function(*tensors)

    def time(self, case: Case, inputs: Sequence[Any], count: int) -> Timing:
        """See `Backend.time`."""
        import torch

        given = _tensors(case, inputs)
        for _ in range(self.warmup):
            output = self._call(given)
        times = []
        for _ in range(count):
            start = time.perf_counter_ns()
            output = self._call(given)
            times.append((time.perf_counter_ns() - start) / 1e3)
        facts = {"torch": str(torch.__version__), "threads": str(torch.get_num_threads())}
        return Timing(times_us=tuple(times), kind="wall", route="torch", outputs=to_numpy(output), facts=facts)


def torch_backend(case: Case, settings: Settings) -> TorchBackend:
    """The backend of `--torch`, else of the case's own torch function, else of what nkilab knows for its own kernels.

    Raises:
        UsageError: torch is not installed.
        NoTorchFunctionError: no function is known for the case.
    """
    if find_spec("torch") is None:
        raise UsageError("the torch backend needs torch", fix="pip install 'nkilab[torch]'")
    function = kernel_named(settings.torch) if settings.torch else case.torch or _known(case)
    return TorchBackend(partial(function, **_accepted(function, case.meta)), settings)


def _tensors(case: Case, given: Sequence[Any]) -> list[Any]:
    """The inputs as tensors. Raises NoTorchFunctionError for a dtype that torch does not have."""
    tensors: list[Any] = to_torch(list(given))
    for array, back in zip(given, to_numpy(tensors), strict=True):
        if isinstance(array, np.ndarray) and array.dtype != back.dtype:
            from nkilab.bench.torch_functions import NoTorchFunctionError

            raise NoTorchFunctionError(f"{case.name}: torch has no {array.dtype}", fix="another --axis dtype")
    return tensors


def _known(case: Case) -> Callable[..., Any]:
    from nkilab.bench.torch_functions import FUNCTIONS, NoTorchFunctionError

    kernel: Any = getattr(case.kernel, "function", case.kernel)
    name = str(getattr(kernel, "__name__", ""))
    if not str(getattr(kernel, "__module__", "")).startswith("nkilab.kernels.") or name not in FUNCTIONS:
        raise NoTorchFunctionError(
            f"no torch function is known for {case.name}",
            fix="Case(torch=FUNCTION) or --torch FILE.py:FUNCTION, which takes the same inputs as tensors",
        )
    return FUNCTIONS[name]


def _accepted(function: Callable[..., Any], meta: Mapping[str, Any]) -> dict[str, Any]:
    """Those keyword arguments of a kernel that a torch function takes too: block sizes mean nothing to it."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        schema = getattr(function, "_schema", None)
        named = {argument.name for argument in schema.arguments} if schema is not None else set()
        return {name: value for name, value in meta.items() if name in named}
    any_name = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return {name: value for name, value in meta.items() if any_name or name in parameters}
