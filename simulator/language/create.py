"""Tensors made by a kernel: ndarray, zeros, full, shared constants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..constants import MemoryRegion
from ..context import current
from ..deprecated import deprecated
from ..errors import KernelError
from ..isa.dma import dma_copy
from ..isa.elementwise import memset
from ..layout import HBM
from ..levels import added_parameters
from ..memory import SPACES
from ..tensor import NkiTensor
from ..values.dtypes import DType, uint8
from ..values.dtypes import get as dtype_of
from ..written import ALL

sbuf = MemoryRegion.sbuf
_REGIONS = {region.value: region for region in MemoryRegion} | {"hbm": MemoryRegion.private_hbm}


def region_of(buffer: Any) -> MemoryRegion:
    """The memory region of a `buffer=` argument: a MemoryRegion, its name, or a region object of `nl`.

    Raises:
        KernelError: there is no such region.
    """
    if isinstance(buffer, MemoryRegion):
        return buffer
    if isinstance(buffer, str) and buffer in _REGIONS:
        deprecated(f"buffer={buffer!r}", f"nl.{buffer}")
    found = _REGIONS.get(str(getattr(buffer, "value", buffer)))
    if found is None:
        raise KernelError(
            "argument",
            f"buffer={buffer!r}",
            rule="buffer is nl.sbuf, nl.psum, nl.hbm (private_hbm) or nl.shared_hbm",
            source="nki.language.MemoryRegion",
        )
    return found


def shape_of(shape: Any) -> tuple[int, ...]:
    """A shape argument as a tuple of positive ints.

    Raises:
        KernelError: it is not one.
    """
    if type(shape) is tuple and shape:
        for n in shape:
            if type(n) is not int or n < 1:
                break
        else:
            return shape
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    try:
        result = tuple(int(n.__index__()) for n in sizes)
    except AttributeError:
        result = (0,)
    if not result or min(result) < 1:
        raise KernelError(
            "shape",
            f"nl.ndarray(shape={shape!r})",
            rule="a shape is a tuple of positive ints",
            source="nki.language.ndarray",
        )
    return result


def ndarray(shape: Any, dtype: Any, buffer: Any = sbuf, name: str = "", address: Any = None) -> NkiTensor:
    """A new tensor, uninitialised.

    Args:
        shape: elements; on chip the first dimension is the partition dimension (at most 128).
        dtype: data type.
        buffer: `nl.sbuf`, `nl.psum`, `nl.hbm` or `nl.shared_hbm`.
        name: for messages and reports.
        address: `(partition, byte)` on chip; tensors whose addresses overlap share their bytes.

    Raises:
        KernelError: too many partitions, more bytes than a partition has, an address that does not fit.
    """
    region = region_of(buffer)
    sizes = shape_of(shape)
    if address is not None and SPACES[region] == HBM:
        address = None
    if len(sizes) == 1 and SPACES[region] != HBM:
        sizes = (*sizes, 1)
    return current().allocate(sizes, dtype_of(dtype), region, address=address, name=str(name or ""))


def full(shape: Any, fill_value: float, dtype: Any, buffer: Any = sbuf, name: str = "") -> NkiTensor:
    """A new tensor filled with a number. On chip a memset fills it, in HBM a constant does.

    Raises:
        KernelError: as `ndarray`.
    """
    tensor = ndarray(shape, dtype, buffer, name)
    if tensor.layout.space != HBM:
        memset(tensor, int(fill_value) if tensor.dtype.is_integer else fill_value)
        return tensor
    _fill(tensor, np.full(tensor.shape, fill_value))
    return tensor


def zeros(shape: Any, dtype: Any, buffer: Any = sbuf, name: str = "") -> NkiTensor:
    """A new tensor of zeros."""
    return full(shape, 0, dtype, buffer, name)


def ones(shape: Any, dtype: Any, buffer: Any = sbuf, name: str = "") -> NkiTensor:
    """A new tensor of ones."""
    return full(shape, 1, dtype, buffer, name)


def zeros_like(x: NkiTensor, dtype: Any = None, buffer: Any = None, name: str = "") -> NkiTensor:
    """A new tensor of zeros in the shape, dtype and buffer of another."""
    return zeros(x.shape, dtype or x.dtype, buffer or x.buffer, name)


def empty_like(
    x: Any,
    dtype: Any = None,
    buffer: Any = None,
    name: str = "",
    *,
    transpose_axes: Sequence[int] | None = None,
    address: Any = None,
) -> Any:
    """A new uninitialised tensor or grid in the shape, dtype and buffer of another.

    `transpose_axes` (API 0.7) gives the shape of an SBUF destination for `nisa.dma_transpose` with these axes.

    Raises:
        KernelError: axes that `dma_transpose` does not have.
    """
    added_parameters("nki.language.empty_like", transpose_axes is not None, address is not None)
    if not isinstance(x, NkiTensor):
        from .grids import empty_grid

        return empty_grid(x, dtype, buffer, name, address)
    if transpose_axes is not None and tuple(transpose_axes) not in ((1, 0), (2, 1, 0), (3, 1, 2, 0)):
        raise KernelError(
            "argument",
            f"nl.empty_like(transpose_axes={transpose_axes!r})",
            rule="(1, 0), (2, 1, 0) or (3, 1, 2, 0)",
            source="nki.language.empty_like",
        )
    shape = x.shape if transpose_axes is None else tuple(x.shape[a] for a in transpose_axes)
    return ndarray(shape, dtype or x.dtype, buffer or x.buffer, name, address)


def shared_constant(constant: Any) -> NkiTensor:
    """A tensor in shared HBM that holds constant data: an array, or the path of a `.npy` file.

    Raises:
        UsageError: a dtype that NKI does not have.
    """
    data = np.load(constant) if isinstance(constant, str | Path) else np.asarray(constant)
    dtype = dtype_of(data.dtype)
    tensor = current().allocate(data.shape or (1,), dtype, MemoryRegion.shared_hbm, kind="constant")
    _fill(tensor, data)
    return tensor


def shared_identity_matrix(n: int, dtype: Any = uint8, dst: NkiTensor | None = None) -> NkiTensor:
    """An n x n identity matrix in SBUF, loaded from a constant in HBM; into `dst` if that is given."""
    constant = current().allocate((n, n), dtype_of(dtype), MemoryRegion.shared_hbm, kind="constant", name="identity")
    _fill(constant, np.eye(n))
    tile = ndarray((n, n), dtype) if dst is None else dst
    dma_copy(tile, constant)
    return tile


def _fill(tensor: NkiTensor, data: np.ndarray) -> None:
    """Give an HBM tensor its contents before the kernel runs, as constants have."""
    context = current()
    if tensor.storage.id in context.joined:
        return
    tensor.storage.home.written.state = ALL
    if context.values:
        target = tensor.storage.overwrite(tensor.layout, tensor.byte)
        target[...] = data.reshape(tensor.shape).astype(target.dtype)


def dtype_argument(dtype: Any, default: DType) -> DType:
    """A `dtype=` argument, or the default where it is None."""
    return default if dtype is None else dtype_of(dtype)
