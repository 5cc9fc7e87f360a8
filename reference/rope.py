"""NumPy reference of `kernels/rope.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def rotate(x: Array, cos: Array, sin: Array, *, interleaved: bool) -> Array:
    """Rotate pairs along the last axis of fp32 `x[..., d]` by `cos[..., d / 2]`, `sin[..., d / 2]`.

    Pairs are (2 i, 2 i + 1) if interleaved, else (i, i + d / 2).
    """
    half = x.shape[-1] // 2
    first = slice(0, None, 2) if interleaved else slice(0, half)
    second = slice(1, None, 2) if interleaved else slice(half, None)
    result = np.empty_like(x)
    result[..., first] = x[..., first] * cos - x[..., second] * sin
    result[..., second] = x[..., second] * cos + x[..., first] * sin
    return result


def rope(x: Array, cos: Array, sin: Array, interleaved: bool = False) -> Array:
    """Rotate every head of `x[tokens, heads, d]` by `cos[tokens, d / 2]` and `sin`; fp32, rounded to x's dtype."""
    tables = (table.astype(np.float32)[:, None, :] for table in (cos, sin))
    return rotate(x.astype(np.float32), *tables, interleaved=interleaved).astype(x.dtype)
