"""Columns of the timeline's JSON: numbers as base64 of compact bytes, strings by dictionary (docs/timeline-json.md)."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Field = dict[str, Any]
TICK_NS = 0.001
"""Times are whole ticks of a picosecond, the step of the device's clock."""


def integers(values: npt.ArrayLike) -> Field:
    """Whole numbers as first differences, zigzag-coded, in little-endian groups of seven bits.

    Args:
        values: any shape that ravels to [N], of magnitude below 2**53.
    """
    array = np.asarray(values, dtype=np.int64).ravel()
    steps = np.diff(array, prepend=np.int64(0))
    return {"ints": _base64(_varint((steps << 1) ^ (steps >> 63))), "count": int(array.size)}


def floats(values: npt.ArrayLike) -> Field:
    """Numbers as little-endian float32; NaN where there is none."""
    array = np.asarray(values, dtype="<f4").ravel()
    return {"floats": _base64(array.tobytes()), "count": int(array.size)}


def ticks(values_ns: pl.Series) -> npt.NDArray[np.int64]:
    """Times in nanoseconds as whole ticks of `TICK_NS`; null is 0."""
    return np.rint(values_ns.fill_null(0.0).to_numpy() / TICK_NS).astype(np.int64)


def text(values: pl.Series) -> Field:
    """Strings as a dictionary in order of first use and one code each; -1 is null."""
    words = values.drop_nulls().unique(maintain_order=True)
    return {"words": words.to_list(), "codes": integers(codes(values, words))}


def codes(values: pl.Series, words: pl.Series) -> npt.NDArray[np.int64]:
    """Position of each value in `words`, -1 where it is null or not there."""
    table = pl.DataFrame(
        {"word": words, "code": np.arange(len(words))}, schema={"word": values.dtype, "code": pl.Int64}
    )
    found = values.alias("word").to_frame().join(table, on="word", how="left", maintain_order="left")["code"]
    return found.fill_null(-1).to_numpy()


def column(values: pl.Series) -> Field:
    """Any column of details: strings by dictionary, integers with -1 for null, floats with NaN for null."""
    if values.dtype == pl.String:
        return text(values)
    if values.dtype.is_integer():
        return integers(values.fill_null(-1).to_numpy())
    return floats(values.cast(pl.Float32).fill_null(float("nan")).to_numpy())


def _varint(values: npt.NDArray[np.int64]) -> bytes:
    """Numbers from 0 below 2**63 in groups of seven bits, lowest first; the top bit says that more follow."""
    places = np.arange(9)
    groups = ((values[:, None] >> (7 * places)) & 0x7F).astype(np.uint8)
    length = np.maximum(1, ((groups != 0) * (places + 1)).max(axis=1, initial=0))[:, None]
    groups[places < length - 1] |= 0x80
    used: npt.NDArray[np.uint8] = groups[places < length]
    return used.tobytes()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
