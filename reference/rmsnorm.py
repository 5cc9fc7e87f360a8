"""NumPy reference of `kernels/rmsnorm.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def rmsnorm(x: Array, gain: Array, epsilon: float = 1e-6) -> Array:
    """Return `x / sqrt(mean(x**2) + epsilon) * gain` row by row, for `x[N, D]` and `gain[1, D]`; fp32, rounded to x's dtype."""
    wide = x.astype(np.float32)
    scale = 1.0 / np.sqrt(np.mean(wide * wide, axis=1, keepdims=True) + np.float32(epsilon))
    normal: Array = wide * scale * gain.astype(np.float32)
    return normal.astype(x.dtype)
