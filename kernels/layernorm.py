"""Layer normalisation: statistics by VectorE's bn_stats, the rest shared out over three engines.

Rows go to partitions, 128 at a time, and are read once. VectorE makes mean and variance in one pass (`bn_stats`, 512
elements at most, `bn_aggr` joins the pieces exactly), so nothing is squared or summed twice. Then ScalarE takes
`row * scale + bias` by columns, VectorE multiplies by the gain and GpSimd adds the offset. Engines are in order, so tiles are
interleaved: a tile is centred (ScalarE), then the next one's statistics are made (VectorE), then the first gets its gain.
Loads go through Sync's queue, because GpSimd, which issues the others, is busy with offsets.

Bound: the vector engine, one pass for the statistics and one for the gain, in fp32.
"""

import nki
import nki.isa as nisa
import nki.language as nl

from .projection import ROWS, Norm
from .tiles import load_aside, shard, spans


@nki.jit
def layernorm(x, gain=None, offset=None, epsilon=1e-6):
    """Return `(x - mean) / sqrt(variance + epsilon) * gain + offset`, row by row.

    `x[N, D]`, `gain[1, D]` and `offset[1, D]` (both optional) lie in HBM; the result has the shape and dtype of x, the
    arithmetic is fp32. On a logical core of two each core takes a part of the rows.
    """
    N, D = x.shape
    result = nl.ndarray((N, D), dtype=x.dtype, buffer=nl.shared_hbm)
    norm = Norm("layer", D, gain, offset, epsilon, min(ROWS, N))
    before = None
    for n, p in spans(shard(N, ROWS), ROWS):
        tile = nl.ndarray((p, D), dtype=x.dtype, buffer=nl.sbuf)
        load_aside(tile, x[n : n + p, :])
        centred = None if before is None else norm.centred(*before[1:])
        statistics = norm.begin(tile)
        store(norm, result, before, centred)
        before = n, tile, statistics
    store(norm, result, before, norm.centred(*before[1:]) if before is not None else None)
    return result


def store(norm, result, rows, centred):
    """Complete and store the rows of one tile."""
    if rows is not None:
        n, tile, _ = rows
        nisa.dma_copy(dst=result[n : n + tile.shape[0], :], src=norm.completed(tile, centred))
