"""What kernels see besides tensors: the base class of their objects, and dynamic slices."""

from __future__ import annotations

from typing import Any


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
