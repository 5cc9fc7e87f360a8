"""Addresses that are known only when an instruction runs: scalar offsets, per-row offsets, access patterns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import views
from .columns import Columns
from .constants import oob_mode
from .errors import KernelError
from .layout import HBM, SBUF, Layout
from .registers import NkiScalar, VirtualRegister, value_of
from .tensor import DynamicSlice, NkiTensor, tensor_at
from .trace import FLAG
from .values.dtypes import get as dtype_of
from .views import view_error
from .written import ALL

if TYPE_CHECKING:
    from .context import Context


@dataclass(frozen=True, slots=True, eq=False)
class Indirection:
    """How a view's address depends on a run-time index.

    Attributes:
        index: one number (1x1 tensor, register, NkiScalar), or a (P, 1) SBUF tensor with one row number each.
        step: elements of the tensor between neighbouring indices.
        rows: whether every row of the first dimension has its own index.
    """

    index: Any
    step: int
    rows: bool

    def scatter(self, tensor: NkiTensor, result: np.ndarray) -> None:
        """Write rows to where their indices say; rows outside the tensor are left out."""
        layout, byte, count = table(tensor)
        rows = row_numbers(tensor)
        inside = (rows >= 0) & (rows < count)
        target = tensor.storage.overwrite(layout, byte, partly=True)
        target[rows[inside]] = result.reshape(tensor.shape)[inside]


def is_scalar(value: Any) -> bool:
    """Whether a value is a register or a traced scalar."""
    return isinstance(value, VirtualRegister | NkiScalar)


def dynamic_index(tensor: NkiTensor, keys: tuple[Any, ...], dim: int) -> NkiTensor | None:
    """View for an index or `nl.ds` start that is a register, a traced scalar or a 1x1 tensor; None if it is not."""
    key = keys[dim]
    start = key.start if isinstance(key, DynamicSlice) else key
    if not (is_scalar(start) or isinstance(start, NkiTensor)):
        return None
    static = slice(0, key.size) if isinstance(key, DynamicSlice) else 0
    view = tensor[(*keys[:dim], static, *keys[dim + 1 :])]
    return _attach(view, start, tensor.strides[dim], tensor, dim)


def select(tensor: NkiTensor, dim: int, index: Any) -> NkiTensor:
    """`NkiTensor.select` with an index known at run time."""
    if not (is_scalar(index) or isinstance(index, NkiTensor)):
        raise view_error(
            f"select(dim={dim}, index={index!r})", rule="index is an int, a 1x1 tensor or a register", method="select"
        )
    return _attach(tensor.select(dim, 0), index, tensor.strides[dim], tensor, dim)


def vector_select(tensor: NkiTensor, dim: int, vector_offset: NkiTensor) -> NkiTensor:
    """`NkiTensor.vector_select`: row numbers for the first dimension of an HBM tensor."""
    if dim != 0 or tensor.layout.space != HBM or tensor.indirection is not None:
        raise view_error(
            f"vector_select(dim={dim}) of {tensor!r}",
            rule="dim 0 of an HBM tensor that is not indirect yet",
            method="vector_select",
        )
    return _rows(tensor, (vector_offset.shape[0], *tensor.shape[1:]), tensor.strides, vector_offset, tensor.strides[0])


def access_pattern(
    tensor: NkiTensor,
    pattern: Sequence[Sequence[int]],
    offset: int | None,
    scalar_offset: Any,
    vector_offset: NkiTensor | None,
    indirect_dim: int,
    dtype: Any,
) -> NkiTensor:
    """`NkiTensor.ap`: strides and counts over the allocation, with an optional run-time offset."""
    new = tensor.dtype if dtype is None else dtype_of(dtype)
    pairs = _pairs(tensor, pattern)
    shape, strides = tuple(n for _, n in pairs), tuple(s for s, _ in pairs)
    start = tensor.offset if offset is None else offset
    if offset is None and new.itemsize != tensor.layout.itemsize:
        start = start * tensor.layout.itemsize // new.itemsize
    if scalar_offset is not None and vector_offset is not None:
        raise view_error(
            "ap(scalar_offset=…, vector_offset=…)", rule="at most one of the two may be given", method="ap"
        )
    view = _placed(tensor, shape, strides, start, new)
    scale = tensor.layout.itemsize // new.itemsize or 1
    if scalar_offset is not None:
        step = _storage_stride(tensor, indirect_dim) * scale
        return _attach(view, scalar_offset, step, tensor, indirect_dim)
    if vector_offset is not None:
        if indirect_dim != 0 or tensor.layout.space != HBM:
            raise view_error(
                f"ap(vector_offset=…, indirect_dim={indirect_dim}) of {tensor!r}",
                rule="vector_offset indexes dimension 0 of an HBM tensor",
                method="ap",
            )
        return _rows(view, shape, strides, vector_offset, _storage_stride(tensor, 0) * scale)
    return view


def _pairs(tensor: NkiTensor, pattern: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    try:
        pairs = [(int(stride), int(count)) for stride, count in pattern]
    except (TypeError, ValueError):
        pairs = []
    if not pairs or any(count < 1 for _, count in pairs):
        raise view_error(
            f"ap(pattern={pattern!r}) of {tensor!r}",
            rule="pattern is [[stride, count], …] with counts of at least 1",
            method="ap",
        )
    return pairs


def _placed(tensor: NkiTensor, shape: tuple[int, ...], strides: tuple[int, ...], start: int, dtype: Any) -> NkiTensor:
    """A pattern placed at element `start` of the allocation, checked against its end."""
    storage, old, itemsize = tensor.storage, tensor.layout, dtype.itemsize
    row = storage.row_bytes // itemsize
    partition, skip = divmod(start, row) if old.space != HBM else (0, start)
    if old.space != HBM:
        if strides[0] != row and shape[0] != 1:
            raise view_error(
                f"ap(pattern={[list(p) for p in zip(strides, shape, strict=True)]}) of {tensor!r}",
                values=f"the first stride is {strides[0]}, a partition of the allocation has {row} elements",
                rule="on chip the first pair steps over partitions: its stride is the elements of one partition",
                method="ap",
            )
        strides = (row, *strides[1:])
    layout = tensor.layouts.get(
        old.space, dtype, shape, strides, storage.base_partition + partition, old.row_bytes, old.rows
    )
    byte = storage.base_byte + skip * itemsize + layout.low
    inside = storage.base_byte <= byte and byte + layout.span <= storage.base_byte + storage.row_bytes
    if not inside or partition + layout.partitions > storage.rows:
        raise view_error(
            f"ap(pattern={[list(p) for p in zip(strides, shape, strict=True)]}, offset={start}) leaves {tensor!r}",
            values=f"bytes {byte - storage.base_byte} to {byte - storage.base_byte + layout.span} of {storage.row_bytes}, "
            f"partitions {partition} to {partition + layout.partitions} of {storage.rows}",
            rule="an access pattern stays within its allocation",
            method="ap",
        )
    return tensor_at(storage, layout, byte, tensor.layouts)


def _storage_stride(tensor: NkiTensor, dim: int) -> int:
    """Elements to the right of `dim` in the tensor that `ap` is called on, counted from its shape."""
    dim = views.normal_dim(dim, tensor.ndim, "ap")
    step = 1
    for n in tensor.shape[dim + 1 :]:
        step *= n
    return step


def _attach(view: NkiTensor, index: Any, step: int, tensor: NkiTensor, dim: int) -> NkiTensor:
    if tensor.indirection is not None:
        raise view_error(f"a second run-time index into {tensor!r}", rule="one run-time index for each view")
    if dim == 0 and tensor.layout.space != HBM:
        raise view_error(f"a run-time index along the partition dimension of {tensor!r}", rule="free dimensions only")
    if isinstance(index, NkiTensor) and (index.size != 1 or not index.dtype.is_integer):
        raise view_error(f"run-time index {index!r}", rule="a scalar index has exactly one element, an integer")
    return tensor_at(view.storage, view.layout, view.byte, view.layouts, Indirection(index, step, rows=False))


def _rows(tensor: NkiTensor, shape: tuple[int, ...], strides: tuple[int, ...], index: Any, step: int) -> NkiTensor:
    good = isinstance(index, NkiTensor) and index.layout.space == SBUF and index.dtype.is_integer
    if not good or index.size < shape[0]:
        raise view_error(
            f"row numbers {index!r} for {shape[0]} rows",
            rule="an integer SBUF tensor of shape (rows, 1)",
            method="vector_select",
        )
    old = tensor.layout
    layout = tensor.layouts.get(old.space, old.dtype, shape, (step, *strides[1:]), 0, old.row_bytes, old.rows)
    byte = tensor.byte - old.low + layout.low
    return tensor_at(tensor.storage, layout, byte, tensor.layouts, Indirection(index, step, rows=True))


def table(tensor: NkiTensor) -> tuple[Layout, int, int]:
    """All rows that an indirect view could reach: their layout, its byte, and how many there are."""
    layout, storage = tensor.layout, tensor.storage
    first = tensor.byte - layout.low
    inner = sum((n - 1) * abs(s) for n, s in zip(layout.shape[1:], layout.strides[1:], strict=True)) + 1
    left = (storage.row_bytes - first) // layout.itemsize - inner
    count = left // layout.strides[0] + 1 if left >= 0 else 0
    shape = (max(count, 1), *layout.shape[1:])
    full = tensor.layouts.get(layout.space, layout.dtype, shape, layout.strides, 0, layout.row_bytes, layout.rows)
    return full, first + full.low, count


def row_numbers(tensor: NkiTensor) -> np.ndarray:
    """The indices of an indirect view's rows, as int64; column by column where the index tensor has several."""
    indirection = tensor.indirection
    if not isinstance(indirection, Indirection):
        raise TypeError("the view has no row numbers")
    index = indirection.index
    numbers = index.storage.array(index.layout, index.byte).astype(np.int64)
    flat: np.ndarray = numbers.reshape(index.shape[0], -1).T.reshape(-1)[: tensor.shape[0]]
    return flat


