"""Twins: a kernel with a last parameter `fault`, clean without it and with one seeded fault under it.

The line that the checks must name ends in `# here`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np

from nkilab.simulator import Execution, Sim, execute

X = np.arange(1, 128 * 64 + 1, dtype=np.float32).reshape(128, 64) % 17 + 1


@dataclass(frozen=True)
class Twins:
    """A kernel that is clean or faulty, the code of its fault, and how it is run."""

    code: str
    kernel: Callable[..., Any]
    inputs: tuple[Any, ...]
    cores: int
    options: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.code}-{self.kernel.__name__}"

    @property
    def line(self) -> int:
        """The marked line of the kernel, or of the helper that it calls."""
        body = inspect.unwrap(self.kernel)
        helpers = [value for name in body.__code__.co_names if callable(value := body.__globals__.get(name))]
        return next(line for function in (body, *helpers) for line in marked(function))

    def run(self, *, fault: bool) -> Execution:
        """Run the clean or the faulty twin on fresh copies of the inputs."""
        kernel = nki.jit(functools.partial(self.kernel, fault=fault))
        given = [each.copy() if isinstance(each, np.ndarray) else each for each in self.inputs]
        options = {"on_finding": "collect"} | self.options
        return execute(kernel[self.cores] if self.cores > 1 else kernel, given, {}, Sim(**options))


def marked(function: Callable[..., Any]) -> list[int]:
    """Lines of a function that end in `# here`."""
    if not inspect.isfunction(function):
        return []
    lines, first = inspect.getsourcelines(function)
    return [first + i for i, line in enumerate(lines) if line.rstrip().endswith("# here")]


@dataclass(frozen=True)
class Collection:
    """The twins of one test module."""

    twins: list[Twins]

    def __call__(self, code: str, *inputs: Any, cores: int = 1, **options: Any) -> Callable[..., Any]:
        """Decorator that adds a kernel; `inputs` is X alone by default, `options` are those of Sim."""

        def add(kernel: Callable[..., Any]) -> Callable[..., Any]:
            self.twins.append(Twins(code, kernel, inputs or (X,), cores, options))
            return kernel

        return add


def stored(tile):
    """A tile as an output."""
    out = nl.ndarray(tile.shape, tile.dtype, nl.shared_hbm)
    nisa.dma_copy(out, tile)
    return out


def copied_out(psum):
    """A PSUM tile as an output."""
    tile = nl.ndarray(psum.shape, nl.float32)
    nisa.tensor_copy(tile, psum)
    return stored(tile)
