"""Operators that kernels pass as `op=`: from the object to its name."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from typing import Any

from .context import current
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
    "remainder": "mod",
}
_NOT_IN_HARDWARE = {
    "divide": "multiply by nl.reciprocal(y)",
    "mod": "subtract the rounded quotient times the divisor (a cast to int32 rounds to nearest even)",
    "fmod": "subtract the rounded quotient times the divisor (a cast to int32 rounds to nearest even)",
}


class Op:
    """An operator that is only a name to instructions (`nl.bypass`, `nl.average`, `nl.prelu`)."""

    __slots__ = ("__name__",)

    def __init__(self, name: str) -> None:
        """Make the operator of that name."""
        self.__name__ = name

    def __repr__(self) -> str:
        return f"nl.{self.__name__}"


def note_missing_in_hardware(name: str | None) -> None:
    """Report division and remainders: they have values here, and fail when compiled for a device.

    Source: NKI 0.3.0 and 0.4.0 release notes, Known Issues; none of them is in the table of ALU operators.
    """
    if name in _NOT_IN_HARDWARE:
        context = current()
        site = context.sources.place(inspect.currentframe(), []).site
        context.report("not-in-hardware", f"nl.{name}: no engine has it; {_NOT_IN_HARDWARE[name]}", site, name)


def op_name(op: Any, parameter: str = "op", *, optional: bool = False) -> str | None:
    """Name of an operator given as `nl.add`, as a NumPy function of the same name, or as a string.

    Raises:
        KernelError: it names no operator, or is None and not optional.
    """
    if op is None and optional:
        return None
    name = op if isinstance(op, str) else getattr(op, "__name__", None)
    found = _ALIASES.get(name, name) if isinstance(name, str) else None
    if found in OPS or found in FUNCTIONS or found == "average":
        if not isinstance(op, str):  # names are what nki.language itself passes on
            note_missing_in_hardware(found)
        return found
    near = get_close_matches(str(name), [*OPS, *FUNCTIONS], n=1)
    raise KernelError(
        "argument",
        f"{parameter}={op!r} is not an operator",
        rule="operators are functions of nki.language, such as nl.add or nl.exp",
        source="nki.api.shared, Supported Math Operators and Activation Functions",
        fix=f"did you mean nl.{near[0]}?" if near else "",
    )
