"""Attention of a few new tokens against a long cache: bound by the DMA that brings the cache.

| tensor | shape |
|---|---|
| q | `[batch, heads, d, tokens]` |
| k_cache | `[batch, kv_heads, d, room]` |
| v_cache | `[batch, kv_heads, room, d]` |
| lengths | int32 `[batch]`: positions of the cache in use, the new tokens' own among them |
| result | `[batch, heads, tokens, d]` |

The rows that share a key head, R = heads / kv_heads * tokens, are few, so keys and values are the stationary operands and
the rows move: scores[128 keys, R] = k.T @ q and sums[d, R] = v.T @ weights, with no transpose between. Keys lie on the
partitions, so a row's maximum is taken over the free dimension first, then over the partitions of one small transpose.

Which key lies on which partition is free to choose: of 512 keys, partition p takes keys 4p to 4p + 3, so that a partition
reads four rows of v in one piece (1 KiB at d = 128) and k with a stride below 16 bytes.

The loop is skewed by one: the tensor engine takes the values of a key head while VectorE reduces the scores of the next.
"""

import nki
import nki.isa as nisa
import nki.language as nl

from .flash_attention_tiles import (
    BANK,
    EMPTY,
    ROWS,
    columns_of,
    hidden_beyond,
    load_ahead,
    load_columns,
    multiply,
    select,
)
from .tiles import shard, spans

RUN = 4
"""Neighbouring keys on one partition."""

PIECE = 2048
"""Keys that one DMA loads."""

TINY = 1e-30

SPAN = 4096
"""Scores per partition that are held at a time: longer caches take several spans, joined as they come."""


@nki.jit
def flash_attention_decode(q, k_cache, v_cache, lengths, scale=None):
    """Return `softmax(scale * q.T @ k + mask) @ v` over the positions in use; shapes are those of the table above.

    Token t of `tokens` stands at position `length - tokens + t` and sees the keys up to there; one that sees none gives
    zeros. The whole room of the cache is read. heads / kv_heads * tokens is at most 128 and d at most 256; `scale` is
    `d ** -0.5` unless given, positive.
    """
    batch, heads, d, tokens = q.shape
    kv_heads, room = k_cache.shape[1], k_cache.shape[3]
    assert tuple(k_cache.shape) == (batch, kv_heads, d, room), f"k_cache has shape {tuple(k_cache.shape)}"
    assert tuple(v_cache.shape) == (batch, kv_heads, room, d), f"v_cache has shape {tuple(v_cache.shape)}"
    assert heads % kv_heads == 0, f"{heads} query heads are not a multiple of {kv_heads} key heads"
    assert d <= 2 * ROWS, f"head dimension {d}: at most {2 * ROWS}"
    assert tuple(lengths.shape) == (batch,), f"lengths has shape {tuple(lengths.shape)}, needs ({batch},)"
    assert q.dtype == k_cache.dtype == v_cache.dtype, f"q is {q.dtype}, the caches {k_cache.dtype} and {v_cache.dtype}"
    rows = heads // kv_heads * tokens
    assert rows <= ROWS, f"{heads} heads on {kv_heads} key heads with {tokens} tokens are {rows} rows; at most {ROWS}"
    result = nl.ndarray((batch, heads, tokens, d), dtype=q.dtype, buffer=nl.shared_hbm)
    decode = Decode(q, k_cache, v_cache, result, d**-0.5 if scale is None else scale)
    decode.limits = limits(lengths, batch, tokens)
    decode.run(jobs(decode, shard(batch * kv_heads, 1)))
    return result


def limits(lengths, batch, tokens):
    """Last position that each token sees, on every partition: fp32 `[128, batch, tokens]`."""
    loaded = nl.ndarray((ROWS, batch), dtype=lengths.dtype, buffer=nl.sbuf)
    load_ahead(loaded, lengths.ap(pattern=[[0, ROWS], [1, batch]]), nisa.engine.scalar)
    spread = nl.ndarray((ROWS, batch), dtype=nl.float32, buffer=nl.sbuf)
    nisa.tensor_copy(dst=spread, src=loaded, engine=nisa.engine.vector)
    tile = nl.ndarray((ROWS, batch, tokens), dtype=nl.float32, buffer=nl.sbuf)
    for token in range(tokens):
        nisa.tensor_scalar(
            dst=tile[:, :, token], data=spread, op0=nl.add, operand0=float(token - tokens), engine=nisa.engine.vector
        )
    return tile


