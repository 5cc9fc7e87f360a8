"""The shape of one access: where a view's elements lie within its allocation, apart from the byte it starts at.

Layouts are interned per simulation, so that a plan is found by the identity of its operands' layouts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np

from .values.dtypes import DType

HBM, SBUF, PSUM = 0, 1, 2
SPACE_NAMES = ("hbm", "sbuf", "psum")


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Strided view of an allocation.

    Attributes:
        space: 0 HBM, 1 SBUF, 2 PSUM.
        dtype: element type.
        shape: elements; on chip the first dimension counts partitions.
        strides: elements; on chip the first is the allocation's elements per partition.
        first_partition: start partition within the allocation (0 in HBM).
        row_bytes: bytes per partition of the allocation (all its bytes in HBM).
        rows: partitions of the allocation (1 in HBM).
    """

    space: int
    dtype: DType
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    first_partition: int
    row_bytes: int
    rows: int
    itemsize: int = field(init=False)
    partitions: int = field(init=False)
    size: int = field(init=False)
    per_partition: int = field(init=False)
    low: int = field(init=False)
    span: int = field(init=False)
    run: int = field(init=False)
    step: int = field(init=False)
    holes: bool = field(init=False)
    whole: bool = field(init=False)
    byte_strides: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        on_chip = self.space != HBM
        itemsize = self.dtype.itemsize
        free = range(1, len(self.shape)) if on_chip else range(len(self.shape))
        dims = [(self.shape[d], self.strides[d]) for d in free]
        elements = prod(n for n, _ in dims)
        low = sum((n - 1) * s for n, s in dims if s < 0 and n > 0)
        span = sum((n - 1) * abs(s) for n, s in dims) + 1
        distinct = prod(n for n, s in dims if s)
        partitions = self.shape[0] if on_chip else 1
        strides = tuple(s * itemsize for s in self.strides)
        run, step = _innermost(dims)
        values = {
            "itemsize": itemsize,
            "partitions": partitions,
            "size": prod(self.shape),
            "per_partition": elements,
            "low": low * itemsize,
            "span": span * itemsize,
            "run": run * itemsize,
            "step": step * itemsize,
            "holes": distinct < span,
            "whole": distinct >= span and span * itemsize == self.row_bytes and partitions == self.rows,
            "byte_strides": (self.row_bytes, *strides[1:]) if on_chip else strides,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def free_shape(self) -> tuple[int, ...]:
        """Shape without the partition dimension (all of it in HBM)."""
        return self.shape[1:] if self.space else self.shape

    def array(self, storage: np.ndarray, byte: int) -> np.ndarray:
        """NumPy view of `storage` (uint8, the allocation's bytes row after row) from `byte` of its first partition."""
        start = self.first_partition * self.row_bytes + byte - self.low
        return np.ndarray(self.shape, self.dtype.storage, storage.data, start, self.byte_strides)


def _innermost(dims: list[tuple[int, int]]) -> tuple[int, int]:
    """Elements of the innermost contiguous run, and the stride between innermost elements."""
    real = [(n, s) for n, s in dims if n > 1]
    if not real:
        return 1, 1
    run, step = 1, real[-1][1]
    for n, s in reversed(real):
        if s != run:
            break
        run *= n
    return run, step


class Layouts:
    """The layouts of one simulation, each made once."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Layout] = {}

    def get(
        self,
        space: int,
        dtype: DType,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        first_partition: int,
        row_bytes: int,
        rows: int,
    ) -> Layout:
        """The one layout with these fields."""
        key = (space, dtype, shape, strides, first_partition, row_bytes, rows)
        layout = self._known.get(key)
        if layout is None:
            layout = self._known[key] = Layout(*key)
        return layout
