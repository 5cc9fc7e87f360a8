"""What the simulator's tests share: running a kernel body in one line, and finding the line of a marker."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from nkilab.simulator import Execution, Sim, execute


@pytest.fixture
def simulate():
    """Run a kernel and return its Execution; findings are collected unless told otherwise."""

    def run(kernel, *args, **options) -> Execution:
        options.setdefault("on_finding", "collect")
        return execute(kernel, args, {}, Sim(**options))

    return run


@pytest.fixture
def line_of():
    """The line of a function's source that ends with `# <mark>`."""

    def find(function, mark: str) -> int:
        lines, first = inspect.getsourcelines(inspect.unwrap(getattr(function, "function", function)))
        return first + next(i for i, line in enumerate(lines) if line.rstrip().endswith(f"# {mark}"))

    return find


@pytest.fixture
def arrays():
    """An array of (8, 16) for each of four ranks."""
    rng = np.random.default_rng(11)
    return [rng.standard_normal((8, 16), dtype=np.float32) for _ in range(4)]
