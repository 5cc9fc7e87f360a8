"""Rotary position embedding of tokens that lie in rows.

Tokens go to partitions, 128 at a time, with all their heads in the free dimension: the two of a pair are then in one
partition, half a head or one element apart, and an access pattern with stride 0 gives every head the same angles. (With the
head dimension on the partitions, as in `fused_qkv`, the pair has to cross partitions instead.)

    VectorE   x * cos  (both halves)         sums, rounded once
    GpSimdE   other * sin  (both halves)

Bound: the vector engine: two products and two sums of half a row each, in fp32; GpSimdE makes the other two products
beside it, and Sync's queue brings the tiles, because GpSimdE, which issues the others, is busy.
"""

import nki
import nki.isa as nisa
import nki.language as nl

from .tiles import load_aside, shard, spans

ROWS = nl.tile_size.pmax


@nki.jit
def rope(x, cos, sin, interleaved=False):
    """Rotate every head of `x[tokens, heads, d]` by the angles of its token; fp32 arithmetic, result in x's dtype.

    `cos[tokens, d / 2]` and `sin[tokens, d / 2]`; pairs are (2 i, 2 i + 1) if interleaved, else (i, i + d / 2). On a logical
    core of two each core takes a part of the tokens.
    """
    tokens, heads, d = x.shape
    half = d // 2
    assert d % 2 == 0, f"head dimension {d} must be even"
    assert tuple(cos.shape) == tuple(sin.shape) == (tokens, half), (
        f"cos has shape {cos.shape}, sin {sin.shape}; both need ({tokens}, {half})"
    )
    result = nl.ndarray((tokens, heads, d), dtype=x.dtype, buffer=nl.shared_hbm)
    first = slice(0, d - 1, 2) if interleaved else slice(0, half)
    second = slice(1, d, 2) if interleaved else slice(half, d)
    for n, p in spans(shard(tokens, ROWS), ROWS):
        tile = nl.ndarray((p, heads, d), dtype=x.dtype, buffer=nl.sbuf)
        load_aside(tile, x[n : n + p, :, :])
        angles = [angles_of_heads(table, n, p, heads, half) for table in (cos, sin)]
        rotated = nl.ndarray((p, heads, d), dtype=x.dtype, buffer=nl.sbuf)
        a, b = tile[:, :, first], tile[:, :, second]
        for place, own, other, join in ((first, a, b, nl.subtract), (second, b, a, nl.add)):
            kept = multiplied(own, angles[0], nisa.engine.vector)
            turned = multiplied(other, angles[1], nisa.engine.gpsimd)
            part = rotated[:, :, place]
            nisa.tensor_tensor(dst=part, data1=kept, data2=turned, op=join, engine=nisa.engine.vector)
        nisa.dma_copy(dst=result[n : n + p, :, :], src=rotated)
    return result


def angles_of_heads(table, token, p, heads, half):
    """A table's rows of `p` tokens, the same for every head: `[p, heads, half]` without a copy."""
    tile = nl.ndarray((p, half), dtype=table.dtype, buffer=nl.sbuf)
    load_aside(tile, table[token : token + p, :])
    return tile.ap(pattern=[[half, p], [0, heads], [1, half]])


def multiplied(tile, angles, engine):
    """Their product in fp32."""
    result = nl.ndarray(tile.shape, dtype=nl.float32, buffer=nl.sbuf)
    nisa.tensor_tensor(dst=result, data1=tile, data2=angles, op=nl.multiply, engine=engine)
    return result
