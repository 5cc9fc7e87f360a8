"""Attention forward with online softmax, without ever holding a row of scores.

Layouts (HBM), what the tensor engine wants and what `fused_qkv` writes: the head dimension d of queries and keys lies on
the partitions, so that the scores need no transpose; keys lie on the partitions for values.

| tensor | shape |
|---|---|
| q | `[heads, d, queries]` |
| k | `[kv_heads, d, keys]` |
| v | `[kv_heads, keys, d]` |
| result | `[heads, queries, d]` |
| log-sum-exp | `[heads, queries]` fp32 |

128 queries meet a chunk of keys at a time:

    TensorE   scores[128, chunk] = q.T @ k, a bank at a time, masks added         PSUM, a ring of chunks
    VectorE   row maximum; the running minimum of -scale * maximum is the bias of exp
    ScalarE   weights = exp(scale * scores + bias)                                SBUF, 16 bit
    DMA       weights transposed, keys to the partitions (fp32: TensorE, copied by VectorE and ScalarE)
    TensorE   sums[128, d + 1] = weights.T.T @ [v, 1]                              PSUM, a ring of two
    VectorE   running sums = exp(change of bias) * running sums + sums

The column of ones beside v sums the very weights that multiply v, rounding included, so no engine adds up a row. The
loop is skewed: a chunk's weights meet the values seven chunks after their scores (three where TensorE transposes), so that
in-order engines never wait for the transposes.
"""

import nki
import nki.isa as nisa
import nki.language as nl

from .flash_attention_steps import column, steps
from .flash_attention_tiles import BANK, EMPTY, ROWS, Visibility, columns_of, differing, multiply
from .tiles import is_narrow, shard, spans

TINY = 1e-30
"""Added to a row's sum: only a row without visible keys is as small."""


@nki.jit
def flash_attention(
    q,
    k,
    v,
    q_segments=None,
    kv_segments=None,
    scale=None,
    causal=False,
    window=None,
    with_lse=False,
    transpose="dma",
    chunk=1024,
):
    """Return `softmax(scale * q.T @ k + mask) @ v`, and with `with_lse` also the log-sum-exp of each row.

    Shapes are those of the table above; heads are a multiple of kv_heads, d is 1 to 256, lengths are anything. A query
    at row i stands at position `i + keys - queries`. `scale` is `d ** -0.5` unless given, positive.

    Args:
        q_segments: int32 `[queries]`: a query sees the keys of its own segment only. kv_segments: int32 `[keys]`.
        causal: no query sees a key behind its position.
        window: a query sees keys less than this many positions away.
        with_lse: also return fp32 `[heads, queries]`; a row that sees no key gives zeros and less than `-1e28 * scale` here.
        transpose: "dma" or "tensor", who transposes 16-bit weights; fp32 ones go through the tensor engine.
        chunk: keys in a chunk, a multiple of 512.
    """
    check_operands(q, k, v, q_segments, kv_segments)
    assert window is None or window >= 1, f"window={window}: a query sees itself at least"
    assert scale is None or scale > 0, f"scale={scale}: a positive number"
    heads, d, queries = q.shape
    result = nl.ndarray((heads, queries, d), dtype=q.dtype, buffer=nl.shared_hbm)
    lse = nl.ndarray((heads, queries), dtype=nl.float32, buffer=nl.shared_hbm) if with_lse else None
    assert transpose in ("dma", "tensor"), f"transpose={transpose!r}: dma or tensor"
    visible = Visibility(queries, k.shape[2], causal, window)
    forward = Forward(q, k, v, result, visible, d**-0.5 if scale is None else scale)
    forward.segments = None if q_segments is None else (q_segments, kv_segments)
    forward.by_dma = transpose == "dma" and is_narrow(q.dtype)
    forward.allocate(chunk)
    first, last = shard(heads, 1)
    forward.statistics(first, last - first, with_lse)
    forward.run(steps(forward, (first, last)))
    if with_lse:
        store_lse(forward, lse, first)
    return (result, lse) if with_lse else result