def jobs(decode, heads):
    """Every span of the cache of every key head of this core, in order; made, and so loaded, when it is asked for."""
    for head in range(*heads):
        for start, count in decode.cuts:
            yield Job(decode, head, start, count, start + count == decode.v.shape[1])


class Job:
    """A span of the cache of one key head of one sequence (`head` counts both); `first` and `last` of its spans."""

    def __init__(self, decode, head, start, count, last):
        """Load the rows that share the head, and the keys and values of the span."""
        self.head, self.start, self.count, self.first, self.last = head, start, count, start == 0, last
        share, (d, tokens) = decode.share, decode.q.shape[1:]
        self.q = []
        for at, size in spans((0, d), ROWS):
            tile = nl.ndarray((size, share, tokens), dtype=decode.q.dtype, buffer=nl.sbuf)
            source = decode.q[head * share : (head + 1) * share, at : at + size, :]
            load_ahead(tile, source.permute((1, 0, 2)))
            self.q.append(tile)
        pieces = spans((start, start + count), PIECE)
        self.keys = [block for piece in pieces for block in load_keys(decode.k, head, *piece)]
        self.values = [block for piece in pieces for block in load_values(decode.v, head, *piece)]


def load_keys(cache, head, start, count):
    """Stationary tiles `[d, 128]` of a piece of keys, each a list of parts of d; keys beyond the end are zero."""
    width = -(-count // ROWS) * ROWS
    parts = load_columns(cache, head, start, count, width)
    blocks = []
    for at, size in spans((0, width), ROWS * RUN):
        if size == ROWS * RUN and at + size <= count:
            views = [part[:, at : at + size].reshape_dim(1, (ROWS, RUN)) for part in parts]
            blocks += [[view[:, :, run] for view in views] for run in range(RUN)]
        else:
            blocks += [columns_of(parts, low, low + ROWS) for low in range(at, at + size, ROWS)]
    return blocks


def load_values(cache, head, start, count):
    """Stationary tiles `[keys, d]` of a piece of values: groups of 512 keys in one DMA, the rest 128 at a time."""
    length, d = cache.shape[1:]
    first = (head * length + start) * d
    groups = count // (ROWS * RUN)
    blocks = []
    if groups:
        tile = nl.ndarray((ROWS, groups, RUN * d), dtype=cache.dtype, buffer=nl.sbuf)
        source = cache.ap(pattern=[[RUN * d, ROWS], [ROWS * RUN * d, groups], [1, RUN * d]], offset=first)
        nisa.dma_copy(dst=tile, src=source)
        blocks = [tile[:, group, run * d : (run + 1) * d] for group in range(groups) for run in range(RUN)]
    for at, rows in spans((groups * ROWS * RUN, count), ROWS):
        rest = nl.ndarray((rows, d), dtype=cache.dtype, buffer=nl.sbuf)
        nisa.dma_copy(dst=rest, src=cache.ap(pattern=[[d, rows], [1, d]], offset=first + at * d))
        blocks.append(rest)
    return blocks


class Decode:
    """Operands, constants and the loop of one call. `spread` tiles `[128, rows]` are the same on all partitions."""

    def __init__(self, q, k, v, result, scale):
        """Keep the operands, sequences and heads in one dimension; make an identity and ones."""
        (batch, heads, d, tokens), (kv_heads, room) = q.shape, v.shape[1:3]
        self.q = q.reshape((batch * heads, d, tokens))
        self.k, self.v = k.reshape((batch * kv_heads, d, room)), v.reshape((batch * kv_heads, room, d))
        self.result = result.reshape((batch * heads * tokens, d))
        self.kv_heads, self.share, self.tokens, self.scale = kv_heads, heads // kv_heads, tokens, float(scale)
        self.rows = self.share * tokens
        self.ones = nl.ndarray((ROWS, ROWS), dtype=nl.float32, buffer=nl.sbuf)
        nisa.memset(dst=self.ones, value=1.0, engine=nisa.engine.vector)
        self.identity = nl.ndarray((ROWS, ROWS), dtype=nl.float32, buffer=nl.sbuf)
        select(self.identity, self.ones, 0.0, nl.equal, (1, -1), 0)
        self.masks = {}
        self.cuts = spans((0, room), max(SPAN // self.rows // RUN, 1) * RUN * ROWS)
        self.number()

    def run(self, sequence):
        """The skewed loop."""
        before = None
        for job in sequence:
            self.score(job)
            self.gather(before)
            self.weigh(job)
            self.join(before)
            before = job
        self.gather(before)
        self.join(before)

    def tile(self, rows, dtype=nl.float32, buffer=nl.sbuf):
        """Room for one value of each row on `rows` partitions."""
        return nl.ndarray((rows, self.rows), dtype=dtype, buffer=buffer)

    def number(self):
        """Positions of the keys of every span, fp32 `[128, blocks]` by the span's start."""
        self.positions = {}
        for start, count in self.cuts:
            whole, blocks = count // (ROWS * RUN) * RUN, -(-count // ROWS)
            tile = nl.ndarray((ROWS, blocks), dtype=nl.float32, buffer=nl.sbuf)
            if whole:
                pattern = [[ROWS * RUN, whole // RUN], [1, RUN]]
                nisa.iota(dst=tile[:, 0:whole], pattern=pattern, offset=start, channel_multiplier=RUN)
            if blocks > whole:
                pattern, offset = [[ROWS, blocks - whole]], start + whole * ROWS
                nisa.iota(dst=tile[:, whole:blocks], pattern=pattern, offset=offset, channel_multiplier=1)
            self.positions[start] = tile

    def mask(self, job):
        """0 or HIDDEN for each key of a span and each token: fp32 `[128, tokens, blocks]`; heads of a sequence share it."""
        sequence = job.head // self.kv_heads
        if self.masks.get("sequence") != sequence:
            self.masks = {"sequence": sequence}
        if job.start not in self.masks:
            self.masks[job.start] = hidden_beyond(self.positions[job.start], self.limits[:, sequence, :])
        return self.masks[job.start]

    def score(self, job):
        """Masked scores of a span, `[128, share, tokens, blocks]` in SBUF, and their largest on each partition."""
        blocks, mask = len(job.keys), self.mask(job)
        job.scores = nl.ndarray((ROWS, self.share, self.tokens, blocks), dtype=nl.float32, buffer=nl.sbuf)
        for start, count in spans((0, blocks), BANK // self.rows):
            psum = nl.ndarray((ROWS, self.share, self.tokens, count), dtype=nl.float32, buffer=nl.psum)
            for block in range(count):
                multiply(psum[:, :, :, block], job.keys[start + block], job.q)
            hidden = mask[:, :, start : start + count].expand_dim(1).broadcast(1, self.share)
            target = job.scores[:, :, :, start : start + count]
            nisa.tensor_tensor(dst=target, data1=psum, data2=hidden, op=nl.add, engine=nisa.engine.vector)
        job.largest = self.tile(ROWS)
        nisa.tensor_reduce(dst=job.largest, op=nl.maximum, data=job.scores.reshape((ROWS, self.rows, blocks)), axis=2)

    def weigh(self, job):
        """Weights exp(scale * (score - maximum)), the maximum that of all spans so far."""
        job.maximum = self.spread_maximum(job.largest)
        if not job.first:
            change = self.tile(ROWS)
            self.combine(job.maximum, job.maximum, self.maximum, nl.maximum)
            self.combine(change, self.maximum, job.maximum, nl.subtract)
            job.correction = self.tile(ROWS)
            nisa.activation(dst=job.correction, op=nl.exp, data=change, scale=self.scale)
        self.maximum = job.maximum
        shape = (ROWS, self.rows, len(job.keys))
        scores = job.scores.reshape(shape)
        self.combine(scores, scores, job.maximum.expand_dim(2).broadcast(2, shape[2]), nl.subtract)
        job.weights = nl.ndarray(shape, dtype=self.q.dtype, buffer=nl.sbuf)
        nisa.activation(dst=job.weights, op=nl.exp, data=scores, scale=self.scale)
        job.parts = self.totals(job)

    def spread_maximum(self, largest):
        """The largest over the partitions, on every partition: transposed, reduced, and back as ones.T @ diagonal."""
        rows = self.rows
        turned = nl.ndarray((rows, ROWS), dtype=nl.float32, buffer=nl.psum)
        nisa.nc_transpose(dst=turned, data=largest, engine=nisa.engine.tensor)
        column = nl.ndarray((rows, 1), dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_reduce(dst=column, op=nl.maximum, data=turned, axis=1)
        diagonal = self.tile(rows)
        nisa.tensor_scalar(
            dst=diagonal, data=self.identity[0:rows, 0:rows], op0=nl.multiply, operand0=column,
            engine=nisa.engine.vector,
        )  # fmt: skip
        psum, spread = self.tile(ROWS, buffer=nl.psum), self.tile(ROWS)
        nisa.nc_matmul(dst=psum, stationary=self.ones[0:rows, :], moving=diagonal)
        nisa.tensor_scalar(dst=spread, data=psum, op0=nl.maximum, operand0=EMPTY, engine=nisa.engine.vector)
        return spread

    def combine(self, dst, data1, data2, op):
        """An elementwise step on VectorE."""
        nisa.tensor_tensor(dst=dst, data1=data1, data2=data2, op=op, engine=nisa.engine.vector)

    def gather(self, job):
        """Sums of weights, and of weights times values, of a span."""
        if job is None:
            return
        job.sums = [self.tile(ROWS, buffer=nl.psum)]
        for at, size in spans((0, self.v.shape[2]), ROWS):
            psum = self.tile(size, buffer=nl.psum)
            for block, value in enumerate(job.values):
                moving = job.weights[0 : value.shape[0], :, block]
                nisa.nc_matmul(dst=psum, stationary=value[:, at : at + size], moving=moving, accumulate=block > 0)
            job.sums.append(psum)
        for index, part in enumerate(job.parts):
            ones = self.ones[0 : part.shape[0], :]
            nisa.nc_matmul(dst=job.sums[0], stationary=ones, moving=part, accumulate=index > 0)

    def join(self, job):
        """Add a span to the running sums; after the last one, write the rows."""
        if job is None:
            return
        self.sums = [self.joined(job, index, psum) for index, psum in enumerate(job.sums)]
        if job.last:
            self.finish(job)

    def totals(self, job):
        """The sum of each row's weights on each partition: of the whole blocks, and of a last one with fewer keys."""
        last = job.values[-1].shape[0]
        blocks = len(job.values) - (last < ROWS)
        parts = []
        if blocks:
            parts.append(self.tile(ROWS))
            nisa.tensor_reduce(dst=parts[0], op=nl.add, data=job.weights[:, :, 0:blocks], axis=2)
        if last < ROWS:
            parts.append(self.tile(last))
            nisa.tensor_copy(dst=parts[-1], src=job.weights[0:last, :, blocks], engine=nisa.engine.vector)
        return parts

    def joined(self, job, index, psum):
        """The running sum over spans: SBUF fp32; that of a single span stays in PSUM."""
        if job.first and job.last:
            return psum
        total = self.tile(psum.shape[0])
        if job.first:
            nisa.tensor_copy(dst=total, src=psum, engine=nisa.engine.vector)
        else:
            self.combine(total, self.sums[index], job.correction[0 : psum.shape[0], :], nl.multiply)
            self.combine(total, total, psum, nl.add)
        return total

    def finish(self, job):
        """Divide, turn the rows to the partitions, write them."""
        inverse, d = self.tile(ROWS), self.v.shape[2]
        nisa.tensor_scalar(
            dst=inverse, data=self.sums[0], op0=nl.maximum, operand0=TINY, op1=nl.reciprocal, operand1=0.0,
            engine=nisa.engine.vector,
        )  # fmt: skip
        output = nl.ndarray((self.rows, d), dtype=self.result.dtype, buffer=nl.sbuf)
        for (at, size), total in zip(spans((0, d), ROWS), self.sums[1:]):
            share = self.tile(size)
            self.combine(share, total, inverse[0:size, :], nl.multiply)
            turned = nl.ndarray((self.rows, size), dtype=nl.float32, buffer=nl.psum)
            nisa.nc_transpose(dst=turned, data=share, engine=nisa.engine.tensor)
            nisa.activation(dst=output[:, at : at + size], op=nl.copy, data=turned)
        first = job.head * self.rows
        nisa.dma_copy(dst=self.result[first : first + self.rows, :], src=output)
