"""NkiTensor: a view of an allocation, and every view method of the NKI reference."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from . import views
from .constants import MemoryRegion
from .errors import UnsupportedError
from .indexing import bound_of, dynamic_view, expanded, index_of, other_key, outside_error
from .layout import HBM, Layout
from .objects import DeviceValue, DynamicSlice, NKIObject, unknown
from .operators import NoOperators
from .values.dtypes import DType
from .values.dtypes import get as dtype_of
from .views import view_error

if TYPE_CHECKING:
    from .columns import Columns
    from .dynamic import Indirection
    from .layout import Layouts
    from .memory import Storage

__all__ = ["DynamicSlice", "NKIObject", "NkiTensor", "tensor_at"]


class NkiTensor(NoOperators, DeviceValue, NKIObject):
    """A tensor in HBM, SBUF or PSUM: a strided view of an allocation. View methods copy no data.

    `shape`, `strides` and `offset` count elements; on chip the first dimension is the partition dimension, and its
    stride is the number of elements in one partition of the allocation.
    """

    __slots__ = ("byte", "indirection", "layout", "layouts", "storage")
    byte: int
    indirection: Indirection | Columns | None
    layout: Layout
    layouts: Layouts
    storage: Storage

    def __init__(
        self,
        shape: Sequence[int],
        dtype: Any,
        storage: Storage | None,
        buffer: Any = MemoryRegion.sbuf,
        name: str = "",
        address: Any = None,
    ) -> None:
        """Bind a storage handle (`tensor.storage`) under another shape and dtype; kernels use `nl.ndarray` instead.

        Args:
            shape: positive ints; no more bytes than the storage has.
            dtype: data type.
            storage: a tensor's handle; None makes a placeholder for signatures, which no instruction takes.
            buffer: memory region of a placeholder.
            name: name of a placeholder.
            address: as in `nl.ndarray` (API 0.7); that of the storage is kept.

        Raises:
            KernelError: the shape needs more bytes than the storage has.
        """
        from .handles import bind
        from .levels import added_parameters

        added_parameters("nki.language.NkiTensor.__init__", address is not None)
        bind(self, tuple(shape), dtype_of(dtype), storage, buffer, name, address)

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements in each dimension."""
        return self.layout.shape

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.layout.dtype

    @property
    def strides(self) -> tuple[int, ...]:
        """Elements between neighbours in each dimension."""
        return self.layout.strides

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.layout.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.layout.size

    @property
    def buffer(self) -> MemoryRegion:
        """Memory region of the allocation."""
        return self.storage.region

    @property
    def name(self) -> str:
        """Name of the allocation, empty where none was given."""
        return self.storage.name

    @property
    def offset(self) -> int:
        """Elements from the start of the allocation to the view's first element."""
        layout, storage = self.layout, self.storage
        rows = layout.first_partition - storage.base_partition
        per_row = storage.row_bytes // layout.itemsize
        return rows * per_row + (self.byte - storage.base_byte - layout.low) // layout.itemsize

    @property
    def data(self) -> NkiTensor:
        """The tensor itself: what an instruction takes where a grid of tiles has `.data`."""
        return self

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"<NkiTensor{name} {self.buffer.value} {self.dtype}{list(self.shape)}>"

    def __str__(self) -> str:
        """What `print(tensor)` shows: the description, and where values are computed the values at this point."""
        from .context import running

        context = running()
        if context is None or not context.values or self.storage is None or self.indirection is not None:
            return repr(self)
        return f"{self!r}\n{self.storage.array(self.layout, self.byte)}"

    def __array__(self, *_: Any, **__: Any) -> Any:
        """A tensor's values are the device's: NumPy cannot have them while the kernel is traced."""
        raise UnsupportedError(
            f"{self!r} as a NumPy array",
            rule="a tensor's values are not known while a kernel is traced",
            fix="compute with nki.isa instructions, and look at values with nl.device_print",
        )

    def __len__(self) -> int:
        return self.layout.shape[0]

    def __bool__(self) -> bool:
        """True: a tensor is there (`if bias:` asks for None). One element's value is not known while a kernel is traced."""
        if self.size == 1:
            raise unknown(self, "the truth")
        return True

    # Views. `_view` keeps the allocation; `first` counts bytes from the view's first element.

    def _view(
        self,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        *,
        skip: int = 0,
        partitions: int = 0,
        dtype: DType | None = None,
    ) -> NkiTensor:
        """A view that starts `skip` bytes and `partitions` partitions after this one's first element."""
        old = self.layout
        layout = self.layouts.get(
            old.space,
            dtype or old.dtype,
            shape,
            strides,
            old.first_partition + partitions,
            old.row_bytes,
            old.rows,
        )
        return tensor_at(self.storage, layout, self.byte - old.low + skip + layout.low, self.layouts, self.indirection)

    def __getitem__(self, key: Any) -> NkiTensor:
        """View by ints, slices, `...` and `nl.ds`; on chip the partition dimension stays, and the view at least 2-D."""
        layout = self.layout
        shape, strides, on_chip = layout.shape, layout.strides, layout.space != HBM
        keys = key if type(key) is tuple else (key,)
        if len(keys) != len(shape):
            keys = expanded(keys, len(shape), shape)
        new_shape: list[int] = []
        new_strides: list[int] = []
        skip = partitions = 0
        for d, k in enumerate(keys):
            n, step = shape[d], 1
            if type(k) is slice:
                if k.step is not None:
                    step = index_of(k.step, self, "step")
                start = 0 if k.start is None else bound_of(k.start, n, self)
                stop = n if k.stop is None else bound_of(k.stop, n, self)
                kept = True
            elif type(k) is int:
                start, kept = k + n if k < 0 else k, False
                stop = start + 1
            elif k is Ellipsis:
                return self[expanded(keys, len(shape), shape)]
            else:
                dynamic = dynamic_view(self, keys, d)
                if dynamic is not None:
                    return dynamic
                start, stop, kept = other_key(k, n, self)
            if not 0 <= start < stop <= n or step < 1:
                raise outside_error(self, d, k)
            if d == 0 and on_chip:
                partitions = start
                if step != 1 and stop - start > 1:
                    raise view_error(
                        f"slice with step {step} along the partition dimension of {self!r}",
                        rule="partitions of an access must be contiguous",
                        fix="copy the partitions with nisa.dma_copy first",
                    )
                new_shape.append(stop - start)
                new_strides.append(strides[0])
                continue
            skip += start * strides[d]
            if kept:
                new_shape.append((stop - start + step - 1) // step)
                new_strides.append(strides[d] * step)
        if len(new_shape) < 1 + on_chip:
            new_shape.append(1)
            new_strides.append(1)
        return self._view(tuple(new_shape), tuple(new_strides), skip=skip * layout.itemsize, partitions=partitions)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Only the end of an augmented view (`t[...] = t[...]` of the same storage); data moves by instructions."""
        if isinstance(value, NkiTensor) and value.storage is self.storage:
            return
        raise UnsupportedError(
            f"assignment to a part of {self!r}",
            rule="tensors are written by instructions",
            source="nki.language.NkiTensor",
            fix="use nisa.tensor_copy, nisa.dma_copy or nisa.memset with dst=tensor[…]",
        )

    def slice(self, dim: int, start: int, end: int, step: int = 1) -> NkiTensor:
        """Elements `start` to `end` (exclusive) of one dimension."""
        dim = views.normal_dim(dim, self.ndim, "slice")
        if not 0 <= start < end <= self.shape[dim] or step < 1:
            raise view_error(
                f"slice(dim={dim}, start={start}, end={end}, step={step}) of {self!r}",
                rule="0 <= start < end <= shape[dim] and step >= 1",
                method="slice",
            )
        return self[(*[slice(None)] * dim, slice(start, end, step))]

    def select(self, dim: int, index: Any) -> NkiTensor:
        """One element of a dimension, which is dropped; a tensor or register as index is resolved when used."""
        dim = views.normal_dim(dim, self.ndim, "select")
        if isinstance(index, int):
            if not 0 <= index < self.shape[dim]:
                raise outside_error(self, dim, index)
            self._not_partition(dim, "select")
            shape, strides = self.shape, self.strides
            skip = index * strides[dim] * self.layout.itemsize
            return self._view(shape[:dim] + shape[dim + 1 :], strides[:dim] + strides[dim + 1 :], skip=skip)
        from .dynamic import select

        return select(self, dim, index)

    def vector_select(self, dim: int, vector_offset: NkiTensor) -> NkiTensor:
        """Gather or scatter: partition p uses row `vector_offset[p, 0]` of this HBM tensor."""
        from .dynamic import vector_select

        return vector_select(self, dim, vector_offset)

    def indirect(self, index: NkiTensor, num_elem: int | None = None) -> NkiTensor:
        """Tensor indirection along the free dimension (NeuronCore-v4 and later)."""
        from .columns import indirect

        return indirect(self, index, num_elem)

    def permute(self, dims: Sequence[int]) -> NkiTensor:
        """Dimensions in another order; on chip the partition dimension stays first."""
        dims = tuple(dims)
        if sorted(dims) != list(range(self.ndim)):
            raise view_error(
                f"permute({dims}) of {self!r}",
                rule=f"dims must be a permutation of 0 to {self.ndim - 1}",
                method="permute",
            )
        if self.layout.space != HBM and dims[0] != 0:
            raise view_error(
                f"permute({dims}) of {self!r}",
                rule="the partition dimension of an on-chip tensor stays first",
                fix="move data across partitions with nisa.nc_transpose",
                method="permute",
            )
        return self._view(tuple(self.shape[d] for d in dims), tuple(self.strides[d] for d in dims))

    def broadcast(self, dim: int, size: int) -> NkiTensor:
        """Repeat a dimension of size 1 `size` times (stride 0)."""
        dim = views.normal_dim(dim, self.ndim, "broadcast")
        self._not_partition(dim, "broadcast")
        if self.shape[dim] != 1 or size < 1:
            raise view_error(
                f"broadcast(dim={dim}, size={size}) of {self!r}", rule="shape[dim] must be 1", method="broadcast"
            )
        shape, strides = list(self.shape), list(self.strides)
        shape[dim], strides[dim] = size, 0
        return self._view(tuple(shape), tuple(strides))

    def expand_dim(self, dim: int) -> NkiTensor:
        """A new dimension of size 1 before `dim`."""
        dim = views.normal_dim(dim, self.ndim + 1, "expand_dim")
        self._not_partition(dim, "expand_dim")
        stride = self.shape[dim] * self.strides[dim] if dim < self.ndim else 1
        shape = (*self.shape[:dim], 1, *self.shape[dim:])
        return self._view(shape, (*self.strides[:dim], stride, *self.strides[dim:]))

    def squeeze_dim(self, dim: int) -> NkiTensor:
        """Without a dimension of size 1."""
        dim = views.normal_dim(dim, self.ndim, "squeeze_dim")
        self._not_partition(dim, "squeeze_dim")
        if self.shape[dim] != 1:
            raise view_error(f"squeeze_dim({dim}) of {self!r}", rule="shape[dim] must be 1", method="squeeze_dim")
        return self._view(self.shape[:dim] + self.shape[dim + 1 :], self.strides[:dim] + self.strides[dim + 1 :])

    def reshape_dim(self, dim: int, shape: Sequence[int]) -> NkiTensor:
        """One dimension split into several; one size may be -1."""
        dim = views.normal_dim(dim, self.ndim, "reshape_dim")
        part = views.infer(shape, self.shape[dim], "reshape_dim")
        if len(part) > 1:
            self._not_partition(dim, "reshape_dim")
        steps = [self.strides[dim] * prod(part[k + 1 :]) for k in range(len(part))]
        return self._view(
            (*self.shape[:dim], *part, *self.shape[dim + 1 :]), (*self.strides[:dim], *steps, *self.strides[dim + 1 :])
        )

    def flatten_dims(self, start_dim: int, end_dim: int) -> NkiTensor:
        """Dimensions `start_dim` to `end_dim` (inclusive) as one; they must be contiguous."""
        start = views.normal_dim(start_dim, self.ndim, "flatten_dims")
        end = views.normal_dim(end_dim, self.ndim, "flatten_dims")
        if start < end:
            self._not_partition(start, "flatten_dims")
        merged = (prod(self.shape[start : end + 1]),)
        found = views.reshape(self.shape[start : end + 1], self.strides[start : end + 1], merged)
        if found is None or start > end:
            raise view_error(
                f"flatten_dims({start_dim}, {end_dim}) of {self!r}",
                values=f"strides {self.strides}",
                rule="the dimensions must be contiguous in memory",
                method="flatten_dims",
            )
        return self._view(
            self.shape[:start] + merged + self.shape[end + 1 :],
            self.strides[:start] + found[1] + self.strides[end + 1 :],
        )

    def reshape(self, shape: Sequence[int]) -> NkiTensor:
        """The same elements in another shape; on chip the partition dimension stays."""
        wanted = (shape,) if isinstance(shape, int) else tuple(shape)
        new = views.infer(wanted, self.size, "reshape")
        on_chip = self.layout.space != HBM
        if on_chip and new[0] != self.shape[0]:
            raise view_error(
                f"reshape({new}) of {self!r}",
                rule="the partition dimension of an on-chip tensor stays as it is",
                fix=f"begin the new shape with {self.shape[0]}",
                method="reshape",
            )
        skip = 1 if on_chip else 0
        found = views.reshape(self.shape[skip:], self.strides[skip:], new[skip:])
        if found is None:
            raise view_error(
                f"reshape({new}) of {self!r}",
                values=f"strides {self.strides}",
                rule="the current layout must be expressible in the new shape without a copy",
                fix="copy the view into a new tile first",
                method="reshape",
            )
        return self._view(new, self.strides[:skip] + found[1])

    def rearrange(
        self, src_pattern: Sequence[Any], dst_pattern: Sequence[Any], fixed_sizes: dict[str, int] | None = None
    ) -> NkiTensor:
        """Split, reorder and merge dimensions by name, as einops does."""
        split, order, merged = views.rearrange(self.shape, src_pattern, dst_pattern, fixed_sizes or {})
        view = self
        for dim in reversed(range(self.ndim)):
            names = src_pattern[dim]
            if not isinstance(names, str):
                at = sum(1 if isinstance(g, str) else len(g) for g in src_pattern[:dim])
                view = view.reshape_dim(dim, split[at : at + len(names)])
        view = view.permute(order)
        return view if view.shape == merged else view.reshape(merged)

    def view(self, dtype: Any) -> NkiTensor:
        """The same bytes as another dtype; the last dimension, contiguous, grows or shrinks with the item size."""
        new, layout = dtype_of(dtype), self.layout
        old_size, new_size = layout.itemsize, new.itemsize
        if old_size == new_size:
            return self._view(layout.shape, layout.strides, dtype=new)
        last = layout.shape[-1]
        if (layout.strides[-1] != 1 and last != 1) or (last * old_size) % new_size:
            raise view_error(
                f"view({new}) of {self!r}",
                rule="the last dimension must be contiguous and a whole number of the new elements",
                method="view",
            )
        scaled = [s * old_size for s in layout.strides[:-1]]
        if any(s % new_size for s, n in zip(scaled, layout.shape[:-1], strict=True) if n > 1):
            raise view_error(f"view({new}) of {self!r}", rule="every row must start on a whole element", method="view")
        strides = (*[s // new_size for s in scaled], 1)
        return self._view((*layout.shape[:-1], last * old_size // new_size), strides, dtype=new)

    reinterpret_cast = view

    def ap(
        self,
        pattern: Sequence[Sequence[int]],
        offset: int | None = None,
        scalar_offset: Any = None,
        vector_offset: NkiTensor | None = None,
        indirect_dim: int = 0,
        dtype: Any = None,
    ) -> NkiTensor:
        """An access pattern of `[[stride, count], …]` elements over the allocation.

        `offset` None keeps this view's offset; an int counts from the start of the allocation (where the reference
        and the access-pattern guide differ, the guide's semantics: `.ap` addresses the storage).
        """
        from .dynamic import access_pattern

        return access_pattern(self, pattern, offset, scalar_offset, vector_offset, indirect_dim, dtype)

    def get_pattern(self) -> list[list[int]]:
        """The view as `[[stride, count], …]`."""
        return [[s, n] for s, n in zip(self.strides, self.shape, strict=True)]

    def is_contiguous(self) -> bool:
        """Whether the view is row-major without gaps; on chip within each partition."""
        skip = 1 if self.layout.space != HBM else 0
        expected = 1
        for n, s in zip(reversed(self.shape[skip:]), reversed(self.strides[skip:]), strict=True):
            if n != 1 and s != expected:
                return False
            expected *= n
        return True

    def is_indirect(self) -> bool:
        """Whether the view's address is resolved when it is used."""
        return self.indirection is not None

    def _not_partition(self, dim: int, method: str) -> None:
        if dim == 0 and self.layout.space != HBM:
            raise view_error(
                f"{method} along the partition dimension of {self!r}",
                rule="the partition dimension of an on-chip tensor stays first",
                fix="act on a free dimension, or move data with nisa.dma_copy or nisa.nc_transpose",
                method=method,
            )


_new = object.__new__


def tensor_at(
    storage: Storage, layout: Layout, byte: int, layouts: Layouts, indirection: Indirection | Columns | None = None
) -> NkiTensor:
    """The view of an allocation by a layout; `byte` is the lowest byte of its box in the partitions of its home."""
    tensor = _new(NkiTensor)
    tensor.storage = storage
    tensor.layout = layout
    tensor.byte = byte
    tensor.layouts = layouts
    tensor.indirection = indirection
    return tensor
