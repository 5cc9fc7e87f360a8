"""Functions of NKI that this simulator does not have: calling one says so by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import UnsupportedError


def missing(module: str, name: str) -> Callable[..., Any]:
    """A function that raises UnsupportedError for `module.name`."""

    def function(*args: Any, **kwargs: Any) -> Any:
        del args, kwargs
        raise UnsupportedError(
            f"{module}.{name} is not in this simulator",
            rule="functions that are not simulated are refused, never skipped",
            fix="rewrite the step with other instructions, or run this kernel on hardware",
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Not in this simulator: raises UnsupportedError for `{module}.{name}`."
    return function
