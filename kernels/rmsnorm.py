"""RMS normalisation: a small kernel for the scalar and vector engines.

Rows go to partitions, 128 at a time, and are read once:

    ScalarE   sum of squares of each row, then 1 / sqrt(mean + epsilon)
    VectorE   row * that * gain, in one pass

Bound: DMA, which reads and writes each row once.
"""

import nki
import nki.isa as nisa
import nki.language as nl


@nki.jit
def rmsnorm(x, gain, epsilon=1e-6):
    """Return `x / sqrt(mean(x**2) + epsilon) * gain`, row by row.

    `x[N, D]` and `gain[1, D]` lie in HBM; the result has the shape and dtype of x, the arithmetic is fp32.
    Rows go to partitions, 128 at a time; the last tile may have fewer.
    """
    N, D = x.shape
    assert gain.shape == (1, D), f"gain has shape {gain.shape}, but x needs (1, {D})"
    rows = nl.tile_size.pmax
    result = nl.ndarray((N, D), dtype=x.dtype, buffer=nl.shared_hbm)

    gain_tile = nl.ndarray((rows, D), dtype=gain.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=gain_tile, src=gain.ap(pattern=[[0, rows], [1, D]]))
    epsilon_tile = nl.ndarray((rows, 1), dtype=nl.float32, buffer=nl.sbuf)
    nisa.memset(dst=epsilon_tile, value=epsilon)

    for n in range(0, N, rows):
        p = min(rows, N - n)
        tile = nl.ndarray((p, D), dtype=x.dtype, buffer=nl.sbuf)
        nisa.dma_copy(dst=tile, src=x[n : n + p, :])

        # One pass squares and sums; the squares themselves are not needed afterwards.
        squares = nl.ndarray((p, D), dtype=nl.float32, buffer=nl.sbuf)
        total = nl.ndarray((p, 1), dtype=nl.float32, buffer=nl.sbuf)
        nisa.activation_reduce(dst=squares, op=nl.square, data=tile, reduce_op=nl.add, reduce_res=total)

        scale = nl.ndarray((p, 1), dtype=nl.float32, buffer=nl.sbuf)
        nisa.activation(dst=scale, op=nl.rsqrt, data=total, scale=1.0 / D, bias=epsilon_tile[0:p, :])

        normal = nl.ndarray((p, D), dtype=x.dtype, buffer=nl.sbuf)
        nisa.scalar_tensor_tensor(
            dst=normal, data=tile, op0=nl.multiply, operand0=scale, op1=nl.multiply, operand1=gain_tile[0:p, :]
        )
        nisa.dma_copy(dst=result[n : n + p, :], src=normal)
    return result
