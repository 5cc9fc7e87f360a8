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
            at most 128; heads of 32 and 64 share tiles.
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
    check(x, w_qkv, d, heads, kv_heads, cos, sin, k_cache, v_cache, position)
    cached = k_cache is not None
    q = nl.ndarray((heads, d, tokens), dtype=x.dtype, buffer=nl.shared_hbm)
    k = k_cache if cached else nl.ndarray((kv_heads, d, tokens), dtype=x.dtype, buffer=nl.shared_hbm)
    v = v_cache if cached else nl.ndarray((kv_heads, tokens, d), dtype=x.dtype, buffer=nl.shared_hbm)
    at = place_of(position) if cached else 0
    bounds = shard(tokens, ROWS)
    rules = Norm(norm, hidden, gain, offset, epsilon, min(ROWS, max(bounds[1] - bounds[0], 1)))
    finish = Finish(x, d, cos, sin, interleaved, epsilon)
    query = Part(q, 0, 0, heads, d, bias, q_gain)
    key = Part(k, at, heads * d, kv_heads, d, bias, k_gain)
    value = Part(v, at, (heads + kv_heads) * d, kv_heads, d, bias, None)
    blocks = [Block(x, start, size, rules) for start, size in spans(bounds, BANK)]
    for block, following in zip(blocks, [*blocks[1:], None]):
        block.prepare()
        project_values(block, w_qkv, value)
        finish.load(block.start, block.size)
        project_heads(block, w_qkv, key, finish, None)
        project_heads(block, w_qkv, query, finish, following)
        finish.drain()
    return q, k, v


def check(x, w_qkv, d, heads, kv_heads, cos, sin, k_cache, v_cache, position):
    """Raise AssertionError for operands that do not fit each other."""
    tokens, hidden = x.shape
    assert w_qkv.shape == (hidden, (heads + 2 * kv_heads) * d), (
        f"w_qkv has shape {w_qkv.shape}: {hidden} rows, and columns a multiple of {heads} + 2 * {kv_heads} heads"
    )
    assert 1 <= d <= ROWS, f"head dimension {d}: at most {ROWS}"
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

    def __init__(self, result, at, column, heads, d, bias, gain):
        self.result, self.at, self.column, self.heads, self.d = result, at, column, heads, d
        self.bias = bias
        self.per_tile = heads_per_tile(d)
        self.columns = None
        self.gain = None
        if gain is not None:
            assert gain.shape == (1, d), f"a head's gain has shape {gain.shape}, needs (1, {d})"
            self.gain = nl.ndarray((self.per_tile * d, 1), dtype=nl.float32, buffer=nl.sbuf)
            for head in range(self.per_tile):
                copy_column(self.gain[head * d : head * d + d, :], gain, 0, d)

    def target(self, pattern, place, axis):
        """Where a tile goes: `place` counts from the first token of a new result, `axis` is that of the tokens."""
        if isinstance(self.at, int):
            return self.result.ap(pattern=pattern, offset=place + self.at * pattern_step(self.result, axis))
        return self.result.ap(pattern=pattern, offset=place, scalar_offset=self.at, indirect_dim=axis)

    def bias_column(self, head, count):
        """Bias of the tile of `count` heads from `head` on, on the partitions; None where there is none."""
        if self.bias is None:
            return None
        if self.columns is None:
            whole, rest = divmod(self.heads, self.per_tile)
            size = self.per_tile * self.d
            self.columns = [turned_vector(self.bias, self.column, whole, size)] if whole else []
            self.columns += [turned_vector(self.bias, self.column + whole * size, 1, rest * self.d)] if rest else []
        tile = head // self.per_tile
        return self.columns[0][:, tile : tile + 1] if count == self.per_tile else self.columns[-1]


def pattern_step(tensor, axis):
    """Elements from one place to the next along an axis of a tensor in HBM."""
    step = 1
    for size in tensor.shape[axis + 1 :]:
        step *= size
    return step


def heads_per_tile(d):
    """Heads that share a tile of 128 partitions: several where each starts at a partition that engines can address."""
    return ROWS // d if d in (32, 64) else 1


