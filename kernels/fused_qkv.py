"""Normalisation, QKV projection, bias, per-head norm, RoPE and KV-cache write in one pass over the weights.

Results lie as `flash_attention` takes them: q and k with the head dimension on the partitions (`[heads, d, tokens]`), v with
the tokens there (`[kv_heads, tokens, d]`). Nothing is transposed after the projection.

    x [512 tokens, hidden] --norm (ScalarE, VectorE)--> rows --TensorE transpose--> xT [128 of hidden, 512 tokens] x 32
    q, k:  bank[128 = heads x d, tokens] = sum over hidden of  w[128, 128].T @ xT[128, tokens]     weights stationary
    v:     bank[128 tokens, columns]     = sum over hidden of xT[128, 128].T @ w[128, columns]     tokens stationary

    TensorE  32 multiplies a bank (6.9 us for 512 tokens) + 1 for RoPE + 1 for the per-head norm
    ScalarE  bias and rounding; 1 / sqrt of the head's mean square
    VectorE  head norm, rotation: 3 to 5 passes over a [128, 512] tile
    DMA      weights in chunks of 512 columns, read once for every 512 tokens

Why so. With d on the partitions the bias is a column (free in the copy out of PSUM), and what crosses partitions is a
multiply by a constant matrix: ones in blocks of d for the mean square of a head, a signed permutation for the rotated
pair of RoPE (so both conventions cost the same). Each is one multiply beside the 32 of the projection.

Bound: for many tokens the tensor engine; up to about a hundred tokens the DMA engines, which bring the weights once. The
values go first: their weights move instead of being stationary, which is the slower way for few tokens, and heads of q
that come last leave little to do after the last load.
"""

import nki
import nki.isa as nisa
import nki.language as nl

from .fused_qkv_heads import Finish, Layout
from .projection import (
    BANK,
    ROWS,
    Block,
    Norm,
    accumulate,
    chunk_columns,
    load_columns,
    turned_vector,
)
from .tiles import broadcast_rows, load_aside, shard, spans

PREPARED_EARLY = 6


@nki.jit
def fused_qkv(
    x,
    w_qkv,
    gain=None,
    offset=None,
    bias=None,
    cos=None,
    sin=None,
    q_gain=None,
    k_gain=None,
    k_cache=None,
    v_cache=None,
    heads=1,
    kv_heads=1,
    norm="rms",
    interleaved=False,
    position=0,
    epsilon=1e-6,
):
    """Project tokens to queries, keys and values.

    Args:
        x: `[tokens, hidden]`.
        w_qkv: `[hidden, (heads + 2 * kv_heads) * d]`: columns of all queries, then keys, then values; d is
            at most 256; heads of 32 and 64 share tiles, those of more than 128 take two.
        gain: `[1, hidden]` of the norm, or None.
        offset: `[1, hidden]` of a layer norm, or None.
        bias: `[1, columns of w_qkv]`, or None.
        cos: `[tokens, d / 2]` of RoPE, or None for no rotation.
        sin: as cos.
        q_gain: `[1, d]`: queries are normalised over d (rms) with this gain; None leaves them.
        k_gain: the same for keys.
        k_cache: `[kv_heads, d, length]`, written in place from `position` on.
        v_cache: `[kv_heads, length, d]`, likewise.
        heads: heads of queries.
        kv_heads: heads of keys and values.
        norm: "rms", "layer" or None, over hidden.
        interleaved: RoPE turns pairs (2 i, 2 i + 1); else (i, i + d / 2).
        position: first token's place in the caches: a number, or an int32 `[1, 1]` tensor that is read at run time.
        epsilon: of all norms.

    Returns:
        `q[heads, d, tokens]`, and `k[kv_heads, d, tokens]`, `v[kv_heads, tokens, d]` or the caches; all in x's dtype. The
        projection is rounded to that dtype before the per-head norm and RoPE, as a framework would.

    On a logical core of two each core takes a part of the tokens.
    """
    tokens, hidden = x.shape
    d = w_qkv.shape[1] // (heads + 2 * kv_heads)
    check(x, w_qkv, d, heads, kv_heads, bias, cos, sin, k_cache, v_cache, position)
    cached = k_cache is not None
    q = nl.ndarray((heads, d, tokens), dtype=x.dtype, buffer=nl.shared_hbm)
    k = k_cache if cached else nl.ndarray((kv_heads, d, tokens), dtype=x.dtype, buffer=nl.shared_hbm)
    v = v_cache if cached else nl.ndarray((kv_heads, tokens, d), dtype=x.dtype, buffer=nl.shared_hbm)
    at = place_of(position) if cached else 0
    bounds = shard(tokens, ROWS)
    rules = Norm(norm, hidden, gain, offset, epsilon, min(ROWS, max(bounds[1] - bounds[0], 1)))
    layout = Layout(d, interleaved)
    finish = Finish(x, layout, cos, sin, epsilon)
    query = Part(q, 0, 0, heads, layout, bias, q_gain)
    key = Part(k, at, heads * d, kv_heads, layout, bias, k_gain)
    value = Part(v, at, (heads + kv_heads) * d, kv_heads, layout, bias, None)
    blocks = [Block(x, start, size, rules) for start, size in spans(bounds, BANK)]
    for block, following in zip(blocks, [*blocks[1:], None]):
        block.prepare()
        project_values(block, w_qkv, value)
        finish.load(block.start, block.size)
        project_heads(block, w_qkv, key, finish, None)
        project_heads(block, w_qkv, query, finish, following)
        finish.drain()
    return q, k, v


