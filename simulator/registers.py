"""Values that only the device knows: virtual registers and traced scalars.

The simulator knows their values, but a kernel that is traced does not: Python control flow on them raises TypeError,
as the tracer does (nki.isa.VirtualRegister; NKI 0.7 NkiScalar).
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from .deprecated import deprecated
from .errors import KernelError
from .levels import level, require
from .objects import DeviceValue, NKIObject, unknown
from .values.dtypes import DType, int32, int64


class _Device(DeviceValue, NKIObject):
    """What both kinds share: no Python control flow."""

    __slots__ = ("origins", "value")
    origins: tuple[Any, ...]
    """What the loads that it comes from wrote (see `loaded_from`): who uses it waits for them."""

    def __bool__(self) -> bool:
        raise unknown(self, "the truth")

    def __int__(self) -> int:
        raise unknown(self, "int()")

    def __index__(self) -> int:
        raise unknown(self, "range() or indexing")

    def __float__(self) -> float:
        raise unknown(self, "float()")


class VirtualRegister(_Device):
    """A register of an engine's sequencer, 32 bits; made by `nisa.register_alloc`.

    `value` is None until something is moved or loaded into it. A frozen register is a loop's induction variable.
    """

    __slots__ = ("frozen",)

    def __init__(self, state: int | None = None, frozen: bool = False) -> None:
        """Make a register that holds `state`."""
        self.value = None if state is None else wrap32(state)
        self.frozen = frozen
        self.origins = ()

    def __bool__(self) -> bool:
        """Under API 0.6 whether it is not 0 (`while register:`); from 0.7 on a TypeError, as in the tracer."""
        if level() != "0.6":
            return super().__bool__()
        deprecated("while <register>:", "nl.while_loop")
        return value_of(self) != 0

    def __repr__(self) -> str:
        return f"<register {self.value}>"

    def __add__(self, other: Any) -> VirtualRegister:
        return derived(VirtualRegister(value_of(self) + value_of(other)), self, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> VirtualRegister:
        return derived(VirtualRegister(value_of(self) - value_of(other)), self, other)

    def __rsub__(self, other: Any) -> VirtualRegister:
        return derived(VirtualRegister(value_of(other) - value_of(self)), self, other)

    def __mul__(self, other: Any) -> VirtualRegister:
        return derived(VirtualRegister(value_of(self) * value_of(other)), self, other)

    __rmul__ = __mul__


class NkiScalar(_Device):
    """One integer computed on the device (API 0.7): int32 wraps, int64 does not compare; made by `nisa.scalar_load`."""

    __slots__ = ("dtype", "is_comparison")
    __hash__ = object.__hash__

    def __init__(self, state: int, dtype: Any = None, is_comparison: bool = False) -> None:
        """Make a scalar that holds `state`."""
        require("nki.isa.NkiScalar")
        self.dtype: DType = int64 if dtype == "int64" else int32
        self.origins = ()
        self.value = wrap32(state) if self.dtype == "int32" else int(np.int64(state))
        self.is_comparison = is_comparison

    def __repr__(self) -> str:
        return f"<NkiScalar {self.dtype} {self.value}>"

    def _with(self, other: Any, value: int) -> NkiScalar:
        if isinstance(other, NkiScalar) and other.dtype != self.dtype:
            raise KernelError(
                "dtype",
                f"arithmetic of {self!r} and {other!r}",
                rule="both NkiScalars have the same dtype",
                source="nki.isa.NkiScalar",
            )
        return derived(NkiScalar(value, self.dtype), self, other)

    def __add__(self, other: Any) -> NkiScalar:
        return self._with(other, self.value + value_of(other))

    __radd__ = __add__

    def __sub__(self, other: Any) -> NkiScalar:
        return self._with(other, self.value - value_of(other))

    def __rsub__(self, other: Any) -> NkiScalar:
        return self._with(other, value_of(other) - self.value)

    def __mul__(self, other: Any) -> NkiScalar:
        return self._with(other, self.value * value_of(other))

    __rmul__ = __mul__

    def __neg__(self) -> NkiScalar:
        return self._with(self, -self.value)

    def __pos__(self) -> NkiScalar:
        return self

    def _compared(self, result: bool, other: Any) -> NkiScalar:
        if self.dtype == "int64":
            raise KernelError(
                "dtype", f"comparison of {self!r}", rule="int64 NkiScalars do not compare", source="nki.isa.NkiScalar"
            )
        return derived(NkiScalar(int(result), self.dtype, is_comparison=True), self, other)

    def __lt__(self, other: Any) -> NkiScalar:
        return self._compared(self.value < value_of(other), other)

    def __le__(self, other: Any) -> NkiScalar:
        return self._compared(self.value <= value_of(other), other)

    def __gt__(self, other: Any) -> NkiScalar:
        return self._compared(self.value > value_of(other), other)

    def __ge__(self, other: Any) -> NkiScalar:
        return self._compared(self.value >= value_of(other), other)

    def __eq__(self, other: object) -> NkiScalar:  # type: ignore[override]
        return self._compared(other is not None and self.value == value_of(other), other)

    def __ne__(self, other: object) -> NkiScalar:  # type: ignore[override]
        return self._compared(other is None or self.value != value_of(other), other)


_Kind = TypeVar("_Kind", bound=_Device)


def origins_of(*values: Any) -> tuple[Any, ...]:
    """What the loads wrote that registers and traced scalars come from; nothing for other values."""
    return tuple(dict.fromkeys(origin for value in values if isinstance(value, _Device) for origin in value.origins))


def derived(result: _Kind, *sources: Any) -> _Kind:
    """`result`, computed from other registers, traced scalars and numbers."""
    result.origins = origins_of(*sources)
    return result


def value_of(value: Any) -> int:
    """The integer a register, a traced scalar or a plain int holds.

    Raises:
        KernelError: a register that nothing was moved into, or no integer at all.
    """
    if not isinstance(value, VirtualRegister | NkiScalar):
        if not isinstance(value, int | np.integer):
            raise KernelError(
                "argument",
                f"{value!r} where a register or an integer is expected",
                rule="registers take integers, other registers and traced scalars",
                source="nki.isa.register_move",
            )
        return int(value)
    if value.value is None:
        raise KernelError(
            "argument",
            "a register is used before it has a value",
            rule="nisa.register_alloc(None) leaves the register uninitialised",
            source="nki.isa.register_alloc",
            fix="give register_alloc a value, or use nisa.register_move or nisa.register_load first",
        )
    return int(value.value)


def wrap32(value: int) -> int:
    """An integer in two's complement of 32 bits."""
    return (int(value) + 2**31) % 2**32 - 2**31
