"""Kernels that were written against the vendor's installed package, made to run on the simulator.

Nothing is imported again and nothing of the vendor's is changed: the kernel's function is copied, with every global,
closure cell and default that belongs to the vendor's `nki` replaced by ours, recursively through the user's functions,
classes and modules.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

from .missing import missing

_OURS = f"{__package__}.nki"
_PREFIXES = ("neuronxcc.nki", "nki")
_INNER = ("function", "func", "fn", "_func", "_fn", "__wrapped__")
_PLAIN = (str, bytes, int, float, complex, type(None))


def vendor_is_loaded() -> bool:
    """Whether `nki` in this process is the vendor's package and not ours."""
    module = sys.modules.get("nki")
    return module is not None and module.__name__ != _OURS


def rebound(kernel: Any) -> Callable[..., Any]:
    """The Python function of a kernel, with the vendor's `nki` replaced by the simulator's.

    Args:
        kernel: a function, or the object that the vendor's `nki.jit` made of it.
    """
    return _Rebinder().function(function_of(kernel))


def function_of(kernel: Any) -> FunctionType:
    """The function that the user wrote, out of what a decorator made of it.

    Raises:
        TypeError: there is none to be found.
    """
    seen: set[int] = set()
    while not isinstance(kernel, FunctionType):
        inner = next((vars_of(kernel)[name] for name in _INNER if name in vars_of(kernel)), None)
        if inner is None or id(kernel) in seen:
            raise TypeError(f"{kernel!r} holds no Python function")
        seen.add(id(kernel))
        kernel = inner
    return kernel


def vars_of(value: Any) -> dict[str, Any]:
    """Attributes of an object, {} where it has no dict."""
    return dict(getattr(value, "__dict__", {}))


class _Rebinder:
    """One rebinding: what was replaced already, by identity."""

    def __init__(self) -> None:
        self.done: dict[int, Any] = {}
        self.kept: list[Any] = []
        self.vendor = dict(_vendor_objects())

    def value(self, value: Any) -> Any:
        """What stands for a value in the copied world."""
        if isinstance(value, _PLAIN):
            return value
        if id(value) in self.done:
            return self.done[id(value)]
        if isinstance(value, ModuleType):
            return self.module(value)
        if id(value) in self.vendor:
            return _ours(*self.vendor[id(value)])
        if isinstance(value, FunctionType):
            return self.function(value) if _is_users(value.__module__) else value
        if isinstance(value, type):
            return self.kind(value) if _is_users(value.__module__) else value
        if isinstance(value, staticmethod | classmethod):
            return type(value)(self.value(value.__func__))
        if isinstance(value, property):
            parts = [part and self.value(part) for part in (value.fget, value.fset, value.fdel)]
            return property(parts[0], parts[1], parts[2], value.__doc__)
        if isinstance(value, functools.partial):
            return functools.partial(self.value(value.func), *map(self.value, value.args), **value.keywords)
        if type(value) in (list, tuple, set):
            return type(value)(map(self.value, value))
        if type(value) is dict:
            return {key: self.value(item) for key, item in value.items()}
        if _top(type(value).__module__):
            return self.jitted(value)
        return value

    def function(self, function: FunctionType) -> FunctionType:
        """A copy of a user's function; its globals hold only the names that its code uses."""
        if id(function) in self.done:
            found: FunctionType = self.done[id(function)]
            return found
        names = {"__builtins__": function.__globals__.get("__builtins__"), "__name__": function.__module__}
        cells = tuple(CellType() for _ in function.__closure__ or ())
        copy = FunctionType(function.__code__, names, function.__name__, None, cells)
        self._keep(function, copy)
        for name in _names(function.__code__):
            if name in function.__globals__:
                names[name] = self.value(function.__globals__[name])
        for cell, old in zip(cells, function.__closure__ or (), strict=True):
            cell.cell_contents = self.value(old.cell_contents)
        copy.__defaults__ = self.value(function.__defaults__)
        copy.__kwdefaults__ = self.value(function.__kwdefaults__)
        copy.__annotations__ = dict(function.__annotations__)
        copy.__doc__, copy.__qualname__ = function.__doc__, function.__qualname__
        return copy

    def jitted(self, value: Any) -> Any:
        """Ours for an object of the vendor's: a kernel for a kernel, else the value itself."""
        try:
            inner = function_of(value)
        except TypeError:
            return value
        from .jit import Kernel

        kernel = Kernel(self.function(inner))
        self._keep(value, kernel)
        return kernel

    def kind(self, kind: type) -> type:
        """A copy of a user's class with its methods rebound."""
        if type(kind) is not type:
            return kind  # enumerations and other metaclasses keep their identity
        bases = tuple(self.value(base) for base in kind.__bases__)
        body = {name: item for name, item in vars(kind).items() if name not in ("__dict__", "__weakref__")}
        copy = type(kind.__name__, bases, {})
        self._keep(kind, copy)
        for name, item in body.items():
            if name not in ("__slots__", "__module__", "__doc__", "__firstlineno__", "__static_attributes__"):
                setattr(copy, name, self.value(item))
        copy.__module__, copy.__qualname__ = kind.__module__, kind.__qualname__
        return copy

    def module(self, module: ModuleType) -> ModuleType:
        """Our module for one of the vendor's; a stand-in for a user's module that uses `nki`; else the module itself."""
        suffix = _suffix(module.__name__)
        if suffix is not None:
            return importlib.import_module(_OURS + suffix)
        if not _is_users(module.__name__) or not _uses_nki(module):
            return module
        copy = ModuleType(module.__name__)
        self._keep(module, copy)
        for name, item in vars(module).items():
            if not name.startswith("__"):
                setattr(copy, name, self.value(item))
        return copy

    def _keep(self, old: Any, new: Any) -> None:
        self.done[id(old)] = new
        self.kept.append(old)


def _top(name: str | None) -> bool:
    return name is not None and any(name == prefix or name.startswith(prefix + ".") for prefix in _PREFIXES)


def _suffix(name: str) -> str | None:
    """`.isa` for `nki.isa` and `neuronxcc.nki.isa`; None for other modules."""
    for prefix in _PREFIXES:
        if name == prefix or name.startswith(prefix + "."):
            return name.removeprefix(prefix)
    return None


def _is_users(name: str | None) -> bool:
    """Whether a module may hold the user's code: not the standard library, NumPy or nkilab itself."""
    top = (name or "").split(".")[0]
    return (
        top not in sys.stdlib_module_names and top not in ("numpy", "ml_dtypes", "torch", "nkilab")
    ) or top == "__main__"


def _uses_nki(module: ModuleType) -> bool:
    return any(
        _top(item.__name__ if isinstance(item, ModuleType) else getattr(item, "__module__", None))
        for item in vars(module).values()
    )


def _vendor_objects() -> Iterator[tuple[int, tuple[str, str]]]:
    """Identity of every public object of the vendor's package, with its module's suffix and name."""
    modules = [(suffix, module) for name, module in list(sys.modules.items()) if (suffix := _suffix(name)) is not None]
    for suffix, module in sorted(modules, key=lambda entry: -len(entry[0])):
        for name, item in vars(module).items():
            if not name.startswith("_") and not isinstance(item, (*_PLAIN, ModuleType)):
                yield id(item), (suffix, name)


def _ours(suffix: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(_OURS + suffix), name)
    except (ImportError, AttributeError):
        return missing("nki" + suffix, name)


def _names(code: CodeType) -> set[str]:
    """Global names that a code object and the functions in it may use."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if inspect.iscode(constant):
            names |= _names(constant)
    return names
