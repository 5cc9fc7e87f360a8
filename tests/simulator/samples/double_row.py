"""An fp8 matmul at double rate: the contraction runs over partitions and pairs in the free dimension."""

from __future__ import annotations

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np

TARGETS = ("trn2", "trn3")
DEEP = 256


@nki.jit
def matmul(lhsT, rhs):
    """lhsT.T @ rhs for (K, M) and (K, N), K a multiple of 256, in float8_e4m3."""
    k, m = lhsT.shape
    n = rhs.shape[1]
    psum = nl.ndarray((m, n), nl.float32, nl.psum)
    for start in range(0, k, DEEP):
        tiles = []
        for source in (lhsT, rhs):
            wide = nl.ndarray((128, 2, source.shape[1]), source.dtype)
            nisa.dma_copy(wide, source[start : start + DEEP].reshape((128, 2, source.shape[1])))
            low = nl.ndarray(wide.shape, nl.float8_e4m3)
            nisa.tensor_copy(low, wide)
            tiles.append(low)
        nisa.nc_matmul(psum, *tiles, accumulate=start > 0, perf_mode=nisa.matmul_perf_mode.double_row)
    result = nl.ndarray((m, n), nl.float32)
    nisa.tensor_copy(result, psum)
    out = nl.ndarray((m, n), nl.float32, nl.shared_hbm)
    nisa.dma_copy(out, result)
    return out


def inputs(rng):
    return tuple(rng.integers(-8, 9, (512, n)).astype(np.float32) for n in (64, 256))


def reference(lhsT, rhs):
    return lhsT.T.astype(np.float64) @ rhs


SAMPLE = (matmul, inputs, reference)
