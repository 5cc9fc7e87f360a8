"""Functions of `nki.language` on whole tiles: load and store, reductions, softmax, transpose, matmul."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..constants import MemoryRegion, engine
from ..isa.dma import dma_copy
from ..isa.elementwise import reciprocal, tensor_copy, tensor_scalar, tensor_tensor
from ..isa.reductions import tensor_reduce
from ..isa.scalar_engine import activation
from ..isa.tensor_engine import nc_matmul, nc_transpose
from ..layout import PSUM
from ..tensor import NkiTensor
from .create import dtype_argument, full, ndarray
from .math import broadcast


def load(src: NkiTensor, dtype: Any = None) -> NkiTensor:
    """A new SBUF tile with the values of an HBM tensor, of `dtype`."""
    shape = src.shape if src.ndim > 1 else (1, *src.shape)
    tile = ndarray(shape, dtype_argument(dtype, src.dtype))
    dma_copy(tile, src)
    return tile


def store(dst: NkiTensor, value: NkiTensor) -> None:
    """Write an SBUF tile to an HBM tensor (a PSUM tile is copied to SBUF first)."""
    if value.layout.space == PSUM:
        tile = ndarray(value.shape, dst.dtype)
        tensor_copy(tile, value)
        value = tile
    dma_copy(dst, value)


def load_transpose2d(src: NkiTensor, dtype: Any = None) -> NkiTensor:
    """A new SBUF tile with the transpose of a 2-D HBM tensor."""
    from ..isa.dma import dma_transpose

    tile = ndarray((src.shape[1], src.shape[0]), src.dtype)
    dma_transpose(tile, src)
    if dtype is None or dtype == src.dtype:
        return tile
    cast = ndarray(tile.shape, dtype)
    tensor_copy(cast, tile)
    return cast


def _axes(x: NkiTensor, axis: int | Sequence[int]) -> tuple[int, ...]:
    given = (axis,) if isinstance(axis, int) else tuple(axis)
    return tuple(sorted(a % x.ndim for a in given))


def _reduce(x: NkiTensor, op: str, axis: int | Sequence[int], dtype: Any, keepdims: bool) -> NkiTensor:
    axes = _axes(x, axis)
    kept = tuple(1 if d in axes else n for d, n in enumerate(x.shape))
    out = ndarray(kept, dtype_argument(dtype, x.dtype))
    tensor_reduce(out, op, x, axes)
    shape = tuple(n for d, n in enumerate(x.shape) if d not in axes)
    return out if keepdims or len(shape) < 2 else out.reshape(shape)


def sum(x: NkiTensor, axis: int | Sequence[int], dtype: Any = None, keepdims: bool = False) -> NkiTensor:
    """Sum along the last free dimensions; at least 2-D."""
    return _reduce(x, "add", axis, dtype, keepdims)


def max(x: NkiTensor, axis: int | Sequence[int], dtype: Any = None, keepdims: bool = False) -> NkiTensor:
    """Maximum along the last free dimensions; at least 2-D."""
    return _reduce(x, "maximum", axis, dtype, keepdims)


def min(x: NkiTensor, axis: int | Sequence[int], dtype: Any = None, keepdims: bool = False) -> NkiTensor:
    """Minimum along the last free dimensions; at least 2-D."""
    return _reduce(x, "minimum", axis, dtype, keepdims)


def prod(x: NkiTensor, axis: int | Sequence[int], dtype: Any = None, keepdims: bool = False) -> NkiTensor:
    """Product along the last free dimensions; at least 2-D."""
    return _reduce(x, "multiply", axis, dtype, keepdims)


def all(x: NkiTensor, axis: int | Sequence[int], dtype: Any = None) -> NkiTensor:
    """1 where all elements along the last free dimensions are not 0."""
    return _reduce(x, "logical_and", axis, dtype, keepdims=False)


def _count(x: NkiTensor, axis: int | Sequence[int]) -> int:
    count = 1
    for a in _axes(x, axis):
        count *= x.shape[a]
    return count


def mean(x: NkiTensor, axis: int | Sequence[int], dtype: Any = None, keepdims: bool = False) -> NkiTensor:
    """Mean along the last free dimensions, computed in fp32."""
    total = _reduce(x, "add", axis, "float32", keepdims)
    out = ndarray(total.shape, dtype_argument(dtype, x.dtype))
    tensor_scalar(out, total, "multiply", 1.0 / _count(x, axis))
    return out


def var(x: NkiTensor, axis: int | Sequence[int], dtype: Any = None, keepdims: bool = False) -> NkiTensor:
    """Variance along the last free dimensions, which stay with size 1 whatever `keepdims` says."""
    del keepdims
    center = mean(x, axis, "float32", keepdims=True)
    apart = ndarray(x.shape, "float32")
    tensor_tensor(apart, x, broadcast(center, x.shape), "subtract")
    tensor_tensor(apart, apart, apart, "multiply")
    return mean(apart, axis, dtype_argument(dtype, x.dtype), keepdims=True)


def softmax(x: NkiTensor, axis: int | Sequence[int] = -1, dtype: Any = None) -> NkiTensor:
    """exp(x - max) over its sum, along the last free dimensions."""
    top = _reduce(x, "maximum", axis, "float32", keepdims=True)
    shifted = ndarray(x.shape, "float32")
    tensor_tensor(shifted, x, broadcast(top, x.shape), "subtract")
    activation(shifted, "exp", shifted)
    total = _reduce(shifted, "add", axis, "float32", keepdims=True)
    reciprocal(total, total)
    out = ndarray(x.shape, dtype_argument(dtype, x.dtype))
    tensor_tensor(out, shifted, broadcast(total, x.shape), "multiply")
    return out


def rms_norm(
    x: NkiTensor,
    w: NkiTensor,
    axis: int | Sequence[int],
    n: int,
    epsilon: float = 1e-06,
    dtype: Any = None,
    compute_dtype: Any = None,
) -> NkiTensor:
    """`x / sqrt(sum(x**2) / n + epsilon) * w`."""
    work = dtype_argument(compute_dtype, dtype_argument("float32", x.dtype))
    squares = ndarray(x.shape, work)
    tensor_tensor(squares, x, x, "multiply")
    scale = _reduce(squares, "add", axis, "float32", keepdims=True)
    shift = full((x.shape[0], 1), epsilon, "float32")
    activation(scale, "rsqrt", scale, bias=shift, scale=1.0 / n)
    normal = ndarray(x.shape, work)
    tensor_tensor(normal, x, broadcast(scale, x.shape), "multiply")
    out = ndarray(x.shape, dtype_argument(dtype, x.dtype))
    tensor_tensor(out, normal, broadcast(w, x.shape), "multiply")
    return out


def expand_dims(x: NkiTensor, axis: int) -> NkiTensor:
    """A view with a new dimension of size 1."""
    return x.expand_dim(axis)


def broadcast_to(x: NkiTensor, shape: Sequence[int], dtype: Any = None) -> NkiTensor:
    """A tile of `shape` in which dimensions of size 1 are repeated, the partition dimension too."""
    sizes = tuple(shape)
    if x.shape == sizes and (dtype is None or dtype == x.dtype):
        return x
    out = ndarray(sizes, dtype_argument(dtype, x.dtype))
    source = broadcast(x, (x.shape[0], *sizes[1:]))
    if source.shape[0] == sizes[0]:
        tensor_copy(out, source)
        return out
    for partition in range(sizes[0]):
        dma_copy(out[partition : partition + 1], source)
    return out


def transpose(x: NkiTensor, dtype: Any = None) -> NkiTensor:
    """Partition and free dimension of a 2-D tile swapped; a PSUM tile of `dtype`."""
    if x.layout.space == PSUM:
        tile = ndarray(x.shape, x.dtype)
        tensor_copy(tile, x)
        x = tile
    out = ndarray((x.shape[1], x.shape[0]), x.dtype, MemoryRegion.psum)
    nc_transpose(out, x, engine.tensor)
    if dtype is None or dtype == x.dtype:
        return out
    cast = ndarray(out.shape, dtype)
    tensor_copy(cast, out)
    return cast


def matmul(x: NkiTensor, y: NkiTensor, transpose_x: bool = False) -> NkiTensor:
    """`x @ y` (or `x.T @ y` with `transpose_x`) as a PSUM tile of fp32; x is transposed first where it has to be."""
    stationary = x
    if not transpose_x:
        turned = transpose(x)
        stationary = ndarray(turned.shape, x.dtype)
        tensor_copy(stationary, turned)
    out = ndarray((stationary.shape[1], y.shape[1]), "float32", MemoryRegion.psum)
    nc_matmul(out, stationary, y)
    return out
