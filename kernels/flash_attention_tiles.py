"""What the flash attention kernels share: loads of queries, keys and values, and masks that the tensor engine adds.

A mask is added to the scores by the tensor engine: `identity.T @ mask` accumulates onto `q.T @ k` in PSUM. So no other
engine touches a score for it, and the row maximum only sees visible keys, whatever the size of the hidden ones.
"""

import nki.isa as nisa
import nki.language as nl

from .tiles import spans

ROWS = nl.tile_size.pmax
BANK = nl.tile_size.psum_bank_fmax

HIDDEN = -1e30
"""Added to the score of a hidden key."""

EMPTY = -1e29
"""Least row maximum: above every hidden score, so that a row without visible keys gets only weights of exp(-inf) = 0."""


def load_columns(hbm, head, start, columns, width=None):
    """Columns of `hbm[head]`, shape `[d, length]`, as SBUF tiles `[<= 128, width]`: one for each 128 rows of d.

    Columns beyond those loaded are zero; `width` is just what is loaded unless given.
    """
    tiles, width = [], columns if width is None else width
    for at, size in spans((0, hbm.shape[1]), ROWS):
        tile = nl.ndarray((size, width), dtype=hbm.dtype, buffer=nl.sbuf)
        if width > columns:
            nisa.memset(dst=tile[:, columns:width], value=0.0, engine=nisa.engine.vector)
        nisa.dma_copy(dst=tile[:, 0:columns], src=hbm[head, at : at + size, start : start + columns])
        tiles.append(tile)
    return tiles


def load_ahead(tile, hbm, engine=nisa.engine.sync):
    """A small load that must not queue behind others: a queue of its own where descriptors come from hardware."""
    if nisa.get_nc_version() >= nisa.nc_version.gen3:
        nisa.dma_copy(dst=tile, src=hbm, dge_mode=nisa.dge_mode.hwdge, engine=engine)
    else:
        nisa.dma_copy(dst=tile, src=hbm)


def load_blocks(hbm, head, start, rows, ones=0):
    """Rows of `hbm[head]`, shape `[length, d]`, as one SBUF tile `[128, blocks, d + ones]`, 128 rows to a block.

    The last `ones` columns of each block are 1, so that a matmul with it also sums. Rows beyond `rows` stay unwritten.
    """
    length, d = hbm.shape[1:]
    whole, rest = divmod(rows, ROWS)
    blocks = whole + (rest > 0)
    tile = nl.ndarray((ROWS, blocks, d + ones), dtype=hbm.dtype, buffer=nl.sbuf)
    if ones:
        nisa.memset(dst=tile[:, :, d : d + ones], value=1.0, engine=nisa.engine.gpsimd)
    first = (head * length + start) * d
    if whole:
        source = hbm.ap(pattern=[[d, ROWS], [ROWS * d, whole], [1, d]], offset=first)
        nisa.dma_copy(dst=tile[:, 0:whole, 0:d], src=source)
    if rest:
        source = hbm.ap(pattern=[[d, rest], [1, d]], offset=first + whole * ROWS * d)
        nisa.dma_copy(dst=tile[0:rest, whole, 0:d], src=source)
    return tile


def store_blocks(hbm, head, start, rows, tile):
    """Write rows of an SBUF tile `[128, blocks, d]` to `hbm[head]`, shape `[length, d]`: the inverse of `load_blocks`."""
    length, d = hbm.shape[1:]
    whole, rest = divmod(rows, ROWS)
    first = (head * length + start) * d
    if whole:
        target = hbm.ap(pattern=[[d, ROWS], [ROWS * d, whole], [1, d]], offset=first)
        nisa.dma_copy(dst=target, src=tile[:, 0:whole, 0:d])
    if rest:
        target = hbm.ap(pattern=[[d, rest], [1, d]], offset=first + whole * ROWS * d)
        nisa.dma_copy(dst=target, src=tile[0:rest, whole, 0:d])


def multiply(dst, stationary, moving):
    """`dst = stationary.T @ moving` for lists of tiles that cut the contraction: the first one overwrites."""
    for part, (left, right) in enumerate(zip(stationary, moving)):
        nisa.nc_matmul(dst=dst, stationary=left, moving=right, accumulate=part > 0)


def columns_of(tiles, start, stop):
    """The same columns of each tile."""
    return [tile[:, start:stop] for tile in tiles]


