"""Torch on the CPU, eagerly: a second opinion on values and a sanity baseline; its wall times are no device's."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

from nkilab.arrays import to_numpy, to_torch
from nkilab.bench.backend import Outcome, Timing
from nkilab.bench.point import Settings
from nkilab.case import Case
from nkilab.discover import kernel_named
from nkilab.errors import UsageError


class TorchBackend:
    """Times one torch function with the wall clock of the host."""

    name = "torch"
    deterministic = False
    times = True

    def __init__(self, function: Callable[..., Any], warmup: int) -> None:
        self.function = function
        self.warmup = warmup

    def execute(self, case: Case, inputs: Sequence[Sequence[Any]]) -> Sequence[Outcome]:  # noqa: ARG002
        """See `Backend.execute`."""
        return [Outcome(to_numpy(self.function(*to_torch(list(given)))), tuple(given)) for given in inputs]

    def time(self, case: Case, inputs: Sequence[Any], count: int) -> Timing:  # noqa: ARG002
        """See `Backend.time`."""
        import torch

        given = to_torch(list(inputs))
        for _ in range(self.warmup):
            output = self.function(*given)
        times = []
        for _ in range(count):
            start = time.perf_counter_ns()
            output = self.function(*given)
            times.append((time.perf_counter_ns() - start) / 1e3)
        facts = {"torch": str(torch.__version__), "threads": str(torch.get_num_threads())}
        return Timing(times_us=tuple(times), kind="wall", route="torch", outputs=to_numpy(output), facts=facts)


def torch_backend(case: Case, settings: Settings) -> TorchBackend:
    """The backend of `--torch`, or of the function that nkilab knows for its own kernels.

    Raises:
        UsageError: torch is not installed, or no function is known for the case.
    """
    if find_spec("torch") is None:
        raise UsageError("the torch backend needs torch", fix="pip install 'nkilab[torch]'")
    if settings.torch:
        return TorchBackend(kernel_named(settings.torch), settings.warmup)
    family = case.name.partition("_")[0]
    if family not in KNOWN:
        raise UsageError(
            f"no torch function is known for {case.name}", fix="--torch FILE.py:FUNCTION, of the same inputs"
        )
    return TorchBackend(KNOWN[family], settings.warmup)


def _matmul(lhsT: Any, rhs: Any) -> Any:
    import torch

    return torch.mm(lhsT.T, rhs)


def _rmsnorm(x: Any, gain: Any) -> Any:
    import torch

    wide = x.float()
    scale = torch.rsqrt(wide.pow(2).mean(dim=-1, keepdim=True) + 1e-6)
    return (wide * scale * gain.float()).to(x.dtype)


KNOWN: Mapping[str, Callable[..., Any]] = MappingProxyType({"matmul": _matmul, "rmsnorm": _rmsnorm})
