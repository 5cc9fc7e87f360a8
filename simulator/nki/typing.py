"""Annotations of kernel parameters: `nt.tensor`, `nt.mutable_tensor`."""

# ruff: noqa: N801, N813 (the names are the vendor's)
from __future__ import annotations

from ..tensor import NkiTensor as tensor


class mutable_tensor(tensor):
    """Annotation of an input that the kernel writes into."""


__all__ = ["mutable_tensor", "tensor"]
