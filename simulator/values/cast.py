"""Casts between any two data types: what engines and DMA do on the way in and out.

Documented: arithmetic casts inputs to float32 and results from it ("Supported Math Operators"; `nisa.dma_copy`: the DMA
casts in two steps through float32); float32 to integer rounds to nearest even and saturates (NKI 0.6.0 release notes);
rounding to nearest even by default (Data Types, "Rounding Modes"); an overflowing float becomes +-inf
(`nisa.range_select`, "Note on numerical stability").

Left open, decided here: NaN to integer is 0; overflow to float8_e4m3fn, which has no inf, is NaN (OCP's non-saturating
mode, and what ml_dtypes does; kernels of the vendor clamp before the cast); any value but zero is True; denormals are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nkilab.errors import UsageError

if TYPE_CHECKING:
    from .arrays import F32, Array
    from .dtypes import DType


def float32(x: Array) -> F32:
    """Stored elements as float32, exactly but for 32- and 64-bit integers, which round to nearest even.

    Args:
        x: stored array of any data type but the packed ones, any shape.

    Returns:
        float32 array of the same shape; `x` itself if it is float32 already.
    """
    with np.errstate(invalid="ignore"):
        return x.astype(np.float32, copy=False)


@np.errstate(all="ignore")
def from_float32(y: F32, out: DType) -> Array:
    """float32 values as stored elements of `out`.

    Args:
        y: float32 array, any shape.
        out: data type of the result; a relaxed one keeps float32.

    Returns:
        Array of `out.storage`, same shape; may be `y` itself.

    Raises:
        UsageError: `out` is a packed type, which only `quantize_mx` and copies write.
    """
    if out.kind == "float":
        if out == "tfloat32" and not out.is_relaxed:
            return round_tfloat32(y)
        return np.asarray(y, out.storage)
    if out.kind == "int":
        return _to_integer(y, out)
    if out.kind == "bool":
        return np.not_equal(y, 0).astype(np.uint8)
    if out.kind == "scale":
        return np.asarray(y, out.storage)
    raise UsageError(
        f"no arithmetic result can be written as {out!r}",
        rule="packed x4 types hold four lanes and are written by quantize_mx, copies of the same type and memset(0)",
        source="nki.isa.memset, note on x4 packed types; nki.isa.quantize_mx",
        fix="quantize with nisa.quantize_mx, or copy between tensors of one dtype",
    )


def cast(x: Array, out: DType) -> Array:
    """Stored elements as another data type: bit for bit if it is the same, else through float32.

    Args:
        x: stored array, any shape.
        out: data type of the result.

    Returns:
        A new array of `out.storage`, same shape.

    What `nisa.tensor_copy` and `nisa.dma_copy` compute. Source: `nisa.tensor_copy` ("bit-accurate copy when input and output data types are the same, or intermediate FP32
    cast"), `nisa.dma_copy` ("Data types").
    """
    if x.dtype == out.storage and out not in ("tfloat32", "bool"):
        return x.copy()
    return from_float32(float32(x), out)


def round_tfloat32(y: F32) -> F32:
    """float32 rounded to nearest even to the 10 explicit mantissa bits of tfloat32; inf and NaN pass.

    Source: Supported Data Types (tfloat32: 1S, 8E, 10M); stored in float32 with the low 13 bits zero.
    """
    bits = np.ascontiguousarray(y).view(np.uint32)
    rounded = (bits + np.uint32(0xFFF) + ((bits >> np.uint32(13)) & np.uint32(1))) & np.uint32(0xFFFFE000)
    return np.where(np.isfinite(y), rounded.view(np.float32), y)


def _to_integer(y: F32, out: DType) -> Array:
    limits = np.iinfo(out.storage)
    if out.itemsize <= 2:  # the limits are exact in float32
        rounded = np.clip(np.rint(y), limits.min, limits.max)
        return np.where(np.isnan(rounded), np.float32(0), rounded).astype(out.storage)
    # float64 holds 32-bit limits exactly; the upper limit of int64 is not a float64, so it is set apart
    wide = np.rint(y).astype(np.float64)
    inside = np.where((wide >= float(limits.min)) & (wide < float(limits.max)), wide, 0.0).astype(out.storage)
    inside = np.where(wide >= float(limits.max), limits.max, inside)
    return np.where(wide < float(limits.min), limits.min, inside).astype(out.storage)


def cast_integer(x: Array, out: DType) -> Array:
    """Integers as `out`: saturated exactly if it is an integer type, else through float32.

    Args:
        x: integer array, any shape.
        out: data type of the result.

    Returns:
        Array of `out.storage`, same shape.

    Source: `nisa.iota` ("computed in 32-bit integer arithmetic", then cast); saturation as for floats.
    """
    if out.kind != "int":
        return from_float32(x.astype(np.float32), out)
    limits = np.iinfo(out.storage)
    return np.clip(x.astype(np.int64), limits.min, limits.max).astype(out.storage)


def wrap_integer(x: Array, out: DType) -> Array:
    """The low bits of integers as the integer type `out` (two's complement)."""
    return x.astype(np.int64, copy=False).astype(out.storage)


def bits(x: Array) -> Array:
    """The bit patterns of stored elements, as unsigned integers of the same width."""
    return x.view(np.dtype(f"u{x.dtype.itemsize}"))


def memset(shape: tuple[int, ...], value: float, out: DType) -> Array:
    """`nisa.memset`: a constant as stored elements.

    Args:
        shape: shape of the result.
        value: a number of the kind of `out`; 0 for packed types.
        out: data type of the result.

    Returns:
        Array of `out.storage`; integers exact (and saturated), floats rounded to nearest even.
    """
    if out.kind == "packed" and value == 0:
        return np.zeros(shape, out.storage)
    if out.kind == "int" and float(value).is_integer():
        limits = np.iinfo(out.storage)
        return np.full(shape, min(max(int(value), limits.min), limits.max), out.storage)
    return np.full(shape, from_float32(np.asarray(value, np.float32), out), out.storage)