class Visibility:
    """Which keys a query sees: `-right <= query position - key <= left`, in the same segment where there are any.

    The last query stands at the position of the last key. `left` and `right` are None where nothing bounds them.
    """

    def __init__(self, queries, keys, causal, window):
        """Set the bounds; `window` is how many positions a query looks back on, itself among them."""
        reach = None if window is None else window - 1
        self.queries, self.keys, self.shift = queries, keys, keys - queries
        self.left, self.right = reach, 0 if causal else reach
        self.tiles = {}
        self.identity = None

    def span(self, start, rows):
        """First and last key (exclusive) that any of these queries may see; the first at a multiple of 128."""
        low = 0 if self.left is None else max(0, start + self.shift - self.left)
        high = self.keys if self.right is None else min(self.keys, start + rows + self.shift + self.right)
        return low // ROWS * ROWS, max(high, 0)

    def span_of_keys(self, start, rows):
        """First and last query (exclusive) that may see any of these keys; the first at a multiple of 128."""
        low = 0 if self.right is None else max(0, start - self.shift - self.right)
        high = self.queries if self.left is None else min(self.queries, start + rows - self.shift + self.left)
        return low // ROWS * ROWS, max(high, 0)

    def hides(self, distance, rows, columns):
        """Whether a block hides anything whose first query stands `distance` positions behind its first key."""
        left = self.left is not None and distance + rows - 1 > self.left
        right = self.right is not None and distance - columns + 1 < -self.right
        return left or right

    def add_to(self, scores, query, key):
        """Hide, in PSUM `scores[queries, keys]` of one block of at most 128 x 128, what these queries do not see."""
        rows, columns = scores.shape
        distance = query + self.shift - key
        if self.hides(distance, rows, columns):
            self._add(scores, self._mask(distance, (1, -1)))

    def add_transposed(self, scores, query, key):
        """The same for PSUM `scores[keys, queries]`."""
        columns, rows = scores.shape
        distance = query + self.shift - key
        if self.hides(distance, rows, columns):
            self._add(scores, self._mask(distance, (-1, 1)))

    def add_segments(self, scores, differs):
        """Hide what a tile of 0 and `HIDDEN` says, bf16 in the shape of `scores`."""
        self._add(scores, differs)

    def _add(self, scores, mask):
        if self.identity is None:
            self.identity = nl.ndarray((ROWS, ROWS), dtype=nl.bfloat16, buffer=nl.sbuf)
            ones = nl.ndarray((ROWS, ROWS), dtype=nl.bfloat16, buffer=nl.sbuf)
            nisa.memset(dst=ones, value=1.0)
            select(self.identity, ones, 0.0, nl.equal, (1, -1), 0)
        rows, columns = scores.shape
        nisa.nc_matmul(
            dst=scores, stationary=self.identity[0:rows, 0:rows], moving=mask[0:rows, 0:columns], accumulate=True
        )

    def _mask(self, distance, steps):
        """Tile of 0 and HIDDEN for one distance; `steps` is what a partition and a column add to it."""
        key = (distance, steps)
        if key not in self.tiles:
            tile = nl.ndarray((ROWS, ROWS), dtype=nl.bfloat16, buffer=nl.sbuf)
            nisa.memset(dst=tile, value=0.0)
            if self.right is not None:
                select(tile, tile, HIDDEN, nl.greater_equal, steps, distance + self.right)
            if self.left is not None:
                select(tile, tile, HIDDEN, nl.greater_equal, (-steps[0], -steps[1]), self.left - distance)
            self.tiles[key] = tile
        return self.tiles[key]


def select(dst, data, otherwise, compare, steps, offset):
    """`data` where `offset + steps[0] * partition + steps[1] * column` compares with 0, else `otherwise`."""
    nisa.affine_select(
        dst=dst,
        pattern=[[steps[1], dst.shape[1]]],
        offset=offset,
        channel_multiplier=steps[0],
        on_true_tile=data,
        on_false_value=otherwise,
        cmp_op=compare,
    )


def load_labels(hbm, start, count):
    """Segment labels of some positions, one to a partition: fp32 `[count, 1]`; exact up to 2^24."""
    tile = nl.ndarray((count, 1), dtype=nl.float32, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=hbm.ap(pattern=[[1, count], [1, 1]], offset=start))
    return tile


def spread_labels(hbm, start, count):
    """Segment labels of some positions along the free dimension, the same on all partitions: fp32 `[128, count]`."""
    tile = nl.ndarray((ROWS, count), dtype=nl.float32, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=hbm.ap(pattern=[[0, ROWS], [1, count]], offset=start))
    return tile


def differing(own, others):
    """bf16 tile: 0 where `others[rows, n]` equals `own[rows, 1]`, else `HIDDEN`."""
    tile = nl.ndarray(others.shape, dtype=nl.bfloat16, buffer=nl.sbuf)
    nisa.tensor_scalar(
        dst=tile, data=others, op0=nl.not_equal, operand0=own, op1=nl.multiply, operand1=HIDDEN,
        engine=nisa.engine.vector,
    )  # fmt: skip
    return tile


def hidden_beyond(positions, limits):
    """fp32 `[128, n, blocks]`: 0 where `positions[128, blocks]` is at most the limit in `limits[128, n]`, else `HIDDEN`."""
    tile = nl.ndarray((ROWS, limits.shape[1], positions.shape[1]), dtype=nl.float32, buffer=nl.sbuf)
    for index in range(limits.shape[1]):
        nisa.tensor_scalar(
            dst=tile[:, index, :], data=positions, op0=nl.greater, operand0=limits[:, index : index + 1],
            op1=nl.multiply, operand1=HIDDEN, engine=nisa.engine.vector,
        )  # fmt: skip
    return tile
