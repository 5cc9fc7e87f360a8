"""Gradients of attention, from the log-sum-exp that the forward pass keeps.

Layouts (HBM) are those of `flash_attention`; gradients lie rows first, as v does:

| tensor | shape |
|---|---|
| q, k | `[heads, d, queries]`, `[kv_heads, d, keys]` |
| v | `[kv_heads, keys, d]` |
| output, its gradient, dq | `[heads, queries, d]` |
| log-sum-exp | `[heads, queries]` fp32 |
| dk, dv | `[kv_heads, keys, d]` |

For 128 queries and a section of keys (512, or 256 where d > 128):

    TensorE   scores = q.T @ k,  change = d_output @ v.T                       PSUM
    ScalarE   weights = exp(scale * scores - lse)
    VectorE   slope = (change - rowsum(d_output * output)) * weights
    TensorE   dv += weights.T @ d_output,  dk += slope.T @ q                   PSUM, over all queries
    TensorE   slope transposed, copied by ScalarE;  dq = slope @ k             added by VectorE, over all sections

so weights and slope are stationary as they come, and only the slope is transposed, for dq. q and d_output are needed in both
layouts, and so are k and v: the tensor engine turns them once for each group of queries. The loop is skewed by one.
"""

import nki
import nki.isa as nisa
import nki.language as nl

from .flash_attention import check_operands
from .flash_attention_tiles import (
    EMPTY,
    ROWS,
    Visibility,
    columns_of,
    differing,
    load_blocks,
    load_columns,
    load_labels,
    multiply,
    spread_labels,
    store_blocks,
)
from .tiles import is_narrow, shard, spans


@nki.jit
def flash_attention_backward(
    q, k, v, output, d_output, lse, q_segments=None, kv_segments=None, scale=None, causal=False, window=None
):
    """Return `(dq, dk, dv)` for `d_output`, the gradient of `output`; options as those of `flash_attention`.

    `output` and `lse` are what `flash_attention` gave with these operands and options. Gradients have their operand's
    dtype; sums are fp32. Cores share the key heads.
    """
    check_operands(q, k, v, q_segments, kv_segments)
    heads, d, queries = q.shape
    kv_heads, _, keys = k.shape
    assert tuple(output.shape) == tuple(d_output.shape) == (heads, queries, d), (
        f"output has shape {tuple(output.shape)}, d_output {tuple(d_output.shape)}; both need {(heads, queries, d)}"
    )
    assert tuple(lse.shape) == (heads, queries), f"lse has shape {tuple(lse.shape)}, needs {(heads, queries)}"
    gradients = [nl.ndarray((heads, queries, d), dtype=q.dtype, buffer=nl.shared_hbm)]
    gradients += [nl.ndarray((kv_heads, keys, d), dtype=k.dtype, buffer=nl.shared_hbm) for _ in range(2)]
    backward = Backward(q, k, v, output, d_output, lse, gradients, d**-0.5 if scale is None else float(scale))
    backward.visible = Visibility(queries, keys, causal, window)
    backward.segments = None if q_segments is None else (q_segments, kv_segments)
    backward.run(shard(kv_heads, 1))
    return tuple(gradients)


