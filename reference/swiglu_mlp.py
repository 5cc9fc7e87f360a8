"""NumPy reference of `kernels/swiglu_mlp.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .activations import activate
from .fused_qkv import normalised

Array = NDArray[Any]


def swiglu_mlp(
    x: Array,
    w_gate: Array,
    w_up: Array,
    w_down: Array,
    gain: Array | None = None,
    norm: str | None = None,
    epsilon: float = 1e-6,
) -> Array:
    """Return `(silu(n @ w_gate) * (n @ w_up)) @ w_down` for `n = norm(x)`; n and the gated features in x's dtype, sums in fp32."""
    n = normalised(x, norm, gain, None, epsilon).astype(np.float32)
    gate, up = n @ w_gate.astype(np.float32), n @ w_up.astype(np.float32)
    gated = (activate(gate, "silu") * up).astype(x.dtype).astype(np.float32)
    product: Array = gated @ w_down.astype(np.float32)
    return product.astype(x.dtype)
