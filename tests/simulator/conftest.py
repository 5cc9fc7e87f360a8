"""What the simulator's tests share: running a kernel body in one line, and finding the line of a marker."""

from __future__ import annotations

import inspect

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