def check_operands(q, k, v, q_segments=None, kv_segments=None):
    """Raise AssertionError where shapes do not fit each other."""
    ranks = [len(tensor.shape) for tensor in (q, k, v)]
    assert ranks == [3, 3, 3], (
        f"q, k and v have {ranks} dimensions; they are [heads, d, queries], [kv_heads, d, keys], [kv_heads, keys, d]"
    )
    assert q.dtype == k.dtype == v.dtype, f"q is {q.dtype}, k {k.dtype}, v {v.dtype}: they must be alike"
    heads, d, queries = q.shape
    kv_heads, d_k, keys = k.shape
    assert d == d_k and 1 <= d <= 256, f"head dimension: q has {d}, k has {d_k}; both must be equal and at most 256"
    assert tuple(v.shape) == (kv_heads, keys, d), f"v has shape {tuple(v.shape)}, k asks for {(kv_heads, keys, d)}"
    assert heads % kv_heads == 0, f"{heads} query heads are not a multiple of {kv_heads} key heads"
    assert (q_segments is None) == (kv_segments is None), "q_segments and kv_segments belong together"
    for name, labels, length in (("q_segments", q_segments, queries), ("kv_segments", kv_segments, keys)):
        assert labels is None or tuple(labels.shape) == (length,), (
            f"{name} has shape {tuple(labels.shape)}, needs ({length},)"
        )


