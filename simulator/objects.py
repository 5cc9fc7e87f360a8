"""What kernels see besides tensors: the base class of their objects, and dynamic slices."""

from __future__ import annotations

from numbers import Number
from typing import Any


def unknown(value: object, use: str) -> TypeError:
    """The error of Python control flow on what only the device knows."""
    return TypeError(
        f"{use} of a {type(value).__name__}: its value is not known while the kernel is traced; "
        "use nl.fori_loop or nl.while_loop for loops that depend on it"
    )


class DeviceValue:
    """Something whose value only the device knows: it does not compare with numbers (with None and the like it may)."""

    __slots__ = ()
    __hash__ = object.__hash__

    def _compare(self, other: object) -> Any:
        del other
        raise unknown(self, "a comparison")

    __lt__ = __le__ = __gt__ = __ge__ = _compare

    def __eq__(self, other: object) -> bool:
        if self is not other and isinstance(other, Number):
            raise unknown(self, "a comparison")
        return self is other


class NKIObject:
    """Base class of configuration objects in kernels: keyword arguments become attributes."""

    __slots__ = ()

    def __init__(self, **kwargs: Any) -> None:
        """Set each keyword argument as an attribute."""
        for name, value in kwargs.items():
            setattr(self, name, value)


class DynamicSlice:
    """`nl.ds(start, size)`: `size` elements from `start`, which may be an int or a register."""

    __slots__ = ("size", "start")

    def __init__(self, start: Any, size: int) -> None:
        """Keep start and size."""
        self.start = start
        self.size = size

    def __repr__(self) -> str:
        return f"nl.ds({self.start}, {self.size})"
