"""Annotations of kernel parameters: `nt.tensor[128, 512]`, `nt.mutable_tensor`."""

# ruff: noqa: N801 (the names are the vendor's)
from __future__ import annotations

from typing import Any

from .tensor import NkiTensor


class TensorType:
    """A tensor parameter of a declared shape: `nt.tensor[128, 512]`; `mutable` where the kernel writes it."""

    __slots__ = ("mutable", "sizes")

    def __init__(self, sizes: tuple[Any, ...], *, mutable: bool) -> None:
        """Keep the sizes; entries that are not ints declare nothing."""
        self.sizes = sizes
        self.mutable = mutable

    def __repr__(self) -> str:
        return f"{'mutable_tensor' if self.mutable else 'tensor'}[{', '.join(map(str, self.sizes))}]"


class _Tensors(type):
    """Every NkiTensor is an instance, and brackets declare a shape."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, NkiTensor)

    def __getitem__(cls, sizes: Any) -> TensorType:
        shape = sizes if isinstance(sizes, tuple) else (sizes,)
        return TensorType(shape, mutable=cls.__name__ == "mutable_tensor")


class tensor(metaclass=_Tensors):
    """Annotation of a tensor parameter; `tensor[128, 512]` declares its shape."""


class mutable_tensor(tensor):
    """Annotation of an input that the kernel writes into; `mutable_tensor[128, 512]` declares its shape."""
