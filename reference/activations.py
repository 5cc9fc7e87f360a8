"""Activation functions by the names that the kernels take, in fp32."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def activate(x: Array, name: str | None) -> Array:
    """Return `name(x)` in fp32; x itself where the name is None.

    Raises:
        KeyError: no such activation.
    """
    return x if name is None else _FUNCTIONS[name](x)


def _sigmoid(x: Array) -> Array:
    half: Array = np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * x))
    return half


def _gelu(x: Array) -> Array:
    erf = np.vectorize(math.erf, otypes=[np.float32])
    result: Array = np.float32(0.5) * x * (1 + erf(x / np.float32(math.sqrt(2))))
    return result


def _gelu_tanh(x: Array) -> Array:
    inner = np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x**3)
    result: Array = np.float32(0.5) * x * (1 + np.tanh(inner))
    return result


_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": lambda x: x * _sigmoid(x),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
}