def copy_column(dst, vector, column, size):
    """Elements of a `[1, N]` tensor, one to a partition, as fp32; DMA casts."""
    nisa.dma_copy(dst=dst, src=vector.ap(pattern=[[1, size], [1, 1]], offset=column))


def project_values(block, weight, part):
    """Tokens on the partitions: the turned tokens are stationary, the weights move."""
    d = part.d
    width = chunk_columns(weight)
    heads_per_chunk = max(width // d, 1)
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
    """Heads on the partitions, as many whole heads to a tile as fit; towards the end the next block is prepared."""
    d = part.d
    tiles_per_chunk = max(chunk_columns(weight) // (part.per_tile * d), 1)
    units = spans((0, part.heads), part.per_tile)
    for first, count in spans((0, len(units)), tiles_per_chunk):
        chunk = units[first : first + count]
        start = chunk[0][0] * d
        stop = (chunk[-1][0] + chunk[-1][1]) * d
        tiles = load_columns(weight, part.column + start, stop - start)
        for index, (head, some) in enumerate(chunk):
            rows, low = some * d, head * d - start
            bank = nl.ndarray((rows, block.size), dtype=nl.float32, buffer=nl.psum)
            accumulate(bank, [tile[:, low : low + rows] for tile in tiles], block.turned)
            finish.advance()
            if following is not None and first + index >= len(units) - PREPARED_EARLY:
                following.step()
            length = part.result.shape[2]
            place = head * d * length + block.start
            target = part.target([[length, rows], [1, block.size]], place, 2)
            finish.begin(bank, part.bias_column(head, some), part.gain, target)


class Finish:
    """Per-head norm and RoPE of tiles `[heads * d, tokens]`: constants once, tables once for a block of tokens."""

    def __init__(self, x, d, cos, sin, interleaved, epsilon):
        self.x, self.d, self.cos, self.sin, self.interleaved = x, d, cos, sin, interleaved
        self.heads = heads_per_tile(d)
        self.rows = self.heads * d
        self.ones = None
        self.tables = []
        self.open = []
        self.turn = None if cos is None else self.rotation()
        self.epsilon = nl.ndarray((self.rows, 1), dtype=nl.float32, buffer=nl.sbuf)
        nisa.memset(dst=self.epsilon, value=epsilon)

    def rotation(self):
        """The matrix R with `(R.T @ x)` = the other of each pair, negated in the first: columns of an identity, moved."""
        identity = nl.shared_identity_matrix(self.rows, dtype=self.x.dtype)
        matrix = nl.ndarray((self.rows, self.rows), dtype=self.x.dtype, buffer=nl.sbuf)
        for head in range(self.heads):
            low, half = head * self.d, self.d // 2
            first, second = (low, low + half) if not self.interleaved else (low, low + 1)
            step = 2 if self.interleaved else 1
            a = slice(first, first + step * half - step + 1, step)
            b = slice(second, second + step * half - step + 1, step)
            nisa.tensor_scalar(dst=matrix[:, a], data=identity[:, b], op0=nl.multiply, operand0=-1.0)
            nisa.tensor_copy(dst=matrix[:, b], src=identity[:, a])
        return matrix

    def blocks_of_ones(self):
        """Ones where row and column belong to the same head."""
        if self.ones is None:
            self.ones = nl.ndarray((self.rows, self.rows), dtype=self.x.dtype, buffer=nl.sbuf)
            nisa.memset(dst=self.ones, value=0.0 if self.heads > 1 else 1.0)
            for low in range(0, self.rows if self.heads > 1 else 0, self.d):
                nisa.memset(dst=self.ones[low : low + self.d, low : low + self.d], value=1.0)
        return self.ones

    def load(self, start, size):
        """Tables of a block's tokens, d on the partitions and repeated for each head of a tile, in fp32."""
        if self.cos is None:
            return
        self.tables = []
        for table in (self.cos, self.sin):
            turned = nl.ndarray((self.rows, size), dtype=nl.float32, buffer=nl.sbuf)
            for at, p in spans((0, size), ROWS):
                self.spread(table, start + at, p, turned[:, at : at + p])
            self.tables.append(turned)

    def spread(self, table, token, p, dst):
        """Columns of `p` tokens: read [p, d / 2], repeat along the row as the pairs lie, transpose, copy out."""
        half = self.d // 2
        narrow = nl.ndarray((p, half), dtype=nl.float32, buffer=nl.sbuf)
        load_aside(narrow, table[token : token + p, :])
        wide = nl.ndarray((p, self.rows), dtype=nl.float32, buffer=nl.sbuf)
        for low in range(0, self.rows, self.d):
            for part in range(2):
                begin = low + part if self.interleaved else low + part * half
                step = 2 if self.interleaved else 1
                target = wide[:, begin : begin + step * half - step + 1 : step]
                nisa.tensor_copy(dst=target, src=narrow, engine=nisa.engine.vector)
        bank = nl.ndarray((self.rows, p), dtype=nl.float32, buffer=nl.psum)
        nisa.nc_transpose(dst=bank, data=wide, engine=nisa.engine.tensor)
        nisa.tensor_copy(dst=dst, src=bank)

    def begin(self, bank, bias, gain, target):
        """Start to finish a bank; what follows its first multiply waits until the next bank is under way."""
        steps = self.steps(bank, bias, gain, target)
        next(steps, None)
        self.open.append(steps)

    def advance(self):
        """Take every open tile one multiply further."""
        self.open = [steps for steps in self.open if next(steps, self) is not self]

    def drain(self):
        """Finish what is open."""
        while self.open:
            self.advance()

    def steps(self, bank, bias, gain, target):
        """Bias, rounding, per-head norm, RoPE and store of one bank; yields where the tensor engine would wait."""
        rows, size = bank.shape
        tile = nl.ndarray((rows, size), dtype=self.x.dtype, buffer=nl.sbuf)
        if bias is None:
            nisa.tensor_copy(dst=tile, src=bank)
        else:
            nisa.tensor_scalar(dst=tile, data=bank, op0=nl.add, operand0=bias)
        if gain is not None:
            squares = nl.ndarray((rows, size), dtype=tile.dtype, buffer=nl.sbuf)
            nisa.activation(dst=squares, op=nl.square, data=tile)
            yield
            tile = self.normalised(tile, squares, gain)
        if self.cos is not None:
            yield
            tile = self.rotated(tile)
        nisa.dma_copy(dst=target, src=tile)

    def normalised(self, tile, squares, gain):
        """`tile / sqrt(mean over d of its squares + epsilon) * gain`; a multiply by ones sums over the partitions."""
        rows, size = tile.shape
        total = nl.ndarray((rows, size), dtype=nl.float32, buffer=nl.psum)
        nisa.nc_matmul(dst=total, stationary=self.blocks_of_ones()[0:rows, 0:rows], moving=squares)
        scale = nl.ndarray((rows, size), dtype=nl.float32, buffer=nl.sbuf)
        nisa.activation(dst=scale, op=nl.rsqrt, data=total, scale=1.0 / self.d, bias=self.epsilon[0:rows, :])
        result = nl.ndarray((rows, size), dtype=tile.dtype, buffer=nl.sbuf)
        nisa.scalar_tensor_tensor(
            dst=result, data=tile, op0=nl.multiply, operand0=gain[0:rows, :], op1=nl.multiply, operand1=scale
        )
        return result

    def rotated(self, tile):
        """`tile * cos + (R.T @ tile) * sin`."""
        rows, size = tile.shape
        cos, sin = (table[0:rows, :] for table in self.tables)
        other = nl.ndarray((rows, size), dtype=nl.float32, buffer=nl.psum)
        nisa.nc_matmul(dst=other, stationary=self.turn[0:rows, 0:rows], moving=tile)
        kept = nl.ndarray((rows, size), dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_tensor(dst=kept, data1=tile, data2=cos, op=nl.multiply, engine=nisa.engine.vector)
        turned = nl.ndarray((rows, size), dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_tensor(dst=turned, data1=other, data2=sin, op=nl.multiply, engine=nisa.engine.vector)
        result = nl.ndarray((rows, size), dtype=tile.dtype, buffer=nl.sbuf)
        nisa.tensor_tensor(dst=result, data1=kept, data2=turned, op=nl.add, engine=nisa.engine.vector)
        return result
