"""Arguments of instructions that are numbers or lists of numbers, as kernels give them."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np

from ..dynamic import is_scalar
from ..errors import KernelError
from ..registers import value_of


def integer(api: str, name: str, value: Any) -> int:
    """An int, or what a register holds.

    Raises:
        KernelError: it is neither.
    """
    if is_scalar(value) or isinstance(value, int | np.integer):
        return value_of(value)
    raise _refused(api, name, value, f"{name} is an integer")


def real(api: str, name: str, value: Any) -> float:
    """A number known while tracing.

    Raises:
        KernelError: it is none.
    """
    if isinstance(value, Real | np.generic):
        return float(value)
    raise _refused(api, name, value, f"{name} is a number")


def integers(api: str, name: str, value: Any) -> tuple[int, ...]:
    """A list of integers, or one alone.

    Raises:
        KernelError: it is none.
    """
    if isinstance(value, int | np.integer):
        return (int(value),)
    if not isinstance(value, Iterable) or isinstance(value, str):
        raise _refused(api, name, value, f"{name} is a list of integers")
    return tuple(integer(api, name, each) for each in value)


def reals(api: str, name: str, value: Any) -> tuple[float, ...]:
    """A list of numbers.

    Raises:
        KernelError: it is none.
    """
    if not isinstance(value, Iterable) or isinstance(value, str):
        raise _refused(api, name, value, f"{name} is a list of numbers")
    return tuple(real(api, name, each) for each in value)


def pattern(api: str, value: Any) -> tuple[tuple[int, int], ...]:
    """The `[[step, num], …]` of `iota` and `affine_select`.

    Raises:
        KernelError: it has another form.
    """
    rows = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else []
    if not rows or any(isinstance(row, str) or not isinstance(row, Iterable) for row in rows):
        raise _refused(api, "pattern", value, "pattern is [[step, num], …], from the slowest dimension to the fastest")
    pairs = [integers(api, "pattern", row) for row in rows]
    if any(len(pair) != 2 or pair[1] < 1 for pair in pairs):
        raise _refused(api, "pattern", value, "every dimension is [step, num] with num of at least 1")
    return tuple((step, num) for step, num in pairs)


def _refused(api: str, name: str, value: Any, rule: str) -> KernelError:
    return KernelError("argument", f"nisa.{api}({name}={value!r})", rule=rule, source=f"nki.isa.{api}")
