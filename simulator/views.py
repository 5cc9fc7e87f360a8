"""Arithmetic of views: shapes and strides in, shapes and strides out. Nothing here knows of memory."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from .errors import KernelError

Dims = tuple[tuple[int, ...], tuple[int, ...]]


def view_error(what: str, *, values: str = "", rule: str = "", fix: str = "", method: str = "") -> KernelError:
    """An error of a view method, with the API reference as its source."""
    source = f"nki.language.NkiTensor.{method}" if method else "nki.language.NkiTensor"
    return KernelError("view", what, values=values, rule=rule, source=source, fix=fix)


def reshape(shape: tuple[int, ...], strides: tuple[int, ...], new: Sequence[int]) -> Dims | None:
    """Strides of `new` over the same elements, or None where the layout cannot be seen as that shape.

    Size-1 dimensions do not matter. The remaining old and new dimensions are matched in groups of equal product; the
    old dimensions of a group must be contiguous among themselves.
    """
    old = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    out: list[int] = []
    i = j = 0
    new = tuple(new)
    while j < len(new):
        if new[j] == 1:
            out.append(old[i][0] * old[i][1] if i < len(old) else 1)
            j += 1
            continue
        group, size = [j], new[j]
        first = i
        if i >= len(old):
            return None
        total = old[i][0]
        i += 1
        while size != total:
            if size < total:
                j += 1
                if j >= len(new):
                    return None
                group.append(j)
                size *= new[j]
            else:
                if i >= len(old) or old[i - 1][1] != old[i][0] * old[i][1]:
                    return None
                total *= old[i][0]
                i += 1
        if i - first > 1 and any(old[k][1] != old[k + 1][0] * old[k + 1][1] for k in range(first, i - 1)):
            return None
        step = old[i - 1][1]
        steps: list[int] = []
        for k in reversed(group):
            steps.append(step)
            step *= new[k]
        out.extend(reversed(steps))
        j += 1
    return new, tuple(out)


def infer(shape: Sequence[int], size: int, what: str) -> tuple[int, ...]:
    """`shape` with its one -1 replaced so that the product is `size`."""
    known = prod(n for n in shape if n != -1)
    unknown = sum(n == -1 for n in shape)
    if unknown > 1 or any(n < -1 or n == 0 for n in shape) or (unknown and (known == 0 or size % known)):
        raise view_error(f"{what}: shape {tuple(shape)} cannot hold {size} elements", rule="at most one size may be -1")
    full = tuple(size // known if n == -1 else n for n in shape)
    if prod(full) != size:
        raise view_error(
            f"{what}: shape {tuple(shape)} has {prod(full)} elements",
            values=f"the view has {size} elements",
            rule="the number of elements must stay the same",
        )
    return full


def normal_dim(dim: object, ndim: int, method: str) -> int:
    """A dimension counted from the front."""
    if not isinstance(dim, int) or not -ndim <= dim < ndim:
        raise view_error(
            f"{method}: there is no dimension {dim}", values=f"the tensor has {ndim} dimensions", method=method
        )
    return dim % ndim


Pattern = Sequence[str | Sequence[str]]


def rearrange(
    shape: tuple[int, ...], source: Pattern, target: Pattern, sizes: dict[str, int]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """The three steps of an einops-style rearrangement: split shape, permutation, merged shape.

    Raises KernelError where the patterns do not name the same dimensions or a size does not divide.
    """
    groups = [(g,) if isinstance(g, str) else tuple(g) for g in source]
    merged = [(g,) if isinstance(g, str) else tuple(g) for g in target]
    names = [name for group in groups for name in group]
    wanted = [name for group in merged for name in group]
    if len(groups) != len(shape) or sorted(names) != sorted(wanted) or len(set(names)) != len(names):
        raise view_error(
            f"rearrange({tuple(source)} -> {tuple(target)}) of a tensor of shape {shape}",
            rule="the source names every dimension once, and the target the same names",
            method="rearrange",
        )
    known: dict[str, int] = dict(sizes)
    split: list[int] = []
    for group, n in zip(groups, shape, strict=True):
        part = infer([known.get(name, -1) for name in group], n, "rearrange")
        known.update(zip(group, part, strict=True))
        split += part
    order = tuple(names.index(name) for name in wanted)
    return tuple(split), order, tuple(prod(known[name] for name in group) for group in merged)
