"""NumPy reference of `kernels/softmax.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def softmax(x: Array, scale: float = 1.0) -> Array:
    """Return the softmax of `scale * x` over each row of `x[N, D]`; fp32, rounded to x's dtype."""
    scaled = x.astype(np.float32) * np.float32(scale)
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    shares: Array = powers / powers.sum(axis=1, keepdims=True)
    return shares.astype(x.dtype)