class Forward:
    """Operands, options and buffers of one call."""

    def __init__(self, q, k, v, result, visible, scale):
        """Keep them."""
        self.q, self.k, self.v, self.result, self.visible, self.scale = q, k, v, result, visible, float(scale)
        self.width = q.shape[1] + 1
        self.itemsize = 2 if is_narrow(q.dtype) else 4
        self.segments, self.by_dma = None, False

    def allocate(self, chunk):
        """The eight PSUM banks: a ring of score chunks, two tiles of sums, and two for transposes where they need it.

        Two tiles of sums share a bank up to d = 255, two of 16-bit transposes always: then six banks are left for scores.
        """
        banks = 6 if self.by_dma or (self.itemsize == 2 and 2 * self.width <= BANK) else 4
        assert chunk % BANK == 0 and 0 < chunk <= banks * BANK, (
            f"chunk={chunk}: a multiple of {BANK}, {banks} times at most"
        )
        self.chunk = chunk
        count = max(banks // (chunk // BANK), 1)
        self.scores = [nl.ndarray((ROWS, chunk), dtype=nl.float32, buffer=nl.psum) for _ in range(count)]
        self.products = ring((ROWS, self.width), nl.float32, 4 * self.width)
        self.turn = {"scores": 0, "products": 0, "turned": 0, "copies": 0}
        self.lag = 7 if self.by_dma else 3
        values = {"floor": -EMPTY, "scale": self.scale, "tiny": TINY, "minus one": -1.0}
        self.constants = {name: column(ROWS) for name in values}
        for name, value in values.items():
            nisa.memset(dst=self.constants[name], value=value, engine=nisa.engine.gpsimd)
        if not self.by_dma:
            self.turned = ring((ROWS, 4, ROWS), self.q.dtype, 4 * ROWS * self.itemsize)

    def statistics(self, first_head, heads, with_lse):
        """Final bias and sum of every row: a column for each 128 queries of each head."""
        self.tiles = -(-self.q.shape[2] // ROWS)
        self.final, self.first_head = None, first_head
        if with_lse:
            self.final = [nl.ndarray((ROWS, heads * self.tiles), dtype=nl.float32, buffer=nl.sbuf) for _ in range(2)]
            for tile in self.final:
                nisa.memset(dst=tile, value=1.0)

    def next(self, ring):
        """The next buffer of a ring."""
        tiles = getattr(self, ring)
        self.turn[ring] = (self.turn[ring] + 1) % len(tiles)
        return tiles[self.turn[ring]]

    def run(self, sequence):
        """The skewed loop: the work on an earlier chunk stands where an engine would wait for the new one.

        The tensor engine transposes weights two chunks late: one chunk late, ScalarE would wait for what it copies. The
        rows of a single chunk are divided in `gather`, before the next exponential: that frees their PSUM.
        """
        behind = []
        for step in sequence:
            scores, largest = self.score(step)
            self.turn_over(behind[-2:-1])
            old = behind.pop(0) if len(behind) == self.lag else None
            self.gather(old)
            self.weigh(step, scores, largest)
            if old is not None and not old.first:
                self.finish(old)
            behind.append(step)
        self.turn_over(behind[-2:])
        for step in behind:
            self.gather(step)
            if not step.first:
                self.finish(step)

    def score(self, step):
        """Scores of a chunk, masks added, and minus the largest one of each row."""
        tile, rows = step.queries, step.queries.rows
        scores = self.next("scores")[0:rows, 0 : step.size]
        for at, size in spans((0, step.size), BANK):
            key = step.start + at - step.section.start
            multiply(scores[:, at : at + size], tile.operand, columns_of(step.section.keys, key, key + size))
            for block, columns in spans((at, at + size), ROWS):
                self.visible.add_to(scores[:, block : block + columns], tile.start, step.start + block)
            if tile.labels is not None:
                other = differing(tile.labels, step.section.labels[0:rows, key : key + size])
                self.visible.add_segments(scores[:, at : at + size], other)
        largest = column(rows)
        nisa.tensor_reduce(dst=largest, op=nl.maximum, data=scores, axis=1, negate=True)
        return scores, largest

    def weigh(self, step, scores, largest):
        """Weights exp(scale * score + bias), the bias such that the largest one so far is at most 1."""
        tile, rows = step.queries, step.queries.rows
        before, tile.bias, least = tile.bias, column(rows), column(rows)
        on_gpsimd(least, largest, self.constants["floor"] if tile.least is None else tile.least, nl.minimum)
        on_gpsimd(tile.bias, least, self.constants["scale"], nl.multiply)
        tile.least = least
        weights = nl.ndarray((rows, step.size), dtype=self.q.dtype, buffer=nl.sbuf)
        nisa.activation(dst=weights, op=nl.exp, data=scores, scale=self.scale, bias=tile.bias)
        if before is not None:
            step.correction = column(rows)
            nisa.activation(dst=step.correction, op=nl.exp, data=before, scale=-1.0, bias=tile.bias)
        step.bias = tile.bias
        step.weights = weights
        if self.by_dma:
            step.blocks = transposed_by_dma(weights)

    def gather(self, step):
        """Add the values of a chunk to the running sums; those of a single chunk stay in PSUM."""
        if step is None:
            return
        tile, rows = step.queries, step.queries.rows
        product = self.next("products")[0:rows, :]
        for index, block in enumerate(step.blocks):
            value = step.section.value(step.start + index * ROWS, block.shape[0])
            nisa.nc_matmul(dst=product, stationary=block, moving=value, accumulate=index > 0)
        if step.first and step.last:
            tile.sums = product
            self.finish(step)
        elif step.first:
            nisa.tensor_copy(dst=tile.sums, src=product, engine=nisa.engine.vector)
        else:
            nisa.scalar_tensor_tensor(
                dst=tile.sums, data=tile.sums, op0=nl.multiply, operand0=step.correction, op1=nl.add, operand1=product
            )

    def finish(self, step):
        """After the last chunk divide by the sums of weights and write the rows; GpSimdE does not reach PSUM."""
        if not step.last:
            return
        tile, rows, d = step.queries, step.queries.rows, self.width - 1
        inverse, total = column(rows), tile.sums[:, d : d + 1]
        if self.final:
            at = (tile.output.head - self.first_head) * self.tiles + tile.start // ROWS
            for final, value in zip(self.final, (step.bias, total)):
                nisa.tensor_copy(dst=final[0:rows, at : at + 1], src=value, engine=nisa.engine.vector)
        if step.first:
            nisa.tensor_scalar(
                dst=inverse, data=total, op0=nl.maximum, operand0=TINY, op1=nl.power, operand1=-1.0,
                engine=nisa.engine.vector,
            )  # fmt: skip
        else:
            on_gpsimd(inverse, total, self.constants["tiny"], nl.maximum)
            on_gpsimd(inverse, inverse, self.constants["minus one"], nl.power)
        nisa.activation(dst=tile.output.block(tile), op=nl.copy, data=tile.sums[:, 0:d], scale=inverse)
        tile.output.store_after()

    def turn_over(self, steps):
        """Transpose the weights of these chunks, where the tensor engine does it."""
        for step in steps:
            if not self.by_dma:
                step.blocks = self.transposed(step.weights)

    def transposed(self, weights):
        """Blocks `[keys, queries]` by the tensor engine, four to a PSUM tile, copied out by VectorE and ScalarE in turn."""
        rows, size = weights.shape
        blocks = []
        for start, keys in spans((0, size), BANK):
            turned = self.next("turned")
            part = spans((0, keys), ROWS)
            for index, (at, count) in enumerate(part):
                nisa.nc_transpose(
                    dst=turned[0:count, index, 0:rows],
                    data=weights[:, start + at : start + at + count],
                    engine=nisa.engine.tensor,
                )
            blocks += self.copied(turned, part, rows)
        return blocks

    def copied(self, turned, part, rows):
        """The blocks of a PSUM tile in SBUF; a last one of fewer keys is copied by itself."""
        self.turn["copies"] += 1
        copy = nl.ndarray(turned.shape, dtype=turned.dtype, buffer=nl.sbuf)
        whole = sum(count == ROWS for _, count in part)
        pieces = [(slice(0, ROWS), slice(0, whole))] if whole else []
        pieces += [(slice(0, part[index][1]), slice(index, index + 1)) for index in range(whole, len(part))]
        for keys, places in pieces:
            target, source = copy[keys, places, 0:rows], turned[keys, places, 0:rows]
            if self.turn["copies"] % 2:
                nisa.tensor_copy(dst=target, src=source, engine=nisa.engine.vector)
            else:
                nisa.activation(dst=target, op=nl.copy, data=source)
        return [copy[0:count, index, 0:rows] for index, (_, count) in enumerate(part)]


def ring(shape, dtype, size):
    """Two PSUM tiles of `size` bytes per partition; they share a bank where both fit."""
    if 2 * size > 4 * BANK:
        return [nl.ndarray(shape, dtype=dtype, buffer=nl.psum) for _ in range(2)]
    both = nl.ndarray((shape[0], 2, *shape[1:]), dtype=dtype, buffer=nl.psum)
    return [both[:, index] for index in range(2)]


def on_gpsimd(dst, data, constant, op):
    """A step of the row statistics `[rows, 1]`: GpSimdE has nothing else to do."""
    nisa.tensor_tensor(dst=dst, data1=data, data2=constant[0 : data.shape[0], :], op=op, engine=nisa.engine.gpsimd)


def transposed_by_dma(weights):
    """Blocks `[keys, queries]` of `weights[queries, keys]`: one DMA for all whole blocks, one for a last smaller one."""
    rows, size = weights.shape
    whole, rest = divmod(size, ROWS)
    turned = nl.ndarray((ROWS, whole + (rest > 0), rows), dtype=weights.dtype, buffer=nl.sbuf)
    if whole:
        source = weights[:, 0 : whole * ROWS].reshape_dim(1, (whole, ROWS))
        nisa.dma_transpose(dst=turned[:, 0:whole, :], src=source)
    if rest:
        nisa.dma_transpose(dst=turned[0:rest, whole, :], src=weights[:, whole * ROWS : size])
    blocks = [turned[:, index, :] for index in range(whole)]
    return blocks + ([turned[0:rest, whole, :]] if rest else [])


def store_lse(forward, lse, first):
    """Write log(sum) - bias of every row: one logarithm for all, rows to the partitions by the tensor engine."""
    bias, total = forward.final
    nisa.tensor_scalar(dst=total, data=total, op0=nl.maximum, operand0=TINY, engine=nisa.engine.vector)
    nisa.activation(dst=total, op=nl.log, data=total)
    nisa.tensor_tensor(dst=total, data1=total, data2=bias, op=nl.subtract, engine=nisa.engine.vector)
    queries, tiles = lse.shape[1], forward.tiles
    for head in range(total.shape[1] // tiles):
        for start, count in spans((0, tiles), ROWS):
            turned = forward.scores[0][0:count, 0:ROWS]
            at = head * tiles + start
            nisa.nc_transpose(dst=turned, data=total[:, at : at + count], engine=nisa.engine.tensor)
            rows = nl.ndarray((count, ROWS), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_copy(dst=rows, src=turned, engine=nisa.engine.vector)
            for index in range(count):
                low = (start + index) * ROWS
                size = min(ROWS, queries - low)
                target = lse[first + head : first + head + 1, low : low + size]
                nisa.dma_copy(dst=target, src=rows[index : index + 1, 0:size])
