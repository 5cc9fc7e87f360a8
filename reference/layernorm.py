"""NumPy reference of `kernels/layernorm.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def layernorm(x: Array, gain: Array | None = None, offset: Array | None = None, epsilon: float = 1e-6) -> Array:
    """Return `(x - mean) / sqrt(variance + epsilon) * gain + offset` row by row, for `x[N, D]`, `gain[1, D]`, `offset[1, D]`.

    fp32 throughout, the variance over all D; rounded to x's dtype.
    """
    wide = x.astype(np.float32)
    centred = wide - np.mean(wide, axis=1, keepdims=True)
    normal: Array = centred / np.sqrt(np.mean(centred * centred, axis=1, keepdims=True) + np.float32(epsilon))
    normal = normal if gain is None else normal * gain.astype(np.float32)
    normal = normal if offset is None else normal + offset.astype(np.float32)
    return normal.astype(x.dtype)
