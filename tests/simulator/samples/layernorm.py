"""Layer normalisation with the statistics instructions, rows of more than one bn_stats tile."""

from __future__ import annotations

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np

TARGETS = ("trn1", "trn2", "trn3")


@nki.jit
def layernorm(x, gamma, beta, epsilon=1e-5):
    """(x - mean) / sqrt(var + epsilon) * gamma + beta over the last dimension; the last tile of rows may be partial."""
    rows, width = x.shape
    out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
    pmax, piece = nl.tile_size.pmax, nl.tile_size.bn_stats_fmax
    pieces = -(-width // piece)
    factor, shift = (nl.ndarray((pmax, width), nl.float32) for _ in range(2))
    for tile, source in ((factor, gamma), (shift, beta)):
        nisa.dma_copy(tile, source.ap([[0, pmax], [1, width]]))
    small = nl.ndarray((pmax, 1), nl.float32)
    nisa.memset(small, epsilon)
    for start in range(0, rows, pmax):
        count = min(pmax, rows - start)
        tile = nl.ndarray((pmax, width), nl.float32)
        nisa.dma_copy(tile[:count], x[start : start + count])
        stats, moments = nl.ndarray((pmax, pieces, 6), nl.float32), nl.ndarray((pmax, 2), nl.float32)
        for j in range(pieces):
            nisa.bn_stats(stats[:count, j], tile[:count, j * piece : min(width, (j + 1) * piece)])
        nisa.bn_aggr(moments[:count], stats[:count])
        scale = nl.ndarray((pmax, 1), nl.float32)
        nisa.activation(scale[:count], nl.rsqrt, moments[:count, 1:2], bias=small[:count])
        nisa.tensor_scalar(
            tile[:count], tile[:count], nl.subtract, moments[:count, 0:1], op1=nl.multiply, operand1=scale[:count]
        )
        nisa.tensor_tensor(tile[:count], tile[:count], factor[:count], nl.multiply)
        nisa.tensor_tensor(tile[:count], tile[:count], shift[:count], nl.add)
        nisa.dma_copy(out[start : start + count], tile[:count])
    return out


def inputs(rng):
    x = rng.standard_normal((200, 1200), dtype=np.float32) * 3 + 1
    return x, *(rng.standard_normal((1, 1200), dtype=np.float32) for _ in range(2))


def reference(x, gamma, beta):
    x = x.astype(np.float64)
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) * gamma + beta


SAMPLE = (layernorm, inputs, reference)
