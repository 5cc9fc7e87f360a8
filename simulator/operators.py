"""What Python's operators and NumPy's functions do to a tensor: an error that names the instruction to use."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from .errors import KernelTypeError
from .missing import UnknownNameError

_DIVIDE = "nl.multiply(x, nl.reciprocal(y))"  # nl.divide and nl.mod do not compile for hardware
_BINARY = {
    "add": ("+", "nl.add"),
    "sub": ("-", "nl.subtract"),
    "mul": ("*", "nl.multiply"),
    "truediv": ("/", _DIVIDE),
    "floordiv": ("//", f"nl.floor of {_DIVIDE}"),
    "mod": ("%", f"nl.floor of {_DIVIDE}, times y, subtracted from x"),
    "pow": ("**", "nl.power"),
    "matmul": ("@", "nl.matmul"),
    "and": ("&", "nl.bitwise_and or nl.logical_and"),
    "or": ("|", "nl.bitwise_or or nl.logical_or"),
    "xor": ("^", "nl.bitwise_xor"),
    "lshift": ("<<", "nl.left_shift"),
    "rshift": (">>", "nl.right_shift"),
}
_UNARY = {
    "neg": ("-tensor", "nl.negative"),
    "pos": ("+tensor", "nl.copy"),
    "abs": ("abs(tensor)", "nl.abs"),
    "invert": ("~tensor", "nl.invert"),
    "float": ("float(tensor)", "a (P, 1) tile as operand0, scale or bias"),
    "int": ("int(tensor)", "nisa.scalar_load or nisa.register_load for addresses and bounds of loops"),
}
_NUMPY = {"divide": _DIVIDE, "true_divide": _DIVIDE, "absolute": "nl.abs"}
_ATTRIBUTES = {
    "T": "nl.transpose(tile) or nisa.nc_transpose for a tile, .permute(…) for a view of HBM",
    "astype": "nisa.tensor_copy into a tile of the other dtype; .view(dtype) sees the bits as another type",
    "transpose": "nl.transpose(tile) or nisa.nc_transpose for a tile, .permute(…) for a view of HBM",
    "copy": "nisa.tensor_copy into a new tile",
    "sum": "nl.sum(tile, axis) or nisa.tensor_reduce",
    "max": "nl.max(tile, axis) or nisa.tensor_reduce",
    "mean": "nl.mean(tile, axis)",
    "item": "nisa.scalar_load or nisa.register_load",
    "assume_in_bounds": "slices, clamped by min(stop, size)",
}


def refused(what: str, tensor: object, instead: str) -> KernelTypeError:
    """The error of computing with a tensor in Python."""
    return KernelTypeError(
        "argument",
        f"{what} with {tensor!r}",
        rule="tensors are computed with by instructions: they have no Python operators, and NumPy does not know them",
        source="nki.language.NkiTensor",
        fix=f"use {instead}",
    )


def _binary(sign: str, instead: str, *, reverse: bool) -> Callable[[Any, Any], Any]:
    def operator(self: Any, other: Any) -> Any:
        left, right = (other, self) if reverse else (self, other)
        names = ["tensor" if each is self else type(each).__name__ for each in (left, right)]
        raise refused(f"{names[0]} {sign} {names[1]}", self, instead)

    return operator


def _unary(text: str, instead: str) -> Callable[[Any], Any]:
    def operator(self: Any) -> Any:
        raise refused(text, self, instead)

    return operator


class NoOperators:
    """A mixin: Python's operators and NumPy's functions raise KernelTypeError and name what to use."""

    __slots__ = ()

    def __array_ufunc__(self, ufunc: Any, *_: Any, **__: Any) -> Any:
        from .nki import language

        name: str = ufunc.__name__
        same = f"nl.{name}" if name in vars(language) else "functions of nki.language"
        raise refused(f"np.{name}", self, _NUMPY.get(name, same))

    def __iter__(self) -> Any:
        raise refused("iteration", self, "for i in range(tensor.shape[0]), and tensor[i]")

    def __getattr__(self, name: str) -> Any:
        """Called for names that a tensor does not have.

        Raises:
            AttributeError: always; with what to use instead.
        """
        if name.startswith("__"):
            raise AttributeError(f"a NkiTensor has no {name}")
        near = get_close_matches(name, dir(type(self)), n=1)
        raise UnknownNameError(
            f"a NkiTensor has no {name!r}",
            rule="the attributes are those of the NKI reference",
            source="nki.language.NkiTensor",
            fix=f"use {_ATTRIBUTES[name]}" if name in _ATTRIBUTES else f"did you mean .{near[0]}?" if near else "",
        )


for _name, (_sign, _instead) in _BINARY.items():
    setattr(NoOperators, f"__{_name}__", _binary(_sign, _instead, reverse=False))
    setattr(NoOperators, f"__r{_name}__", _binary(_sign, _instead, reverse=True))
for _name, (_sign, _instead) in _UNARY.items():
    setattr(NoOperators, f"__{_name}__", _unary(_sign, _instead))
