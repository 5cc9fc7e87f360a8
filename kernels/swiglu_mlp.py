"""The gated MLP of a decoder block, with its norm, in one kernel: `(silu(n W_gate) * (n W_up)) W_down` for `n = norm(x)`.

The hidden activations never leave the chip and are never transposed: the first two products put their features on the
partitions, which is what the third contracts over.

    x [tokens, hidden] --norm--> rows --TensorE transpose--> xT [128 of hidden, tokens]
    gate, up: bank[128 features, tokens]     weights stationary, xT moves       ScalarE: silu(gate)
    h       = silu(gate) * up                [128 features, tokens] in SBUF     VectorE, rounded once
    down:     bank[128 tokens, 512 columns]  h stationary, weights move, streamed past four banks of tokens

Bound: the tensor engine from about two hundred tokens on; below, the DMA engines, which read the weights once for every block of
tokens. A block has 512 tokens, or 256 where the features of 512 would fill SBUF.
"""

import nki
import nki.isa as nisa
import nki.language as nl

from .projection import BANK, ROWS, Block, Norm, accumulate, chunk_columns, load_columns, stream_rows
from .tiles import itemsize, shard, spans

FEATURE_BYTES = 65536


@nki.jit
def swiglu_mlp(x, w_gate, w_up, w_down, gain=None, norm=None, epsilon=1e-6):
    """Return the MLP of `x[tokens, hidden]`, `[tokens, hidden_out]` in x's dtype.

    Args:
        x: `[tokens, hidden]`.
        w_gate: `[hidden, features]`.
        w_up: `[hidden, features]`.
        w_down: `[features, hidden_out]`.
        gain: `[1, hidden]` of the norm, or None.
        norm: "rms", "layer" or None, over hidden.
        epsilon: of the norm.

    The norm and the gated features are rounded to x's dtype; sums are fp32. On a logical core of two each core takes a
    part of the tokens.
    """
    tokens, hidden = x.shape
    features, width = w_down.shape
    assert tuple(w_gate.shape) == tuple(w_up.shape) == (hidden, features), (
        f"w_gate has shape {w_gate.shape}, w_up {w_up.shape}; both need ({hidden}, {features})"
    )
    result = nl.ndarray((tokens, width), dtype=x.dtype, buffer=nl.shared_hbm)
    bounds = shard(tokens, ROWS)
    rules = Norm(norm, hidden, gain, None, epsilon, min(ROWS, max(bounds[1] - bounds[0], 1)))
    wide = -(-features // ROWS) * BANK * itemsize(x.dtype)
    blocks = [
        Block(x, start, size, rules) for start, size in spans(bounds, BANK if wide <= FEATURE_BYTES else BANK // 2)
    ]
    for block, following in zip(blocks, [*blocks[1:], None]):
        block.prepare()
        gated = gated_features(block, w_gate, w_up)
        project_down(block, gated, w_down, result, following)
    return result


def gated_features(block, w_gate, w_up):
    """Tiles `[<= 128 features, tokens]` of silu(gate) * up."""
    features, gated = w_gate.shape[1], []
    # In one tensor: small tiles that live long would cut up the space between the large ones that come and go.
    store = nl.ndarray((ROWS, -(-features // ROWS), block.size), dtype=block.x.dtype, buffer=nl.sbuf)
    for column, columns in spans((0, features), chunk_columns(w_gate)):
        gate_tiles, up_tiles = load_columns(w_gate, column, columns), load_columns(w_up, column, columns)
        for low, rows in spans((0, columns), ROWS):
            gate = nl.ndarray((rows, block.size), dtype=nl.float32, buffer=nl.psum)
            accumulate(gate, [tile[:, low : low + rows] for tile in gate_tiles], block.turned)
            active = nl.ndarray((rows, block.size), dtype=nl.float32, buffer=nl.sbuf)
            nisa.activation(dst=active, op=nl.silu, data=gate)
            up = nl.ndarray((rows, block.size), dtype=nl.float32, buffer=nl.psum)
            accumulate(up, [tile[:, low : low + rows] for tile in up_tiles], block.turned)
            gated.append(store[0:rows, len(gated), :])
            nisa.tensor_tensor(dst=gated[-1], data1=up, data2=active, op=nl.multiply)
    return gated


def project_down(block, gated, w_down, result, following):
    """Contract over the features; each weight tile is used for all tokens of the block and let go."""
    width = w_down.shape[1]
    chunks = spans((0, width), BANK)
    for index, (column, columns) in enumerate(chunks):
        parts = spans((0, block.size), ROWS)
        banks = [nl.ndarray((p, columns), dtype=nl.float32, buffer=nl.psum) for _, p in parts]
        for features, weights in zip(gated, stream_rows(w_down, column, columns)):
            for bank, (token, p) in zip(banks, parts):
                nisa.nc_matmul(dst=bank, stationary=features[:, token : token + p], moving=weights)
        if following is not None and index >= len(chunks) - len(parts) - 1:
            following.step()
        for bank, (token, p) in zip(banks, parts):
            rounded = nl.ndarray((p, columns), dtype=result.dtype, buffer=nl.sbuf)
            nisa.tensor_copy(dst=rounded, src=bank)
            row = block.start + token
            nisa.dma_copy(dst=result[row : row + p, column : column + columns], src=rounded)
