"""What kernels see besides tensors: the base class of their objects, and dynamic slices."""

from __future__ import annotations

import importlib
import inspect
import sys
from numbers import Number
from typing import Any

from .errors import KernelTypeError


def unknown(value: object, use: str) -> KernelTypeError:
    """The error of Python control flow on what only the device knows."""
    return KernelTypeError(
        "control-flow",
        f"{use} of a {type(value).__name__}",
        values=repr(value),
        rule="its value is not known while the kernel is traced",
        source="nki.isa.VirtualRegister",
        fix="use nl.fori_loop or nl.while_loop for loops that depend on it; nl.greater, nl.maximum, nl.where and the like "
        "compare and choose elements of tiles",
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
    """Base class of configuration objects in kernels: keyword arguments become attributes.

    A subclass with annotated fields takes them by position or name, with `@dataclass` and without: their defaults or
    None where they are left out, then `__post_init__` (NKI Language Guide, Class Support).
    """

    __slots__ = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Set the fields of the class and its bases and each keyword argument as attributes, and run `__post_init__`.

        Raises:
            TypeError: more positional arguments than fields, or a field twice.
        """
        names = tuple(dict.fromkeys(name for cls in reversed(type(self).__mro__) for name in _annotated(cls)))
        given = dict(zip(names, args, strict=False))
        if len(args) > len(names) or given.keys() & kwargs.keys():
            raise TypeError(
                f"{type(self).__name__}({', '.join(names)}) got {len(args)} positional arguments and {[*kwargs]}"
            )
        for name, value in ({name: getattr(type(self), name, None) for name in names} | given | kwargs).items():
            setattr(self, name, value)
        if hasattr(self, "__post_init__"):
            self.__post_init__()


# The reference's signature; positional fields are the language guide's.
_SIGNATURE = inspect.Signature(
    [
        inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD),
        inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
    ]
)
setattr(NKIObject.__init__, "__signature__", _SIGNATURE)  # noqa: B010 (functions have no such attribute to mypy)


def _annotated(cls: type) -> tuple[str, ...]:
    """Names of the annotations of a class itself."""
    if sys.version_info >= (3, 14):
        annotationlib = importlib.import_module("annotationlib")  # of 3.14 on
        return tuple(annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF))
    return tuple(inspect.get_annotations(cls))


class DynamicSlice:
    """`nl.ds(start, size)`: `size` elements from `start`, which may be an int or a register."""

    __slots__ = ("size", "start")

    def __init__(self, start: Any, size: int) -> None:
        """Keep start and size."""
        self.start = start
        self.size = size

    def __repr__(self) -> str:
        return f"nl.ds({self.start}, {self.size})"
