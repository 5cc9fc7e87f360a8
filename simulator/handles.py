"""`NkiTensor(shape, dtype, storage)`: storage handles under another shape, and placeholders without storage."""

from __future__ import annotations

from math import prod
from typing import Any

from .constants import MemoryRegion
from .layout import HBM, Layouts
from .memory import SPACES, Storage, row_major
from .tensor import NkiTensor
from .values.dtypes import DType
from .views import view_error

_NOWHERE = -1


def bind(
    tensor: NkiTensor,
    shape: tuple[int, ...],
    dtype: DType,
    storage: Storage | None,
    buffer: Any,
    name: str,
    address: Any,
) -> None:
    """Fill a tensor made by its public constructor.

    Raises:
        KernelError: the shape needs more partitions or bytes than the storage has.
    """
    del address
    on_chip_free = shape[1:]
    if storage is None:
        region = buffer if isinstance(buffer, MemoryRegion) else MemoryRegion(str(buffer))
        on_chip = SPACES[region] != HBM
        rows, free = (shape[0], on_chip_free) if on_chip else (1, shape)
        storage = Storage(_NOWHERE, region, dtype, rows, prod(free) * dtype.itemsize, _NOWHERE)
        storage.name = name
        layouts = Layouts()
    else:
        from .context import current

        layouts = current().layouts
    space, home = storage.space, storage.home
    rows, free = (shape[0], on_chip_free) if space != HBM else (1, shape)
    if rows > storage.rows or prod(free) * dtype.itemsize > storage.row_bytes:
        raise view_error(
            f"NkiTensor({shape}, {dtype}) of a storage of {storage.rows} x {storage.row_bytes} bytes",
            rule="the shape needs no more partitions and bytes than its storage has",
        )
    strides = row_major(shape) if space == HBM else (storage.row_bytes // dtype.itemsize, *row_major(free))
    layout = layouts.get(space, dtype, shape, strides, storage.base_partition, home.row_bytes, home.rows)
    tensor.storage, tensor.layout, tensor.byte = storage, layout, storage.base_byte
    tensor.layouts, tensor.indirection = layouts, None


def is_placeholder(tensor: NkiTensor) -> bool:
    """Whether a tensor was made without storage, so that no instruction can use it."""
    return tensor.storage.id == _NOWHERE
