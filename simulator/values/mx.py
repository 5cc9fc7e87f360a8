"""Microscaling (MX): packed x4 words, block scales, `nisa.quantize_mx` and `nisa.nc_matmul_mx`.

Source: `nisa.quantize_mx`, `nisa.nc_matmul_mx`; MXFP guide ("Data Tensor", "Scale Tensor", "Packing Scale Values");
Trainium3 guide. A scaling group is 8 partitions x 4 elements of a partition, the 4 elements are the lanes of one word, lane
0 in the lowest bits. A scale byte s means 2^(s - 127); 255 is NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from . import cast
from .arrays import F32, Array, free_flat
from .matmul import matmul

if TYPE_CHECKING:
    from .dtypes import DType

GROUP_PARTITIONS = 8
LANES = 4
_QUADRANT = 32
_BIAS = 127
_NAN_SCALE = 255
_MAX_EXPONENT = {np.dtype(ml_dtypes.float8_e4m3fn): 8, np.dtype(ml_dtypes.float8_e5m2): 15}


def unpack_x4(words: Array, dtype: DType) -> Array:
    """Packed words as their lanes.

    Args:
        words: uint32 (fp8) or uint16 (fp4) array, any shape (...).
        dtype: the x4 data type.

    Returns:
        Array of `dtype.lane`, (..., 4).
    """
    words = np.ascontiguousarray(words)
    if dtype.itemsize == LANES:
        return words.view(np.uint8).reshape(*words.shape, LANES).view(dtype.lane)
    nibbles = words[..., None] >> np.arange(0, 16, 4, dtype=np.uint16) & np.uint16(0xF)
    return nibbles.astype(np.uint8).view(dtype.lane)


def pack_x4(lanes: Array, dtype: DType) -> Array:
    """Lanes as packed words: the inverse of `unpack_x4`.

    Args:
        lanes: array of `dtype.lane`, (..., 4).
        dtype: the x4 data type.

    Returns:
        uint32 or uint16 array (...).
    """
    patterns = np.ascontiguousarray(lanes).view(np.uint8)
    if dtype.itemsize == LANES:
        return patterns.view(np.uint32)[..., 0]
    shifted = (patterns & 0xF).astype(np.uint16) << np.arange(0, 16, 4, dtype=np.uint16)
    return np.asarray(np.bitwise_or.reduce(shifted, axis=-1))


def scale_partitions(partitions: int) -> NDArray[np.intp]:
    """The partitions of a scale tile that hold the scales of a data tile, counted from the start of the tile.

    Args:
        partitions: partitions of the data tile, a multiple of 32 (of 8 below 32).

    Returns:
        One partition for each group of 8: 0 .. 3 in the first quadrant, 32 .. 35 in the second, and so on.
    """
    group = np.arange(partitions // GROUP_PARTITIONS)
    groups_per_quadrant = _QUADRANT // GROUP_PARTITIONS
    return group // groups_per_quadrant * _QUADRANT + group % groups_per_quadrant


@np.errstate(all="ignore")
def dequantize(words: Array, scale: Array, dtype: DType) -> F32:
    """Packed data times its block scales.

    Args:
        words: packed tile (P, F).
        scale: scale tile, float8_e8m0fnu or uint8, (at least 1 + the last of `scale_partitions(P)`, F).
        dtype: the x4 data type of `words`.

    Returns:
        float32 (P, 4, F): the contraction runs over the first two axes.
    """
    values = cast.float32(unpack_x4(free_flat(words), dtype))
    biased = free_flat(scale)[scale_partitions(words.shape[0])].view(np.uint8).astype(np.int32)
    powers = np.ldexp(np.float32(1), biased - _BIAS)
    powers = np.where(biased == _NAN_SCALE, np.float32(np.nan), powers)
    scaled: F32 = np.multiply(values, np.repeat(powers, GROUP_PARTITIONS, axis=0)[..., None])
    return scaled.swapaxes(1, 2)


@np.errstate(all="ignore")
def nc_matmul_mx(
    stationary: Array,
    moving: Array,
    stationary_scale: Array,
    moving_scale: Array,
    stationary_dtype: DType,
    moving_dtype: DType,
) -> F32:
    """`nisa.nc_matmul_mx`: the product of two quantised matrices, with their block scales.

    Args:
        stationary: packed tile (K, M).
        moving: packed tile (K, N); the contraction takes 4 K elements.
        stationary_scale: scale tile of `stationary`.
        moving_scale: scale tile of `moving`.
        stationary_dtype: x4 data type of `stationary`.
        moving_dtype: x4 data type of `moving`.

    Returns:
        float32 (M, N), accumulated in float32; write it with `matmul.overwrite` or `matmul.accumulate`.
    """
    left = dequantize(stationary, stationary_scale, stationary_dtype)
    right = dequantize(moving, moving_scale, moving_dtype)
    return matmul(left.reshape(-1, left.shape[2]), right.reshape(-1, right.shape[2]))


@np.errstate(all="ignore")
def quantize_mx(src: Array, out: DType) -> tuple[Array, NDArray[np.uint8]]:
    """`nisa.quantize_mx`: float16 or bfloat16 to MXFP8, with a scale for each group of 8 partitions x 4 elements.

    Args:
        src: stored tile (P, ...), P a multiple of 8, a multiple of 4 elements per partition.
        out: float8_e4m3fn_x4 or float8_e5m2_x4.

    Returns:
        Packed words (P, F / 4), and scale bytes (P / 8, F / 4), one row for each group: row i belongs in partition
        `scale_partitions(P)[i]` of the scale tile.

    The scale is 2^(floor(log2(amax)) - (Emax - 1)), twice OCP's sample algorithm, so nothing saturates; 2^-127 for a group
    of zeros. Left open, decided here: exponents below -127 are clamped to it; a group with inf or NaN takes the exponent
    128 for its maximum, and its inf and NaN stay what the element type makes of them.
    """
    values = free_flat(cast.float32(src))
    groups = values.reshape(-1, GROUP_PARTITIONS, values.shape[1] // LANES, LANES)
    largest = np.max(np.abs(groups), axis=(1, 3))
    exponent = np.where(np.isfinite(largest), np.frexp(largest)[1] - 1, 128)
    exponent = np.where(largest == 0, -_BIAS, np.maximum(exponent - (_MAX_EXPONENT[out.lane] - 1), -_BIAS))
    scaled = np.ldexp(groups, -exponent[:, None, :, None]).reshape(values.shape[0], -1, LANES)
    return pack_x4(scaled.astype(out.lane), out), (exponent + _BIAS).astype(np.uint8)
