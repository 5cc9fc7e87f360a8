"""What `fused_qkv` does with heads once they are projected: bias, per-head norm and RoPE, d on the partitions.

    d = 32, 64       a tile holds 4 or 2 heads
    d <= 128         a tile holds one head
    d <= 256         a head takes two tiles, cut in the middle: the pairs of RoPE (i, i + d / 2) then lie on the same
                     partition of the two tiles, and turn without crossing partitions; neighbours stay in one tile

What else crosses partitions is a multiply by a constant matrix: ones for the mean square of a head, a signed permutation
for the other of each pair.
"""

import nki.isa as nisa
import nki.language as nl

from .projection import ROWS
from .tiles import load_aside, spans


class Layout:
    """How heads of `d` lie on tiles of at most 128 partitions."""

    def __init__(self, d, interleaved):
        self.d, self.interleaved, self.split = d, interleaved, d > ROWS
        # Several only where each starts at a partition that engines can address.
        self.together = ROWS // d if d in (32, 64) else 1

    def units(self, heads):
        """(first head, heads) of what is finished together: as many heads as share a tile."""
        return spans((0, heads), self.together)

    def parts(self, count):
        """(first row, rows) of each tile of a unit of `count` heads."""
        if not self.split:
            return [(0, count * self.d)]
        first = self.d // 2
        first += first % 2 if self.interleaved else 0
        return [(0, first), (first, self.d - first)]

    def runs(self, part):
        """Rows of a tile of a full unit by the angle that turns them: slices, each with its first angle and how many.

        They alternate: first of each pair, second of each pair; but where the halves of a head lie on two tiles, every
        row of each has its angle, and one slice says so.
        """
        low, rows = part
        if self.split and not self.interleaved:
            return [(slice(0, rows), 0, rows)]
        runs = []
        for head in range(0, rows, self.d):
            pairs = min(self.d, rows - head) // 2
            for second in range(2):
                first = head + (second if self.interleaved else second * pairs)
                step = 2 if self.interleaved else 1
                runs.append((slice(first, first + step * (pairs - 1) + 1, step), low // 2, pairs))
        return runs


class Finish:
    """Per-head norm and RoPE of units of heads: constants once, tables of angles once for a block of tokens."""

    def __init__(self, x, layout, cos, sin, epsilon):
        self.x, self.layout, self.cos, self.sin = x, layout, cos, sin
        self.parts = layout.parts(layout.together)
        self.rows = max(rows for _, rows in self.parts)
        self.ones, self.tables, self.open = None, [], []
        self.across = cos is not None and not (layout.split and not layout.interleaved)
        self.turn = self.rotation() if self.across else None
        self.epsilon = nl.ndarray((self.rows, 1), dtype=nl.float32, buffer=nl.sbuf)
        nisa.memset(dst=self.epsilon, value=epsilon)

    def rotation(self):
        """The matrix R with `(R.T @ x)` = the other of each pair, negated in the first: columns of an identity, moved."""
        identity = nl.shared_identity_matrix(self.rows, dtype=self.x.dtype)
        matrix = nl.ndarray((self.rows, self.rows), dtype=self.x.dtype, buffer=nl.sbuf)
        runs = [rows for rows, _, _ in self.layout.runs(self.parts[0])]
        for first, second in zip(runs[::2], runs[1::2]):
            nisa.tensor_scalar(dst=matrix[:, first], data=identity[:, second], op0=nl.multiply, operand0=-1.0)
            nisa.tensor_copy(dst=matrix[:, second], src=identity[:, first])
        return matrix

    def blocks_of_ones(self):
        """Ones where row and column belong to the same head."""
        if self.ones is None:
            d, together = self.layout.d, self.layout.together
            self.ones = nl.ndarray((self.rows, self.rows), dtype=self.x.dtype, buffer=nl.sbuf)
            nisa.memset(dst=self.ones, value=0.0 if together > 1 else 1.0)
            for low in range(0, self.rows if together > 1 else 0, d):
                nisa.memset(dst=self.ones[low : low + d, low : low + d], value=1.0)
        return self.ones

    def load(self, start, size):
        """Tables of a block's tokens: for each tile of a unit cos and sin of every row, fp32 `[rows, size]`."""
        if self.cos is None:
            return
        self.tables, before = [], None
        for part in self.parts:
            runs = self.layout.runs(part)
            if runs != before:
                pair = [self.spread(table, start, size, part[1], runs) for table in (self.cos, self.sin)]
            self.tables.append(pair)
            before = runs

    def spread(self, table, start, size, rows, runs):
        """A table `[tokens, d / 2]` with d on the partitions: tokens as they lie, repeated along the row, then turned."""
        result = nl.ndarray((rows, size), dtype=nl.float32, buffer=nl.sbuf)
        for at, p in spans((0, size), ROWS):
            narrow = nl.ndarray((p, table.shape[1]), dtype=nl.float32, buffer=nl.sbuf)
            load_aside(narrow, table[start + at : start + at + p, :])
            wide = nl.ndarray((p, rows), dtype=nl.float32, buffer=nl.sbuf)
            for places, angle, pairs in runs:
                target, source = wide[:, places], narrow[:, angle : angle + pairs]
                nisa.tensor_copy(dst=target, src=source, engine=nisa.engine.vector)
            bank = nl.ndarray((rows, p), dtype=nl.float32, buffer=nl.psum)
            nisa.nc_transpose(dst=bank, data=wide, engine=nisa.engine.tensor)
            nisa.tensor_copy(dst=result[:, at : at + p], src=bank)
        return result

    def begin(self, banks, biases, gains, targets):
        """Start to finish a unit; what follows its first multiply waits until the next unit is under way."""
        steps = self.steps(banks, biases, gains, targets)
        next(steps, None)
        self.open.append(steps)

    def advance(self):
        """Take every open unit one multiply further."""
        self.open = [steps for steps in self.open if next(steps, self) is not self]

    def drain(self):
        """Finish what is open."""
        while self.open:
            self.advance()

    def steps(self, banks, biases, gains, targets):
        """Bias, rounding, per-head norm, RoPE and store of the tiles of a unit; yields where the tensor engine would wait."""
        tiles = [self.rounded(bank, bias) for bank, bias in zip(banks, biases)]
        if gains is not None:
            squares = [self.squared(tile) for tile in tiles]
            yield
            tiles = self.normalised(tiles, squares, gains)
        if self.cos is not None:
            yield
            tiles = [self.rotated(tiles, index) for index in range(len(tiles))]
        for tile, target in zip(tiles, targets):
            nisa.dma_copy(dst=target, src=tile)

    def rounded(self, bank, bias):
        """A finished bank plus its bias, in the results' dtype."""
        tile = nl.ndarray(bank.shape, dtype=self.x.dtype, buffer=nl.sbuf)
        if bias is None:
            nisa.tensor_copy(dst=tile, src=bank)
        else:
            nisa.tensor_scalar(dst=tile, data=bank, op0=nl.add, operand0=bias)
        return tile

    def squared(self, tile):
        """Squares of a tile, in its dtype: they are summed by the tensor engine."""
        squares = nl.ndarray(tile.shape, dtype=tile.dtype, buffer=nl.sbuf)
        nisa.activation(dst=squares, op=nl.square, data=tile)
        return squares

    def normalised(self, tiles, squares, gains):
        """`tile / sqrt(mean over d of its squares + epsilon) * gain`; a multiply by ones sums over the partitions."""
        rows, size = max(tile.shape[0] for tile in tiles), tiles[0].shape[1]
        total = nl.ndarray((rows, size), dtype=nl.float32, buffer=nl.psum)
        for index, part in enumerate(squares):
            ones = self.blocks_of_ones()[0 : part.shape[0], 0:rows]
            nisa.nc_matmul(dst=total, stationary=ones, moving=part, accumulate=index > 0)
        scale = nl.ndarray((rows, size), dtype=nl.float32, buffer=nl.sbuf)
        epsilon = self.epsilon[0:rows, :]
        nisa.activation(dst=scale, op=nl.rsqrt, data=total, scale=1.0 / self.layout.d, bias=epsilon)
        results = []
        for tile, gain in zip(tiles, gains):
            p = tile.shape[0]
            result = nl.ndarray(tile.shape, dtype=tile.dtype, buffer=nl.sbuf)
            nisa.scalar_tensor_tensor(
                dst=result, data=tile, op0=nl.multiply, operand0=gain[0:p, :], op1=nl.multiply, operand1=scale[0:p, :]
            )
            results.append(result)
        return results

    def rotated(self, tiles, index):
        """`tile * cos + other * sin` for one tile of a unit, the other of each pair negated in the first."""
        tile = tiles[index]
        rows, size = tile.shape
        cos, sin = (table[0:rows, :] for table in self.tables[index])
        if self.across:
            other, join = nl.ndarray((rows, size), dtype=nl.float32, buffer=nl.psum), nl.add
            nisa.nc_matmul(dst=other, stationary=self.turn[0:rows, 0:rows], moving=tile)
        else:
            other, join = tiles[1 - index], nl.subtract if index == 0 else nl.add
        kept, turned = (nl.ndarray((rows, size), dtype=nl.float32, buffer=nl.sbuf) for _ in range(2))
        nisa.tensor_tensor(dst=kept, data1=tile, data2=cos, op=nl.multiply, engine=nisa.engine.vector)
        nisa.tensor_tensor(dst=turned, data1=other, data2=sin, op=nl.multiply, engine=nisa.engine.vector)
        result = nl.ndarray((rows, size), dtype=tile.dtype, buffer=nl.sbuf)
        nisa.tensor_tensor(dst=result, data1=kept, data2=turned, op=join, engine=nisa.engine.vector)
        return result
