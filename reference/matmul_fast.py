"""NumPy reference of `kernels/matmul_fast.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .activations import activate

Array = NDArray[Any]


def matmul(
    lhs: Array,
    rhs: Array,
    bias: Array | None = None,
    lhs_layout: str = "km",
    rhs_layout: str = "kn",
    activation: str | None = None,
    out_dtype: DTypeLike | None = None,
) -> Array:
    """Return `activation(lhs @ rhs + bias)` as `[M, N]`, summed in fp32, rounded once to `out_dtype` (else lhs's dtype).

    lhs is `[K, M]` ("km") or `[M, K]` ("mk"), rhs `[K, N]` ("kn") or `[N, K]` ("nk"), bias `[1, N]`.
    """
    left = lhs.astype(np.float32)
    right = rhs.astype(np.float32)
    product: Array = (left.T if lhs_layout == "km" else left) @ (right if rhs_layout == "kn" else right.T)
    if bias is not None:
        product += bias.astype(np.float32)
    return activate(product, activation).astype(out_dtype or lhs.dtype)