class Group:
    """Queries of one head that stay in SBUF: operands in both layouts, `-lse`, row sums, and the running dq."""

    def __init__(self, backward, head, start, count):
        """Load and prepare them."""
        self.head, self.start, self.count = head, start, count
        self.tiles = spans((0, count), ROWS)
        self.q = load_columns(backward.q, head, start, count)
        self.q_rows = backward.rows_of(self.q, count)
        self.d_output = load_blocks(backward.d_output, head, start, count)
        self.d_output_columns = backward.columns_of_rows(self.d_output, count)
        output = load_blocks(backward.output, head, start, count)
        shape = (ROWS, len(self.tiles))
        self.bias, self.dots = (nl.ndarray(shape, dtype=nl.float32, buffer=nl.sbuf) for _ in range(2))
        for index, (at, rows) in enumerate(self.tiles):
            source = backward.lse.ap(pattern=[[1, rows], [1, 1]], offset=head * backward.lse.shape[1] + start + at)
            nisa.dma_copy(dst=self.bias[0:rows, index : index + 1], src=source)
            self.prepare(index, rows, output, -EMPTY * backward.scale)
        shape = (ROWS, len(self.tiles), backward.d)
        self.dq = nl.ndarray(shape, dtype=nl.float32, buffer=nl.sbuf)
        self.started = set()
        self.labels = [load_labels(backward.segments[0], start + at, rows) for at, rows in self.tiles] if (
            backward.segments
        ) else None  # fmt: skip

    def prepare(self, index, rows, output, most):
        """`-lse`, at most `most` so that a row without visible keys has no weights; row sums of d_output * output."""
        bias, dot = (tile[0:rows, index : index + 1] for tile in (self.bias, self.dots))
        nisa.tensor_scalar(
            dst=bias, data=bias, op0=nl.multiply, operand0=-1.0, op1=nl.minimum, operand1=most,
            engine=nisa.engine.vector,
        )  # fmt: skip
        products = nl.ndarray((rows, output.shape[2]), dtype=nl.float32, buffer=nl.sbuf)
        left, right = self.d_output[0:rows, index, :], output[0:rows, index, :]
        nisa.tensor_tensor(dst=products, data1=left, data2=right, op=nl.multiply, engine=nisa.engine.vector)
        nisa.tensor_reduce(dst=dot, op=nl.add, data=products, axis=1)


class Section:
    """Keys that meet a group together: operands in both layouts, and the PSUM sums of their gradients."""

    def __init__(self, backward, head, start, count):
        """Load and prepare them."""
        self.head, self.start, self.count = head, start, count
        self.blocks = spans((0, count), ROWS)
        self.k = load_columns(backward.k, head, start, count)
        self.k_rows = backward.rows_of(self.k, count)
        self.v = backward.columns_of_rows(load_blocks(backward.v, head, start, count), count)
        shape = (ROWS, len(self.blocks), backward.d)
        self.dk, self.dv = (nl.ndarray(shape, dtype=nl.float32, buffer=nl.psum) for _ in range(2))
        self.started = False
        self.labels = spread_labels(backward.segments[1], start, count) if backward.segments else None


class Step:
    """One tile of a group against one section."""

    def __init__(self, group, index, section):
        """Rows `at` to `at + rows` of the group."""
        self.group, self.index, self.section = group, index, section
        self.at, self.rows = group.tiles[index]


