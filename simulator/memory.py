"""Byte-addressed storage: allocations in HBM, SBUF and PSUM, explicit addresses, and what has been written where."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from math import prod

import numpy as np

from nkilab.hardware import Hardware

from .constants import MemoryRegion
from .errors import KernelError, UnsupportedError
from .layout import HBM, PSUM, SBUF, SPACE_NAMES, Layout, Layouts
from .values.dtypes import DType
from .written import ALL, NOTHING, Written

SPACES = {
    MemoryRegion.sbuf: SBUF,
    MemoryRegion.psum: PSUM,
    MemoryRegion.private_hbm: HBM,
    MemoryRegion.shared_hbm: HBM,
}
_POISON_INTEGER = 4


class Storage:
    """One allocation.

    `rows` partitions (1 in HBM) of `row_bytes`. A tensor with an explicit address lives in its space's arena
    (`home`), from `base_partition` and `base_byte` on; any other is its own home. `written` holds the bytes that have
    a value, `started` (PSUM) the bytes that a matmul has written.
    """

    __slots__ = (
        "__weakref__",
        "address",
        "base_byte",
        "base_partition",
        "data",
        "dtype",
        "guard",
        "home",
        "id",
        "lost",
        "lost_to",
        "name",
        "overlaps",
        "own",
        "region",
        "relaxed",
        "row_bytes",
        "rows",
        "site",
        "space",
        "started",
        "written",
    )

    def __init__(self, id: int, region: MemoryRegion, dtype: DType, rows: int, row_bytes: int, site: int) -> None:
        self.id = id
        self.region = region
        self.space = SPACES[region]
        self.dtype = dtype
        self.rows = rows
        self.row_bytes = row_bytes
        self.site = site
        self.name = ""
        self.address = -1
        self.base_partition = 0
        self.base_byte = 0
        self.home = self
        self.data: np.ndarray | None = None
        self.written = Written(rows, row_bytes)
        self.started: Written | None = None
        self.own: Written | None = None
        self.lost: Written | None = None
        self.lost_to: Storage | None = None
        self.overlaps: list[weakref.ref[Storage]] = []
        self.guard: list[int] | None = None
        self.relaxed = False

    def array(self, layout: Layout, byte: int) -> np.ndarray:
        """NumPy view of a layout; never-written bytes are poison (NaN for floats, 4 for integers)."""
        if self.relaxed:
            return self._relaxed_array(layout, byte)
        home = self.home
        data = home.data
        if data is None:
            data = home.data = _poisoned(home)
        return layout.array(data, byte)

    def overwrite(self, layout: Layout, byte: int, *, partly: bool = False) -> np.ndarray:
        """NumPy view of a layout that is about to be written: all of it, or some elements where `partly`."""
        home = self.home
        if self.guard is not None and not self.guard and home.data is not None:
            home.data = home.data.copy()  # the caller's array changes only when the kernel has ended
        if home.data is None and layout.whole and not self.relaxed and not partly:
            home.data = np.empty(home.rows * home.row_bytes, np.uint8)
        return self.array(layout, byte)

    def _relaxed_array(self, layout: Layout, byte: int) -> np.ndarray:
        """View of a low-precision tensor kept in fp32: each element takes four bytes wherever it lies."""
        if layout.dtype != self.dtype:
            raise UnsupportedError(
                f"a {self.dtype} tensor is seen as {layout.dtype} with precise=False",
                rule="with precise=False a low-precision tensor holds fp32 values, so its bytes are not those of its dtype",
                fix="run this kernel with precise=True",
            )
        itemsize = layout.itemsize
        if self.data is None:
            self.data = np.full(self.rows * self.row_bytes // itemsize, np.nan, np.float32).view(np.uint8)
        row = self.row_bytes * 4 // itemsize
        strides = tuple(s * 4 // itemsize for s in layout.byte_strides)
        start = (byte - self.base_byte - layout.low) * 4 // itemsize
        if layout.space != HBM:
            start += (layout.first_partition - self.base_partition) * row
            strides = (row, *strides[1:])
        return np.ndarray(layout.shape, np.float32, self.data.data, start, strides)

    def mark(self, layout: Layout, byte: int) -> None:
        """Record a write."""
        self.home.written.mark(layout, byte)
        if self.own is not None:
            self._mark_aliases(layout, byte)

    def mark_mask(self, layout: Layout, byte: int, mask: np.ndarray) -> None:
        """Record a write to some elements of a view."""
        self.home.written.mark_mask(layout, byte, mask)
        if self.own is not None:
            self._mark_aliases(layout, byte)

    def is_lost(self, layout: Layout, byte: int) -> bool:
        """Whether part of the view's own value was overwritten through another tensor at the same address."""
        if self.lost is None or self.own is None or self.lost.state_of(layout, byte) == NOTHING:
            return False
        return bool((self.lost.some(layout, byte) & self.own.some(layout, byte)).any())

    def _mark_aliases(self, layout: Layout, byte: int) -> None:
        if self.own is not None:
            self.own.mark(layout, byte)
        if self.lost is not None:
            self.lost.clear(layout, byte)
        for reference in self.overlaps:
            other = reference()
            if other is not None and other.own is not None and other.own.state_of(layout, byte) != NOTHING:
                if other.lost is None:
                    other.lost = Written(other.home.rows, other.home.row_bytes)
                other.lost.mark(layout, byte)
                other.lost_to = self


