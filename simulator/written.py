"""Which bytes of an allocation have been written: exact, and cheap where whole tiles are written at a time."""

from __future__ import annotations

from math import gcd

import numpy as np

from .layout import Layout

NOTHING, SOME, ALL = 0, 1, 2


class Written:
    """Record of the written bytes of one allocation of `rows` x `row_bytes`.

    It starts as one of two states (nothing or everything written) and becomes a bitmap only when a view covers part
    of the allocation: one row of bits for all partitions while every write covers all of them, else a row for each.
    A bit stands for `grain` bytes.
    """

    __slots__ = ("bits", "grain", "row_bytes", "rows", "state")

    def __init__(self, rows: int, row_bytes: int, *, everything: bool = False) -> None:
        self.rows = rows
        self.row_bytes = row_bytes
        self.state = ALL if everything else NOTHING
        self.grain = row_bytes
        self.bits: np.ndarray | None = None

    def mark(self, layout: Layout, byte: int) -> None:
        """Record that the view was written."""
        if self.state == ALL:
            return
        if layout.whole:
            self.state, self.bits = ALL, None
            return
        self._view(layout, byte, every_partition=True)[...] = True

    def mark_mask(self, layout: Layout, byte: int, mask: np.ndarray) -> None:
        """Record that the elements of the view where `mask` holds were written."""
        if self.state == ALL:
            return
        if mask.all():
            self.mark(layout, byte)
            return
        self._refine(layout.itemsize)
        if self.bits is not None and self.bits.shape[0] == 1 < self.rows:
            self.bits = np.repeat(self.bits, self.rows, axis=0)
        self._view(layout, byte, every_partition=True)[mask] = True

    def mark_rows(self, layout: Layout, byte: int, rows: np.ndarray) -> None:
        """Record that some entries of the view's first dimension were written."""
        if self.state != ALL:
            self._view(layout, byte, every_partition=True)[rows] = True

    def clear(self, layout: Layout, byte: int) -> None:
        """Record that the view holds nothing of this allocation any more."""
        if self.state == NOTHING:
            return
        if layout.whole:
            self.state, self.bits = NOTHING, None
            return
        self._view(layout, byte, every_partition=True)[...] = False

    def state_of(self, layout: Layout, byte: int) -> int:
        """NOTHING, SOME or ALL of the view's elements have been written."""
        if self.state != SOME:
            return self.state
        view = self._view(layout, byte, every_partition=False)
        if view.all():
            return ALL
        return SOME if view.any() else NOTHING

    def mask(self, layout: Layout, byte: int) -> np.ndarray:
        """Bool array of the view's shape: the element was written in full."""
        if self.state != SOME:
            return np.full(layout.shape, self.state == ALL)
        return np.broadcast_to(self._view(layout, byte, every_partition=False).all(axis=-1), layout.shape)

    def some(self, layout: Layout, byte: int) -> np.ndarray:
        """Bool array of the view's shape: a byte of the element was written."""
        if self.state != SOME:
            return np.full(layout.shape, self.state == ALL)
        return np.broadcast_to(self._view(layout, byte, every_partition=False).any(axis=-1), layout.shape)

    def complete(self) -> bool:
        """Whether every byte has been written."""
        if self.state == SOME and self.bits is not None and bool(self.bits.all()):
            self.state, self.bits = ALL, None
        return self.state == ALL

    def count(self) -> int:
        """Number of bytes written."""
        if self.bits is None:
            return self.rows * self.row_bytes if self.state == ALL else 0
        return int(self.bits.sum()) * self.grain * (self.rows if self.bits.shape[0] == 1 else 1)

    def _view(self, layout: Layout, byte: int, *, every_partition: bool) -> np.ndarray:
        """View of the bits of a layout, with a last axis of bits within one element."""
        self._refine(gcd(layout.itemsize, byte, *layout.byte_strides))
        bits = self.bits
        if bits is None:
            raise AssertionError("a bitmap is there after refining")
        all_rows = layout.partitions == self.rows
        if bits.shape[0] == 1 < self.rows and every_partition and not all_rows:
            bits = self.bits = np.repeat(bits, self.rows, axis=0)
        per_element = layout.itemsize // self.grain
        shape, strides = layout.shape, tuple(s // self.grain for s in layout.byte_strides)
        first = (byte - layout.low) // self.grain
        if layout.space:
            if bits.shape[0] == 1:
                shape, strides = (1, *shape[1:]), (0, *strides[1:])
            else:
                first += layout.first_partition * (self.row_bytes // self.grain)
        return np.ndarray((*shape, per_element), np.bool_, bits.data, first, (*strides, 1))

    def _refine(self, grain: int) -> None:
        """Make one bit stand for at most `grain` bytes."""
        if self.bits is None:
            self.grain = gcd(self.grain, grain)
            self.bits = np.full((1, self.row_bytes // self.grain), self.state == ALL)
            self.state = SOME
            return
        finer = gcd(self.grain, grain)
        if finer != self.grain:
            self.bits = np.repeat(self.bits, self.grain // finer, axis=1)
            self.grain = finer
