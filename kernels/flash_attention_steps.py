"""What the forward kernel works through: queries, sections of keys, and the chunks in which they meet."""

import nki.language as nl

from .flash_attention_tiles import ROWS, columns_of, load_blocks, load_columns, load_labels, spread_labels, store_blocks
from .tiles import spans

OUTPUT_ROWS = 4 * ROWS
"""Rows of the result that are stored together."""


class Queries:
    """128 queries of one head while they pass over the keys: operands, running bias and sums."""

    def __init__(self, forward, output, start, rows, loaded, offset):
        """Cut them out of the loaded columns."""
        self.output, self.start, self.rows = output, start, rows
        self.operand = columns_of(loaded, offset, offset + rows)
        self.bias = self.least = None
        self.sums = nl.ndarray((rows, forward.width), dtype=nl.float32, buffer=nl.sbuf)
        self.labels = load_labels(forward.segments[0], start, rows) if forward.segments else None


class Output:
    """Finished rows of a few tiles of queries, stored together: fewer and longer DMAs."""

    def __init__(self, forward, head, start, rows):
        """Room for `rows` rows."""
        self.result, self.head, self.start, self.rows = forward.result, head, start, rows
        blocks = -(-rows // ROWS)
        self.missing = blocks
        self.tile = nl.ndarray((ROWS, blocks, forward.width - 1), dtype=self.result.dtype, buffer=nl.sbuf)

    def block(self, queries):
        """Where the rows of these queries go."""
        return self.tile[0 : queries.rows, (queries.start - self.start) // ROWS, :]

    def store_after(self):
        """One more tile of queries is done: write all rows after the last."""
        self.missing -= 1
        if self.missing == 0:
            store_blocks(self.result, self.head, self.start, self.rows, self.tile)


class Step:
    """One chunk of keys for 128 queries; `first` and `last` of those queries."""

    def __init__(self, queries, section, start, size, first, last):
        """Keys `start` to `start + size` of a section."""
        self.queries, self.section, self.start, self.size = queries, section, start, size
        self.first, self.last = first, last
        self.weights = self.blocks = self.correction = None


class Section:
    """Keys and values of one key head that lie in SBUF together."""

    def __init__(self, forward, head, start, size):
        """Load them."""
        self.start = start
        self.keys = load_columns(forward.k, head, start, size)
        self.values = [
            load_blocks(forward.v, head, at, rows, ones=1) for at, rows in spans((start, start + size), 8 * ROWS)
        ]
        self.labels = spread_labels(forward.segments[1], start, size) if forward.segments else None

    def value(self, key, rows):
        """The block of values `[rows, d + 1]` that begins at `key`."""
        tile, block = divmod((key - self.start) // ROWS, 8)
        return self.values[tile][0:rows, block, :]


def steps(forward, heads):
    """Every chunk of every 128 queries of these heads, in order, loading keys and values when they are needed first.

    Keys that fit SBUF are loaded once for all query heads that share them; longer ones pass by in sections, once for
    every group of queries.
    """
    queries, keys = forward.q.shape[2], forward.k.shape[2]
    size = 2**21 // (max(forward.width - 1, ROWS) * forward.itemsize)
    group = size if keys <= size else size // 4
    share = forward.q.shape[0] // forward.k.shape[0]
    held = {}
    for head in range(*heads):
        for start, count in spans((0, queries), group):
            loaded = load_columns(forward.q, head, start, count)
            outputs = [Output(forward, head, *span) for span in spans((start, start + count), OUTPUT_ROWS)]
            tiles = [
                Queries(forward, outputs[at // OUTPUT_ROWS], start + at, rows, loaded, at)
                for at, rows in spans((0, count), ROWS)
            ]
            low, high = seen(forward, start, count)
            for section in spans((0, keys), size):
                if section[0] >= high or sum(section) <= low:
                    continue
                key = (head // share, *section)
                if key not in held:
                    held.clear()
                    held[key] = Section(forward, *key)
                for tile in tiles[::-1]:
                    yield from chunks(forward, tile, held[key], section)


def seen(forward, start, rows):
    """First and last key (exclusive) that queries meet: those they may see, or one where they see none."""
    low, high = forward.visible.span(start, rows)
    low = min(low, (forward.k.shape[2] - 1) // ROWS * ROWS)
    return low, max(high, low + 1)


def chunks(forward, tile, section, bounds):
    """The chunks of one section that 128 queries see."""
    low, high = seen(forward, tile.start, tile.rows)
    begin, end = max(low, bounds[0]), min(high, sum(bounds))
    if begin >= end:
        return
    blocks = -(-(end - begin) // ROWS)
    count = -(-blocks * ROWS // forward.chunk)
    for start, size in spans((begin, end), -(-blocks // count) * ROWS):
        yield Step(tile, section, start, size, start == low, start + size >= high)


def column(rows):
    """An fp32 number for each of `rows` partitions."""
    return nl.ndarray((rows, 1), dtype=nl.float32, buffer=nl.sbuf)
