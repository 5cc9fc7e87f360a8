"""Softmax of rows: one pass for the maximum, one for exp and its sum, one to divide.

Rows go to partitions, 128 at a time, and are read once. VectorE finds the maximum, negated and scaled so that it is the bias of
ScalarE's exp, which sums what it writes; VectorE multiplies by the reciprocal. Engines are in order, so the maximum of a tile
is issued before the tile ahead of it is divided: VectorE works while ScalarE does.

Bound in bf16: VectorE (maximum and division) and DMA (read and write) need about the same, ScalarE's exp three quarters.
"""

import nki
import nki.isa as nisa
import nki.language as nl

from .tiles import shard, spans

ROWS = nl.tile_size.pmax


@nki.jit
def softmax(x, scale=1.0):
    """Return `exp(scale * x) / sum(exp(scale * x))` of each row of `x[N, D]`, in x's dtype; the arithmetic is fp32.

    The scaled maximum is subtracted first, so that logits of any size are safe; scale must be positive. On a logical core of
    two each core takes a part of the rows.
    """
    assert scale > 0, f"scale={scale} must be positive"
    assert len(x.shape) == 2, f"x has shape {x.shape}, needs rows and columns"
    N, D = x.shape
    result = nl.ndarray((N, D), dtype=x.dtype, buffer=nl.shared_hbm)
    before = None
    for n, p in spans(shard(N, ROWS), ROWS):
        tile = nl.ndarray((p, D), dtype=x.dtype, buffer=nl.sbuf)
        nisa.dma_copy(dst=tile, src=x[n : n + p, :])
        powers, total = exponentials(tile, scale)
        divide(result, before)
        before = n, powers, total
    divide(result, before)
    return result


def exponentials(tile, scale):
    """`exp(scale * (row - its maximum))` in fp32, and the sum of each row."""
    p, D = tile.shape
    bias = nl.ndarray((p, 1), dtype=nl.float32, buffer=nl.sbuf)
    nisa.tensor_reduce(dst=bias, op=nl.maximum, data=tile, axis=1, negate=True)
    if scale != 1.0:
        lowest, bias = bias, nl.ndarray((p, 1), dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_scalar(dst=bias, data=lowest, op0=nl.multiply, operand0=scale, engine=nisa.engine.vector)
    powers = nl.ndarray((p, D), dtype=nl.float32, buffer=nl.sbuf)
    total = nl.ndarray((p, 1), dtype=nl.float32, buffer=nl.sbuf)
    nisa.activation_reduce(dst=powers, op=nl.exp, data=tile, scale=scale, bias=bias, reduce_op=nl.add, reduce_res=total)
    return powers, total


def divide(result, rows):
    """Divide one tile by the sums of its rows and store it."""
    if rows is None:
        return
    n, powers, total = rows
    inverse = nl.ndarray(total.shape, dtype=nl.float32, buffer=nl.sbuf)
    nisa.reciprocal(dst=inverse, data=total)
    shares = nl.ndarray(powers.shape, dtype=result.dtype, buffer=nl.sbuf)
    nisa.tensor_scalar(dst=shares, data=powers, op0=nl.multiply, operand0=inverse, engine=nisa.engine.vector)
    nisa.dma_copy(dst=result[n : n + powers.shape[0], :], src=shares)
