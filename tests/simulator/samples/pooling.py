"""Two-dimensional pooling: windows as access patterns, reduced in one instruction."""

from __future__ import annotations

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np

TARGETS = ("trn1", "trn2", "trn3")


@nki.jit
def max_pool(x, window, stride):
    """Maximum over windows of (channels, height, width), a window x window patch every `stride` elements."""
    channels, height, width = x.shape
    rows, columns = (height - window) // stride + 1, (width - window) // stride + 1
    tile = nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile, x)
    pooled = nl.ndarray((channels, rows, columns), x.dtype)
    for row in range(rows):
        patches = tile.ap(
            [[height * width, channels], [stride, columns], [width, window], [1, window]],
            offset=row * stride * width,
        )
        nisa.tensor_reduce(pooled[:, row], nl.maximum, patches, axis=(2, 3))
    out = nl.ndarray(pooled.shape, x.dtype, nl.shared_hbm)
    nisa.dma_copy(out, pooled)
    return out


def inputs(rng):
    return rng.standard_normal((96, 17, 21), dtype=np.float32), 3, 2


def reference(x, window, stride):
    view = np.lib.stride_tricks.sliding_window_view(x, (window, window), axis=(1, 2))
    return view[:, ::stride, ::stride].max((3, 4))


SAMPLE = (max_pool, inputs, reference)
