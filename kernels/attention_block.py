"""The attention half of a decoder block in one kernel: norm, QKV projection, RoPE, attention, output projection.

    x --fused_qkv--> q [heads, d, tokens], k, v --flash_attention--> a [heads, tokens, d] --output projection--> [tokens, hidden]

q, k, v and a pass through HBM in the layouts that the next step reads without a transpose, except a: the output projection
contracts over (head, d), so the tensor engine turns tiles `[128 tokens, 128 of (head, d)]`, once for each, beside
`hidden / 512` multiplies. Its blocks are those of `matmul_fast`: eight PSUM banks, weights streamed past them.

On a logical core of two the projections share out the tokens and attention the heads, with a barrier where the other core's
part is read.

Bound: the tensor engine in both projections; in attention see `flash_attention`.
"""

import nki
import nki.isa as nisa
import nki.language as nl

from .flash_attention import flash_attention
from .fused_qkv import fused_qkv
from .fused_qkv_heads import Layout
from .matmul_fast import BANKS_M, BANKS_N, multiply_block
from .projection import BANK, ROWS
from .tiles import load_aside, shard, spans


@nki.jit
def attention_block(
    x,
    w_qkv,
    w_out,
    gain=None,
    bias=None,
    cos=None,
    sin=None,
    q_gain=None,
    k_gain=None,
    heads=1,
    kv_heads=1,
    norm="rms",
    interleaved=False,
    causal=True,
    window=None,
    epsilon=1e-6,
):
    """Return `attention(fused_qkv(x)) @ w_out`, `[tokens, hidden_out]` in x's dtype.

    Args:
        x: `[tokens, hidden]`.
        w_qkv: as in `fused_qkv`, like all arguments not named here.
        w_out: `[heads * d, hidden_out]`.
        gain: `[1, hidden]` of the norm.
        bias: of the QKV projection.
        cos: `[tokens, d / 2]`.
        sin: as cos.
        q_gain: of the queries' per-head norm.
        k_gain: of the keys'.
        heads: heads of queries.
        kv_heads: heads of keys and values.
        norm: "rms", "layer" or None.
        interleaved: the convention of RoPE.
        causal: no token sees a later one.
        window: a token sees those less than this many places away.
        epsilon: of all norms.
    """
    tokens, width = x.shape[0], w_out.shape[1]
    options = {"heads": heads, "kv_heads": kv_heads, "norm": norm, "interleaved": interleaved, "epsilon": epsilon}
    q, k, v = fused_qkv(x, w_qkv, gain, None, bias, cos, sin, q_gain, k_gain, **options)
    assert w_out.shape[0] == heads * q.shape[1], f"w_out has {w_out.shape[0]} rows, needs {heads * q.shape[1]}"
    for part in (q, k, v):
        meet(part)
    attended = flash_attention(q, k, v, causal=causal, window=window)
    meet(attended)
    result = nl.ndarray((tokens, width), dtype=x.dtype, buffer=nl.shared_hbm)
    for m, block_m in spans(shard(tokens, ROWS), BANKS_M * ROWS):
        turned = turned_heads(attended, m, block_m)
        for n, block_n in spans((0, width), BANKS_N * BANK):
            steps = [(tile, load(w_out, row, tile.shape[0], n, block_n), False) for row, tile in turned]
            tiles = [(i, j) for i in spans((0, block_m), ROWS) for j in spans((0, block_n), BANK)]
            multiply_block(result, (m, n, block_n), steps, tiles, None, None)
    return result


def meet(tensor):
    """Wait until both cores have written their parts of a tensor."""
    if nl.num_programs() > 1:
        nisa.core_barrier(tensor, (0, 1))


def load(weight, row, rows, column, columns):
    """One tile of the weight."""
    tile = nl.ndarray((rows, columns), dtype=weight.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=weight[row : row + rows, column : column + columns])
    return tile


def turned_heads(attended, token, tokens):
    """Pairs (row of the weight, tile `[<= 128 of heads * d, tokens]`): several heads to a tile, or a head on two."""
    heads, length, d = attended.shape
    pairs = []
    for head, count in Layout(d, False).units(heads):
        for low, size in spans((0, count * d), ROWS):
            bank = nl.ndarray((size, tokens), dtype=attended.dtype, buffer=nl.psum)
            for at, p in spans((0, tokens), ROWS):
                rows = nl.ndarray((p, count, size // count), dtype=attended.dtype, buffer=nl.sbuf)
                place = (head * length + token + at) * d + low
                pattern = [[d, p], [length * d, count], [1, size // count]]
                load_aside(rows, attended.ap(pattern=pattern, offset=place))
                turned = bank[:, at : at + p]
                nisa.nc_transpose(dst=turned, data=rows.reshape((p, size)), engine=nisa.engine.tensor)
            tile = nl.ndarray((size, tokens), dtype=attended.dtype, buffer=nl.sbuf)
            nisa.tensor_copy(dst=tile, src=bank)
            pairs.append((head * d + low, tile))
    return pairs