def check(x, w_qkv, d, heads, kv_heads, bias, cos, sin, k_cache, v_cache, position):
    """Raise AssertionError for operands that do not fit each other."""
    tokens, hidden = x.shape
    assert w_qkv.shape == (hidden, (heads + 2 * kv_heads) * d), (
        f"w_qkv has shape {w_qkv.shape}: {hidden} rows, and columns a multiple of {heads} + 2 * {kv_heads} heads"
    )
    assert 1 <= d <= 2 * ROWS, f"head dimension {d}: at most {2 * ROWS}"
    assert bias is None or tuple(bias.shape) == (1, w_qkv.shape[1]), (
        f"bias has shape {tuple(bias.shape)}, needs (1, {w_qkv.shape[1]})"
    )
    assert (cos is None) == (sin is None), "cos and sin are given together"
    assert cos is None or (d % 2 == 0 and tuple(cos.shape) == tuple(sin.shape) == (tokens, d // 2)), (
        f"cos has shape {cos.shape}, sin {sin.shape}; both need ({tokens}, {d // 2})"
    )
    assert (k_cache is None) == (v_cache is None), "k_cache and v_cache are given together"
    if k_cache is not None:
        length = k_cache.shape[2]
        assert tuple(k_cache.shape) == (kv_heads, d, length), f"k_cache has shape {k_cache.shape}"
        assert tuple(v_cache.shape) == (kv_heads, length, d), f"v_cache has shape {v_cache.shape}"
        known = isinstance(position, int)
        assert not known or position + tokens <= length, (
            f"{tokens} tokens from {position} on do not fit {length} places"
        )


def place_of(position):
    """A position known now as it is, one known at run time as a tile `[1, 1]`."""
    if isinstance(position, int):
        return position
    tile = nl.ndarray((1, 1), dtype=nl.int32, buffer=nl.sbuf)
    load_aside(tile, position)
    return tile


class Part:
    """Queries, keys or values: their columns of the weight, their result and its first place, and what is added."""

    def __init__(self, result, at, column, heads, layout, bias, gain):
        self.result, self.at, self.column, self.heads, self.layout = result, at, column, heads, layout
        self.bias, self.gains, self.columns = bias, None, {}
        if gain is not None:
            self.gains = [self.gain_column(gain, low, rows) for low, rows in layout.parts(layout.together)]

    def gain_column(self, gain, low, rows):
        """Rows [low, low + rows) of the gain of a unit's heads, on the partitions."""
        d = self.layout.d
        assert tuple(gain.shape) == (1, d), f"a head's gain has shape {tuple(gain.shape)}, needs (1, {d})"
        column = nl.ndarray((rows, 1), dtype=nl.float32, buffer=nl.sbuf)
        for first in range(0, rows, d):
            size = min(d, rows - first)
            # DMA puts one element on each partition, and casts.
            nisa.dma_copy(dst=column[first : first + size, :], src=gain.ap(pattern=[[1, size], [1, 1]], offset=low))
        return column

    def target(self, pattern, place, axis):
        """Where a tile goes: `place` counts from the first token of a new result, `axis` is that of the tokens."""
        if isinstance(self.at, int):
            return self.result.ap(pattern=pattern, offset=place + self.at * pattern_step(self.result, axis))
        return self.result.ap(pattern=pattern, offset=place, scalar_offset=self.at, indirect_dim=axis)

    def bias_columns(self, head, count):
        """Bias of the unit of `count` heads from `head` on, on the partitions, for each of its tiles."""
        together, d = self.layout.together, self.layout.d
        if not self.columns and self.bias is not None:
            whole, rest = divmod(self.heads, together)
            for some, units, first in ((together, whole, 0), (rest, 1, whole * together)):
                if some and units:
                    self.columns[some] = [
                        turned_vector(self.bias, self.column + first * d + low, units, rows, some * d)
                        for low, rows in self.layout.parts(some)
                    ]
        index = head // together if count == together else 0
        parts = self.layout.parts(count)
        return [tile[:, index : index + 1] for tile in self.columns[count]] if self.columns else [None] * len(parts)


def pattern_step(tensor, axis):
    """Elements from one place to the next along an axis of a tensor in HBM."""
    step = 1
    for size in tensor.shape[axis + 1 :]:
        step *= size
    return step


def project_values(block, weight, part):
    """Tokens on the partitions: the turned tokens are stationary, the weights move."""
    d = part.layout.d
    heads_per_chunk = max(chunk_columns(weight) // d, 1)
    length = part.result.shape[1]
    for head, count in spans((0, part.heads), heads_per_chunk):
        columns, column = count * d, part.column + head * d
        tiles = load_columns(weight, column, columns)
        bias = None if part.bias is None else broadcast_rows(part.bias, column, columns, min(ROWS, block.size))
        for token, p in spans((0, block.size), ROWS):
            bank = nl.ndarray((p, columns), dtype=nl.float32, buffer=nl.psum)
            accumulate(bank, [tile[:, token : token + p] for tile in block.turned], tiles)
            rounded = nl.ndarray((p, columns), dtype=part.result.dtype, buffer=nl.sbuf)
            if bias is None:
                nisa.tensor_copy(dst=rounded, src=bank)
            else:
                nisa.tensor_tensor(dst=rounded, data1=bank, data2=bias[0:p, :], op=nl.add)
            place = (head * length + block.start + token) * d
            target = part.target([[d, p], [length * d, count], [1, d]], place, 1)
            nisa.dma_copy(dst=target, src=rounded.reshape((p, count, d)))


def project_heads(block, weight, part, finish, following):
    """Heads on the partitions, a unit of `Layout` at a time; towards the end the next block is prepared."""
    layout, d = part.layout, part.layout.d
    units = layout.units(part.heads)
    for first, count in spans((0, len(units)), max(chunk_columns(weight) // (layout.together * d), 1)):
        chunk = units[first : first + count]
        start = chunk[0][0] * d
        stop = (chunk[-1][0] + chunk[-1][1]) * d
        tiles = load_columns(weight, part.column + start, stop - start)
        for index, (head, some) in enumerate(chunk):
            banks, targets = [], []
            for row, rows in layout.parts(some):
                low = head * d - start + row
                banks.append(nl.ndarray((rows, block.size), dtype=nl.float32, buffer=nl.psum))
                accumulate(banks[-1], [tile[:, low : low + rows] for tile in tiles], block.turned)
                length = part.result.shape[2]
                place = (head * d + row) * length + block.start
                targets.append(part.target([[length, rows], [1, block.size]], place, 2))
            finish.advance()
            if following is not None and first + index >= len(units) - PREPARED_EARLY:
                following.step()
            finish.begin(banks, part.bias_columns(head, some), part.gains, targets)
