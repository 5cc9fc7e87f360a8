"""NumPy reference of `kernels/allgather_matmul.py`, for all ranks at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def allgather_matmul(lhs: Sequence[Array], rhs: Sequence[Array]) -> list[Array]:
    """Each rank's `concat(lhs).T @ rhs[rank]`, for `lhs[rank][K, M]` and `rhs[rank][K, N]`; fp32 sums, lhs's dtype."""
    left = np.concatenate(lhs, axis=1).astype(np.float32).T
    return [(left @ columns.astype(np.float32)).astype(columns.dtype) for columns in rhs]
