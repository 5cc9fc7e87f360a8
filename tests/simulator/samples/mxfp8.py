"""Quantisation to MXFP8 on the chip, and the product of the two quantised operands (trn3)."""

from __future__ import annotations

import ml_dtypes
import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np

TARGETS = ("trn3",)


def quantised(source):
    """Packed words and scales of an HBM tensor (128, 4 n)."""
    partitions, width = source.shape
    tile = nl.ndarray((partitions, width), source.dtype)
    nisa.dma_copy(tile, source)
    words = nl.ndarray((partitions, width // 4), nl.float8_e4m3fn_x4)
    scales = nl.ndarray((partitions, width // 4), nl.float8_e8m0fnu)
    nisa.quantize_mx(dst=words, src=tile, dst_scale=scales)
    return words, scales


@nki.jit
def matmul(lhsT, rhs):
    """Sum over partitions and lanes of lhsT (128, 4 m) and rhs (128, 4 n), element 4 i + j being lane j of column i."""
    left, left_scale = quantised(lhsT)
    right, right_scale = quantised(rhs)
    shape = (left.shape[1], right.shape[1])
    psum = nl.ndarray(shape, nl.float32, nl.psum)
    nisa.nc_matmul_mx(psum, left, right, left_scale, right_scale)
    result = nl.ndarray(shape, nl.bfloat16)
    nisa.tensor_copy(result, psum)
    out = nl.ndarray(shape, nl.bfloat16, nl.shared_hbm)
    nisa.dma_copy(out, result)
    return out


def inputs(rng):
    return tuple(rng.standard_normal((128, 4 * n)).astype(ml_dtypes.bfloat16) for n in (64, 128))


def rounded(x):
    """A tile after quantisation: scales of 8 partitions x 4 lanes, elements to float8_e4m3fn."""
    groups = x.astype(np.float64).reshape(16, 8, -1, 4)
    top = np.abs(groups).max((1, 3), keepdims=True)
    scale = 2.0 ** (np.floor(np.log2(top)) - 7)
    return ((groups / scale).astype(ml_dtypes.float8_e4m3fn).astype(np.float64) * scale).reshape(128, -1, 4)


def reference(lhsT, rhs):
    return np.einsum("kmj,knj->mn", rounded(lhsT), rounded(rhs))


SAMPLE = (matmul, inputs, reference)