def gather(tensor: NkiTensor, *, skip: bool) -> tuple[np.ndarray, np.ndarray]:
    """The rows of an indirect view, and which of them lie inside the tensor.

    Raises:
        KernelError: a row lies outside and `skip` is false.
    """
    layout, byte, count = table(tensor)
    rows = row_numbers(tensor)
    inside = (rows >= 0) & (rows < count)
    if not skip:
        require_inside(tensor, rows, inside, count)
    array = tensor.storage.array(layout, byte)
    return array[np.where(inside, rows, 0)], inside


def require_inside(tensor: NkiTensor, rows: np.ndarray, inside: np.ndarray, count: int) -> None:
    """KernelError where a row number is outside its tensor."""
    if not inside.all():
        worst = int(rows[~inside][0])
        raise KernelError(
            "bounds",
            f"run-time row {worst} is outside {tensor!r}",
            values=f"rows 0 to {count - 1}",
            rule="with oob_mode.error every run-time index lies inside the tensor",
            source="nki.isa.dma_copy, oob_mode",
            fix="clamp the indices, or pass oob_mode=nisa.oob_mode.skip",
        )


def scalar_index(context: Context, index: Any) -> int:
    """The value of a scalar run-time index; 0 where values are not computed and it lies in a tensor."""
    if not isinstance(index, NkiTensor):
        return value_of(index)
    if not context.values:
        return 0
    return int(index.storage.array(index.layout, index.byte).reshape(-1)[0])


