"""Torch tensors in and out: the only file that imports torch, and only when a caller passes a torch tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .values.dtypes import get as dtype_of

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32}


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """A CPU tensor as an array of the same dtype; narrow floats by their bits."""
    tensor = tensor.detach().cpu().contiguous()
    try:
        return np.asarray(tensor.numpy())
    except TypeError:
        dtype = dtype_of(tensor.dtype)
        return np.asarray(tensor.view(_BITS[dtype.itemsize]).numpy().view(dtype.storage))


def to_torch(array: Any) -> Any:
    """An array as a torch tensor of the same dtype; anything else passes."""
    if not isinstance(array, np.ndarray):
        return array
    array = np.ascontiguousarray(array)
    if not array.flags.writeable:
        array = array.copy()
    named = getattr(torch, str(array.dtype), None)
    if array.dtype.kind != "V" and array.dtype.char in "?bBhHiIlLqQefd":
        return torch.from_numpy(array)
    bits = torch.from_numpy(array.view(f"i{array.dtype.itemsize}" if array.dtype.itemsize > 1 else np.uint8))
    return bits.view(named) if isinstance(named, torch.dtype) else bits


def write_back(tensor: torch.Tensor, array: np.ndarray) -> None:
    """Copy an array into a torch tensor in place."""
    with torch.no_grad():
        tensor.copy_(to_torch(array))