class Backward:
    """Operands, results and the loop of one call."""

    def __init__(self, q, k, v, output, d_output, lse, gradients, scale):
        """Keep them."""
        self.q, self.k, self.v, self.output, self.d_output, self.lse = q, k, v, output, d_output, lse
        (self.dq, self.dk, self.dv), self.scale, self.d = gradients, scale, q.shape[1]
        self.size = 512 if self.d <= ROWS else 256
        self.group = 2**19 // (max(self.d, ROWS) * (2 if is_narrow(q.dtype) else 4))
        self.share = q.shape[0] // k.shape[0]

    def run(self, heads):
        """Groups of the query heads of each key head; where several add to dk and dv, fp32 sums wait in HBM."""
        queries, keys = self.q.shape[2], self.k.shape[2]
        groups = [(head, *span) for head in range(self.share) for span in spans((0, queries), self.group)]
        for kv_head in range(*heads):
            parts = [nl.ndarray((1, keys, self.d), dtype=nl.float32, buffer=nl.private_hbm) for _ in range(2)]
            for index, (head, start, count) in enumerate(groups):
                group = Group(self, kv_head * self.share + head, start, count)
                for at, size in spans((0, keys), self.size):
                    self.meet(group, Section(self, kv_head, at, size), parts, (index == 0, index == len(groups) - 1))
                self.write_queries(group)

    def meet(self, group, section, parts, ends):
        """All queries of a group that may see a section."""
        low, high = self.visible.span_of_keys(section.start, section.count)
        before = None
        for index, (at, rows) in enumerate(group.tiles):
            if group.start + at + rows > low and group.start + at < high:
                step = Step(group, index, section)
                self.slope(step)
                self.gather(before)
                before = step
        self.gather(before)
        self.write_keys(section, parts, ends)

    def slope(self, step):
        """Weights and slope of one step, `[queries, keys]` in the operands' dtype."""
        group, section, rows, keys = step.group, step.section, step.rows, step.section.count
        scores, change = (nl.ndarray((rows, keys), dtype=nl.float32, buffer=nl.psum) for _ in range(2))
        multiply(scores, columns_of(group.q, step.at, step.at + rows), section.k)
        for at, size in section.blocks:
            self.visible.add_to(scores[:, at : at + size], group.start + step.at, section.start + at)
        if section.labels is not None:
            self.visible.add_segments(scores, differing(group.labels[step.index], section.labels[0:rows, :]))
        multiply(change, columns_of(group.d_output_columns, step.at, step.at + rows), section.v)
        column_of = slice(step.index, step.index + 1)
        step.weights, step.slope = (nl.ndarray((rows, keys), dtype=self.q.dtype, buffer=nl.sbuf) for _ in range(2))
        nisa.activation(dst=step.weights, op=nl.exp, data=scores, scale=self.scale, bias=group.bias[0:rows, column_of])
        nisa.scalar_tensor_tensor(
            dst=step.slope, data=change, op0=nl.subtract, operand0=group.dots[0:rows, column_of],
            op1=nl.multiply, operand1=step.weights,
        )  # fmt: skip

    def gather(self, step):
        """What one step adds to dv, dk and dq."""
        if step is None:
            return
        group, section, rows = step.group, step.section, step.rows
        turned = self.turned(step.slope, section.blocks)
        for index, (at, size) in enumerate(section.blocks):
            for sums, left, right in (
                (section.dv, step.weights, group.d_output), (section.dk, step.slope, group.q_rows)
            ):  # fmt: skip
                nisa.nc_matmul(
                    dst=sums[0:size, index, :], stationary=left[:, at : at + size],
                    moving=right[0:rows, step.index, :], accumulate=section.started,
                )  # fmt: skip
        section.started = True
        product = nl.ndarray((rows, self.d), dtype=nl.float32, buffer=nl.psum)
        for index, (_, size) in enumerate(section.blocks):
            nisa.nc_matmul(
                dst=product, stationary=turned[0:size, index, :], moving=section.k_rows[0:size, index, :],
                accumulate=index > 0,
            )  # fmt: skip
        total = group.dq[0:rows, step.index, :]
        if step.index in group.started:
            nisa.tensor_tensor(dst=total, data1=total, data2=product, op=nl.add, engine=nisa.engine.vector)
        else:
            nisa.tensor_copy(dst=total, src=product, engine=nisa.engine.vector)
        group.started.add(step.index)

    def turned(self, tile, blocks):
        """`tile[rows, n]` as `[128, blocks, rows]`: each block transposed by the tensor engine, copied by ScalarE."""
        rows = tile.shape[0]
        psum = nl.ndarray((ROWS, len(blocks), rows), dtype=tile.dtype, buffer=nl.psum)
        copy = nl.ndarray((ROWS, len(blocks), rows), dtype=tile.dtype, buffer=nl.sbuf)
        for index, (at, size) in enumerate(blocks):
            nisa.nc_transpose(dst=psum[0:size, index, :], data=tile[:, at : at + size], engine=nisa.engine.tensor)
        whole = sum(size == ROWS for _, size in blocks)
        if whole:
            nisa.activation(dst=copy[:, 0:whole, :], op=nl.copy, data=psum[:, 0:whole, :])
        for index in range(whole, len(blocks)):
            size = blocks[index][1]
            nisa.activation(dst=copy[0:size, index, :], op=nl.copy, data=psum[0:size, index, :])
        return copy

    def rows_of(self, columns, count):
        """Tiles `[<= 128, count]` that cut d, turned into one tile `[128, blocks, d]`."""
        result = nl.ndarray((ROWS, -(-count // ROWS), self.d), dtype=self.q.dtype, buffer=nl.sbuf)
        for index, (at, rows) in enumerate(spans((0, count), ROWS)):
            for (low, size), tile in zip(spans((0, self.d), ROWS), columns):
                self.turn(result[0:rows, index, low : low + size], tile[:, at : at + rows])
        return result

    def columns_of_rows(self, tile, count):
        """The inverse of `rows_of`."""
        result = []
        for low, size in spans((0, self.d), ROWS):
            part = nl.ndarray((size, count), dtype=tile.dtype, buffer=nl.sbuf)
            for index, (at, rows) in enumerate(spans((0, count), ROWS)):
                self.turn(part[:, at : at + rows], tile[0:rows, index, low : low + size])
            result.append(part)
        return result

    def turn(self, dst, data):
        """`dst = data.T`, at most 128 x 128, through PSUM."""
        psum = nl.ndarray(dst.shape, dtype=data.dtype, buffer=nl.psum)
        nisa.nc_transpose(dst=psum, data=data, engine=nisa.engine.tensor)
        nisa.tensor_copy(dst=dst, src=psum, engine=nisa.engine.vector)

    def write_queries(self, group):
        """Write dq of a group; rows that saw no key are zero."""
        rounded = nl.ndarray(group.dq.shape, dtype=self.dq.dtype, buffer=nl.sbuf)
        for index, (_, rows) in enumerate(group.tiles):
            if index in group.started:
                nisa.activation(
                    dst=rounded[0:rows, index, :], op=nl.copy, data=group.dq[0:rows, index, :], scale=self.scale
                )
            else:
                nisa.memset(dst=rounded[0:rows, index, :], value=0.0, engine=nisa.engine.vector)
        store_blocks(self.dq, group.head, group.start, group.count, rounded)

    def write_keys(self, section, parts, ends):
        """Write dk and dv of a section: what this group adds to the sums in HBM, or to the result after the last group."""
        first, last = ends
        for sums, part, result, scale in (
            (section.dk, parts[0], self.dk, self.scale), (section.dv, parts[1], self.dv, 1.0)
        ):  # fmt: skip
            held = None if first else load_blocks(part, 0, section.start, section.count)
            tile = nl.ndarray(sums.shape, dtype=result.dtype if last else nl.float32, buffer=nl.sbuf)
            for index, (_, size) in enumerate(section.blocks):
                self.add(tile[0:size, index, :], sums, held, (size, index), scale if section.started else None)
            if last:
                store_blocks(result, section.head, section.start, section.count, tile)
            else:
                store_blocks(part, 0, section.start, section.count, tile)

    def add(self, dst, sums, held, place, scale):
        """`dst = scale * sums + held` for one block; `scale` is None where no query saw the section."""
        size, index = place
        old = None if held is None else held[0:size, index, :]
        if scale is None and old is None:
            nisa.memset(dst=dst, value=0.0, engine=nisa.engine.vector)
        elif scale is None:
            nisa.tensor_copy(dst=dst, src=old, engine=nisa.engine.vector)
        elif old is None:
            nisa.activation(dst=dst, op=nl.copy, data=sums[0:size, index, :], scale=scale)
        else:
            nisa.scalar_tensor_tensor(
                dst=dst, data=sums[0:size, index, :], op0=nl.multiply, operand0=scale, op1=nl.add, operand1=old
            )