def _poisoned(storage: Storage) -> np.ndarray:
    dtype = storage.dtype.storage
    poison = np.array(np.nan if storage.dtype.is_float else _POISON_INTEGER).astype(dtype)
    count = -(-storage.rows * storage.row_bytes // dtype.itemsize)
    return np.full(count, poison, dtype).view(np.uint8)[: storage.rows * storage.row_bytes]


@dataclass(slots=True)
class Memory:
    """The memory of one core (HBM is shared by the cores of a rank): makes allocations and checks their size."""

    hardware: Hardware
    layouts: Layouts
    precise: bool = True
    arenas: dict[int, Storage] = field(default_factory=dict)
    placed: weakref.WeakSet[Storage] = field(default_factory=weakref.WeakSet)

    def allocate(
        self, id: int, shape: tuple[int, ...], dtype: DType, region: MemoryRegion, address: object, site: int
    ) -> tuple[Storage, Layout, int]:
        """Make an allocation; returns it with the layout of all of it and its first byte in its home."""
        itemsize = dtype.itemsize
        strides = row_major(shape)
        if SPACES[region] == HBM:
            storage = Storage(id, region, dtype, 1, prod(shape) * itemsize, site)
            storage.relaxed = self._relaxes(dtype)
            self._check_hbm(storage, shape)
            return storage, self.layouts.get(HBM, dtype, shape, strides, 0, storage.row_bytes, 1), 0
        storage = Storage(id, region, dtype, shape[0], prod(shape[1:]) * itemsize, site)
        storage.relaxed = self._relaxes(dtype)
        self._check_on_chip(storage, shape)
        if storage.space == PSUM:
            storage.started = Written(storage.rows, storage.row_bytes)
        if address is not None:
            self._place(storage, shape, address)
        home = storage.home
        layout = self.layouts.get(
            storage.space, dtype, shape, strides, storage.base_partition, home.row_bytes, home.rows
        )
        return storage, layout, storage.base_byte

    def partition_bytes(self, space: int) -> int:
        """Bytes of one partition of SBUF or PSUM."""
        return self.hardware.sbuf.partition_bytes if space == SBUF else self.hardware.psum.partition_bytes

    def _relaxes(self, dtype: DType) -> bool:
        return not self.precise and dtype.relaxed is not dtype

    def _check_hbm(self, storage: Storage, shape: tuple[int, ...]) -> None:
        if storage.row_bytes > self.hardware.hbm.bytes:
            raise KernelError(
                "capacity",
                f"nl.ndarray{shape} in HBM needs {storage.row_bytes:,} bytes",
                rule=f"{self.hardware.name} has {self.hardware.hbm.bytes:,} bytes of HBM for a core",
                source=self.hardware.source("hbm.bytes").source,
                fix="use a smaller tensor",
            )

    def _check_on_chip(self, storage: Storage, shape: tuple[int, ...]) -> None:
        partitions = self.hardware.sbuf.partitions
        name = SPACE_NAMES[storage.space].upper()
        if storage.rows > partitions:
            raise KernelError(
                "shape",
                f"nl.ndarray in {name} with {storage.rows} partitions",
                values=f"shape {shape}: the first dimension is the partition dimension",
                rule=f"{name} has {partitions} partitions",
                source="nki.language.tile_size.pmax; NeuronCore architecture guide",
                fix=f"tile the first dimension by nl.tile_size.pmax ({partitions})",
            )
        available = self.partition_bytes(storage.space)
        if storage.row_bytes > available:
            raise KernelError(
                "capacity",
                f"nl.ndarray in {name} needs {storage.row_bytes:,} bytes in each partition",
                values=f"shape {shape}, dtype {storage.dtype}: {storage.row_bytes:,} bytes per partition",
                rule=f"each {name} partition of {self.hardware.name} has {available:,} bytes",
                source=self.hardware.source(f"{SPACE_NAMES[storage.space]}.partition_bytes").source,
                fix="split the free dimension over several tiles",
            )

    def _place(self, storage: Storage, shape: tuple[int, ...], address: object) -> None:
        """Put an allocation at an explicit `(partition, byte)` or `byte` address in the arena of its space."""
        partition, byte = _address(address)
        available = self.partition_bytes(storage.space)
        rows = self.hardware.sbuf.partitions
        if partition < 0 or byte < 0 or partition + storage.rows > rows or byte + storage.row_bytes > available:
            raise KernelError(
                "capacity",
                f"nl.ndarray(address={address}) does not fit in {SPACE_NAMES[storage.space].upper()}",
                values=f"shape {shape}: partitions {partition} to {partition + storage.rows}, "
                f"bytes {byte:,} to {byte + storage.row_bytes:,}",
                rule=f"{rows} partitions of {available:,} bytes",
                source="nki.language.ndarray: address=(partition_offset, free_offset), in bytes",
                fix="choose a lower address or a smaller tensor",
            )
        arena = self.arenas.get(storage.space)
        if arena is None:
            arena = self.arenas[storage.space] = Storage(-1, storage.region, storage.dtype, rows, available, -1)
            arena.started = Written(rows, available) if storage.space == PSUM else None
        storage.address, storage.base_partition, storage.base_byte = byte, partition, byte
        storage.home = arena
        storage.own = Written(arena.rows, arena.row_bytes)
        if storage.started is not None:
            storage.started = Written(arena.rows, arena.row_bytes)
        for other in self.placed:
            if other.home is arena and _meet(storage, other):
                storage.overlaps.append(weakref.ref(other))
                other.overlaps.append(weakref.ref(storage))
        self.placed.add(storage)


def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides in elements of a dense tensor."""
    strides: list[int] = []
    step = 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def _address(address: object) -> tuple[int, int]:
    if isinstance(address, int):
        return 0, address
    if isinstance(address, tuple | list) and len(address) == 2 and all(isinstance(part, int) for part in address):
        return address[0], address[1]
    raise KernelError(
        "argument",
        f"nl.ndarray(address={address!r})",
        rule="address is (partition_offset, free_offset), the free offset in bytes",
        source="nki.language.ndarray",
    )


def _meet(a: Storage, b: Storage) -> bool:
    return (
        a.base_partition < b.base_partition + b.rows
        and b.base_partition < a.base_partition + a.rows
        and a.base_byte < b.base_byte + b.row_bytes
        and b.base_byte < a.base_byte + a.row_bytes
    )


def covers(storage: Storage, layout: Layout, byte: int) -> bool:
    """Whether every byte of a view has been written."""
    return storage.home.written.state_of(layout, byte) == ALL
