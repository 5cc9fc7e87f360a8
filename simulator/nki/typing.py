"""`nki.typing`: annotations of kernel parameters."""

from ..annotations import mutable_tensor, tensor

__all__ = ["mutable_tensor", "tensor"]
