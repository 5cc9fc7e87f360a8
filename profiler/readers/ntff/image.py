"""Columns of numbers and texts out of 64-byte instructions, for many instructions at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Image:
    """Instructions, (n, 64) bytes, with views by offset and width."""

    raw: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.raw)

    def number(self, at: int, dtype: str) -> NDArray[np.generic]:
        """The numbers of little-endian `dtype` (u1, u2, i2, i4, u4, u8, f4) at byte `at`."""
        kind = np.dtype("<" + dtype)
        flat = np.ascontiguousarray(self.raw[:, at : at + kind.itemsize])
        return flat.view(kind).reshape(-1)

    def ints(self, at: int, dtype: str) -> Ints:
        """The same as int64."""
        return self.number(at, dtype).astype(np.int64)

    def fits(self, template: Mapping[int, int], free: Iterable[int]) -> NDArray[np.bool_]:
        """Whether every byte outside `free` is what `template` says, 0 where it says nothing."""
        fixed = np.ones(64, bool)
        fixed[list(free)] = False
        want = np.zeros(64, np.uint8)
        want[list(template)] = list(template.values())
        same: NDArray[np.bool_] = (self.raw[:, fixed] == want[fixed]).all(axis=1)
        return same


def spans(*pieces: tuple[int, int]) -> tuple[int, ...]:
    """Byte offsets of (first, length) pieces."""
    return tuple(at for first, length in pieces for at in range(first, first + length))


def texts(values: NDArray[np.generic], show: Callable[[object], str | None]) -> pl.Series:
    """`show` of each value, worked out once per distinct value."""
    distinct, index = np.unique(values, return_inverse=True)
    return pl.Series([show(value) for value in distinct.tolist()], dtype=pl.String).gather(index.reshape(-1))


def hexadecimal(values: NDArray[np.generic]) -> pl.Series:
    """As 0x1f."""
    return texts(values, lambda value: f"0x{value:x}")


def decimal(values: NDArray[np.generic]) -> pl.Series:
    """As 31."""
    return pl.Series(values).cast(pl.String)


def named(values: NDArray[np.generic], table: Mapping[int, str]) -> pl.Series:
    """The name of each value, null where the table has none."""
    return texts(values, lambda value: table.get(int(str(value))))


def joined(*parts: str | pl.Series) -> pl.Series:
    """The parts of each row one after the other; null where one is null."""
    return pl.select(pl.concat_str([pl.lit(part) if isinstance(part, str) else part for part in parts])).to_series()


def bracketed(image: Image, offsets: Iterable[int], dtype: str) -> pl.Series:
    """Numbers at `offsets` as [1,0,0]."""
    columns = [decimal(image.ints(at, dtype)) for at in offsets]
    return pl.select(pl.format("[{}]", pl.concat_str(columns, separator=","))).to_series()
