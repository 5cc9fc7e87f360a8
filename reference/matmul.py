"""NumPy references of `kernels/matmul.py`: all steps compute the same product."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def matmul_tiled(lhsT: Array, rhs: Array) -> Array:
    """Return `lhsT.T @ rhs` for `lhsT[K, M]` and `rhs[K, N]`, summed in fp32 and rounded to lhsT's dtype."""
    product: Array = lhsT.astype(np.float32).T @ rhs.astype(np.float32)
    return product.astype(lhsT.dtype)


def matmul_hoisted(lhsT: Array, rhs: Array) -> Array:
    """See `matmul_tiled`."""
    return matmul_tiled(lhsT, rhs)


def matmul_blocked(lhsT: Array, rhs: Array) -> Array:
    """See `matmul_tiled`."""
    return matmul_tiled(lhsT, rhs)


def matmul_fully_blocked(lhsT: Array, rhs: Array) -> Array:
    """See `matmul_tiled`."""
    return matmul_tiled(lhsT, rhs)
