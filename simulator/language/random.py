"""Random tiles: rand, random_seed, dropout; and gather_flattened."""

from __future__ import annotations

from typing import Any

from ..isa.elementwise import tensor_copy, tensor_scalar
from ..isa.gathers import nc_n_gather
from ..isa.random import dropout as isa_dropout
from ..isa.random import rng, set_rng_seed
from ..tensor import NkiTensor
from .create import dtype_argument, ndarray, sbuf


def random_seed(seed: NkiTensor) -> None:
    """Seed the random numbers of `rand` and `dropout` from a 1x1 tile of 32 bits."""
    set_rng_seed(seed)


def rand(shape: Any, dtype: Any, buffer: Any = sbuf, name: str = "") -> NkiTensor:
    """A new tile of uniform numbers in [0, 1)."""
    bits = ndarray(shape, "uint16")
    rng(bits)
    tile = ndarray(shape, dtype, buffer, name)
    tensor_scalar(tile, bits, "multiply", 2.0**-16)
    return tile


def dropout(x: NkiTensor, rate: Any, dtype: Any = None) -> NkiTensor:
    """A tile with elements of `x` zeroed with probability `rate` (a number or one per partition)."""
    tile = ndarray(x.shape, x.dtype)
    isa_dropout(tile, x, rate)
    wanted = dtype_argument(dtype, x.dtype)
    if wanted == x.dtype:
        return tile
    out = ndarray(x.shape, wanted)
    tensor_copy(out, tile)
    return out


def gather_flattened(data: NkiTensor, indices: NkiTensor, axis: int = 0, dtype: Any = None) -> NkiTensor:
    """Elements of each partition of `data` at that partition's own indices into its flattened free dimensions."""
    del axis
    picked = ndarray(indices.shape, data.dtype)
    numbers = indices
    if indices.dtype != "uint32":
        numbers = ndarray(indices.shape, "uint32")
        tensor_copy(numbers, indices)
    nc_n_gather(picked, data, numbers)
    wanted = dtype_argument(dtype, data.dtype)
    if wanted == data.dtype:
        return picked
    out = ndarray(indices.shape, wanted)
    tensor_copy(out, picked)
    return out
