"""The decoder block of `plain.py` out of nkilab's kernels: attention without scores in HBM, no transposed copies, gated MLP on chip."""

# ruff: noqa: ANN001, ANN201, B905  (kernels are plain NKI source)

import nki
import nki.isa as nisa
import nki.language as nl

from nkilab.kernels.attention_block import attention_block
from nkilab.kernels.swiglu_mlp import swiglu_mlp

ROWS = nl.tile_size.pmax


@nki.jit
def decoder_block(x, w_qkv, w_out, w_gate, w_up, w_down, gain_attention, gain_mlp, heads=1):
    """Return `h + mlp(rmsnorm(h))` for `h = x + attention(rmsnorm(x))`, `[tokens, hidden]` in x's dtype.

    Args:
        x: `[tokens, hidden]`.
        w_qkv: `[hidden, 3 * heads * d]`: columns of all queries, then keys, then values.
        w_out: `[heads * d, hidden]`.
        w_gate: `[hidden, features]`.
        w_up: as w_gate.
        w_down: `[features, hidden]`.
        gain_attention: `[1, hidden]` of the norm before attention.
        gain_mlp: `[1, hidden]` of the norm before the MLP.
        heads: heads of queries, keys and values.
    """
    h = add(x, attention_part(x, w_qkv, w_out, gain_attention, heads))
    return add(h, swiglu_mlp(h, w_gate, w_up, w_down, gain_mlp, norm="rms"))


def attention_part(x, w_qkv, w_out, gain, heads):
    """Norm, projection, causal attention, output projection: `[tokens, hidden]`."""
    return attention_block(x, w_qkv, w_out, gain, heads=heads, kv_heads=heads)


def add(left, right):
    """`left + right`, 128 rows at a time."""
    result = nl.ndarray(left.shape, dtype=left.dtype, buffer=nl.shared_hbm)
    for row in range(0, left.shape[0], ROWS):
        tiles = [nl.ndarray((ROWS, left.shape[1]), dtype=left.dtype, buffer=nl.sbuf) for _ in range(2)]
        for tile, matrix in zip(tiles, (left, right)):
            nisa.dma_copy(dst=tile, src=matrix[row : row + ROWS, :])
        nisa.tensor_tensor(dst=tiles[0], data1=tiles[0], data2=tiles[1], op=nl.add)
        nisa.dma_copy(dst=result[row : row + ROWS, :], src=tiles[0])
    return result
