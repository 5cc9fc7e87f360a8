"""Keys of `tensor[…]`: completed, checked, and told where they are outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .objects import DynamicSlice
from .views import view_error

if TYPE_CHECKING:
    from .tensor import NkiTensor


def expanded(keys: tuple[Any, ...], ndim: int, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Keys for every dimension: `...` and missing ones become full slices."""
    dots = [i for i, k in enumerate(keys) if k is Ellipsis]
    given = len(keys) - len(dots)
    if len(dots) > 1 or given > ndim:
        raise view_error(
            f"{given} indices for a tensor of shape {shape}",
            rule="one index for each dimension, one `...`",
            fix="tensor.expand_dim(dim) makes a dimension of size 1" if any(k is None for k in keys) else "",
        )
    fill = (slice(None),) * (ndim - given)
    return keys[: dots[0]] + fill + keys[dots[0] + 1 :] if dots else keys + fill


def bound_of(value: Any, n: int, tensor: NkiTensor) -> int:
    """A bound of a slice, counted from the end where it is negative."""
    bound: int = value if type(value) is int else index_of(value, tensor, "bound")
    return bound + n if bound < 0 else bound


def index_of(value: Any, tensor: NkiTensor, what: str) -> int:
    """An int out of anything that has `__index__`."""
    try:
        return int(value.__index__())
    except AttributeError:
        raise view_error(
            f"slice {what} {value!r} of {tensor!r}",
            rule="slices have int bounds",
            fix="use nl.ds(register, size) for a start that is known only on the device",
        ) from None


def dynamic_view(tensor: NkiTensor, keys: tuple[Any, ...], dim: int) -> NkiTensor | None:
    """The view for a key that is known only at run time, None for any other key."""
    from .dynamic import dynamic_index

    return dynamic_index(tensor, keys, dim)


def other_key(key: Any, n: int, tensor: NkiTensor) -> tuple[int, int, bool]:
    """Start, stop and whether the dimension stays, for `nl.ds` and for ints of other types."""
    if isinstance(key, DynamicSlice):
        start = index_of(key.start, tensor, "start")
        return start, start + key.size, True
    if hasattr(key, "__index__"):
        start = int(key.__index__())
        start = start + n if start < 0 else start
        return start, start + 1, False
    raise view_error(f"index {key!r} of {tensor!r}", rule="indices are ints, slices, `...` and nl.ds(start, size)")


def outside_error(tensor: NkiTensor, dim: int, key: Any) -> Exception:
    """The error of a key that leaves its dimension."""
    shown = f"{key.start}:{key.stop}:{key.step}".removesuffix(":None") if isinstance(key, slice) else repr(key)
    return view_error(
        f"index {shown.replace('None', '')} is outside dimension {dim} of {tensor!r}",
        values=f"dimension {dim} has {tensor.shape[dim]} elements",
        rule="0 <= start < stop <= size and step >= 1",
        fix="clamp the last tile: stop = min(stop, size)",
    )
