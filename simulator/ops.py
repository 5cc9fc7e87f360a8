"""Operators that kernels pass as `op=`: from the object to its name."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from .errors import KernelError
from .values.activation import FUNCTIONS
from .values.alu import OPS

_ALIASES = {
    "max": "maximum",
    "min": "minimum",
    "sum": "add",
    "prod": "multiply",
    "mult": "multiply",
    "true_divide": "divide",
    "absolute": "abs",
    "conjugate": "copy",
    "positive": "copy",
    "all": "logical_and",
}


class Op:
    """An operator that is only a name to instructions (`nl.bypass`, `nl.average`, `nl.prelu`)."""

    __slots__ = ("__name__",)

    def __init__(self, name: str) -> None:
        """Make the operator of that name."""
        self.__name__ = name

    def __repr__(self) -> str:
        return f"nl.{self.__name__}"


def op_name(op: Any, parameter: str = "op") -> str | None:
    """Name of an operator given as `nl.add`, as a NumPy function of the same name, or as a string; None stays None.

    Raises:
        KernelError: it names no operator.
    """
    if op is None:
        return None
    name = op if isinstance(op, str) else getattr(op, "__name__", None)
    found = _ALIASES.get(name, name) if isinstance(name, str) else None
    if found in OPS or found in FUNCTIONS or found == "average":
        return found
    near = get_close_matches(str(name), [*OPS, *FUNCTIONS], n=1)
    raise KernelError(
        "argument",
        f"{parameter}={op!r} is not an operator",
        rule="operators are functions of nki.language, such as nl.add or nl.exp",
        source="nki.api.shared, Supported Math Operators and Activation Functions",
        fix=f"did you mean nl.{near[0]}?" if near else "",
    )