def resolve(
    context: Context, operands: tuple[Any, ...], writes: tuple[int, ...], options: tuple[Any, ...], site: int
) -> tuple[tuple[Any, ...], int, bool]:
    """Operands with scalar run-time offsets added, the flags that the trace shows, and whether nothing is to be done.

    Raises:
        KernelError: an address outside its tensor (unless `oob_mode.skip` is among the options).
    """
    resolved = list(operands)
    flags = 0
    skip = oob_mode.skip in options
    skipped = False
    for position, tensor in enumerate(operands):
        if not isinstance(tensor, NkiTensor) or tensor.indirection is None:
            continue
        indirection = tensor.indirection
        by_tensor = isinstance(indirection, Columns) or indirection.rows
        flags |= FLAG["indirect" if by_tensor else "dynamic_address"]
        _check_index(context, indirection.index, site)
        if isinstance(indirection, Columns):
            continue
        if indirection.rows:
            if position in writes and context.values and not skip:
                rows, count = row_numbers(tensor), table(tensor)[2]
                require_inside(tensor, rows, (rows >= 0) & (rows < count), count)
            continue
        value = scalar_index(context, indirection.index)
        byte = tensor.byte + value * indirection.step * tensor.layout.itemsize
        storage = tensor.storage
        if not storage.base_byte <= byte <= storage.base_byte + storage.row_bytes - tensor.layout.span:
            if skip:
                skipped = True
                continue
            raise KernelError(
                "bounds",
                f"run-time offset {value} leaves {tensor!r}",
                values=f"bytes {byte - storage.base_byte} to {byte - storage.base_byte + tensor.layout.span} "
                f"of {storage.row_bytes}",
                rule="a run-time address lies inside its tensor",
                source="nki.isa.dma_copy, oob_mode",
                fix="clamp the index before it is used",
            )
        resolved[position] = tensor_at(storage, tensor.layout, byte, tensor.layouts)
    return tuple(resolved), flags, skipped


def check_rows(context: Context, tensor: NkiTensor, role: str, api: str, site: int) -> None:
    """Report rows of an indirect read that were never written."""
    layout, byte, count = table(tensor)
    storage = tensor.storage
    if storage.home.written.state_of(layout, byte) == ALL or not context.values:
        return
    rows = row_numbers(tensor)
    rows = rows[(rows >= 0) & (rows < count)]
    if not storage.home.written.mask(layout, byte)[rows].all():
        context.report_unwritten(storage, layout, byte, role, api, site)


def mark_rows(context: Context, tensor: NkiTensor) -> None:
    """Record the rows that an indirect write has written (all it could reach where values are not computed)."""
    layout, byte, count = table(tensor)
    written = tensor.storage.home.written
    if context.values:
        rows = row_numbers(tensor)
        written.mark_rows(layout, byte, rows[(rows >= 0) & (rows < count)])
    else:
        written.mark(layout, byte)


def _check_index(context: Context, index: Any, site: int) -> None:
    if isinstance(index, NkiTensor):
        storage = index.storage
        if storage.home.written.state_of(index.layout, index.byte) != ALL:
            context.report_unwritten(storage, index.layout, index.byte, "run-time index", "address", site)
