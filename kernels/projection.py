"""What the kernels around a projection share: tokens normalised and turned, weights streamed in wide columns."""

import nki.isa as nisa
import nki.language as nl

from .tiles import broadcast_rows, itemsize, load_aside, spans

BANK = nl.tile_size.psum_bank_fmax
ROWS = nl.tile_size.pmax
BANK_BYTES = 4 * BANK
STEPS_PER_LOAD = 4
CHUNK_BYTES = 32768


class Norm:
    """How tokens are normalised over the hidden dimension: "rms", "layer" or None; gain and offset on every partition."""

    def __init__(self, kind, hidden, gain, offset, epsilon, rows):
        assert kind in ("rms", "layer", None), f"norm={kind!r}: rms, layer or None"
        assert kind is not None or (gain is None and offset is None), "gain and offset need norm rms or layer"
        assert kind == "layer" or offset is None, "an offset needs norm layer"
        for name, vector in (("gain", gain), ("offset", offset)):
            assert vector is None or vector.shape == (1, hidden), (
                f"{name} has shape {vector.shape}, needs (1, {hidden})"
            )
        self.kind, self.hidden = kind, hidden
        # trn1's scalar engine cannot multiply and add by columns.
        first_generation = nisa.get_nc_version() < nisa.nc_version.gen3
        self.second = nisa.engine.vector if first_generation else nisa.engine.scalar
        self.gain = None if gain is None else broadcast_rows(gain, 0, hidden, rows)
        self.offset = None if offset is None else broadcast_rows(offset, 0, hidden, rows)
        self.epsilon = nl.ndarray((rows, 1), dtype=nl.float32, buffer=nl.sbuf)
        nisa.memset(dst=self.epsilon, value=epsilon)

    def apply(self, tile):
        """The normalised rows of a tile `[p, hidden]`, in its dtype; the arithmetic is fp32."""
        return self.finish(tile, self.begin(tile))

    def begin(self, tile):
        """Statistics of the rows as `(scale, bias)` columns: the normalised row is `row * scale + bias`."""
        if self.kind is None:
            return None
        return self.layer_statistics(tile) if self.kind == "layer" else (self.rms_scale(tile), None)

    def finish(self, tile, statistics):
        """The rows normalised with their statistics, gain and offset."""
        if self.kind is None:
            return tile
        if self.kind == "layer":
            return self.completed(tile, self.centred(tile, statistics))
        result = nl.ndarray(tile.shape, dtype=tile.dtype, buffer=nl.sbuf)
        self.scaled(result, tile, statistics[0])
        return result

    def centred(self, tile, statistics):
        """Rows less their mean and over their deviation; in the tile's dtype where nothing follows, else in fp32."""
        last = self.gain is None and self.offset is None
        centred = nl.ndarray(tile.shape, dtype=tile.dtype if last else nl.float32, buffer=nl.sbuf)
        scale, bias = statistics
        nisa.tensor_scalar(
            dst=centred, data=tile, op0=nl.multiply, operand0=scale, op1=nl.add, operand1=bias, engine=self.second
        )
        return centred

    def completed(self, tile, centred):
        """Centred rows times the gain plus the offset, in the tile's dtype."""
        vectors = [(self.gain, nl.multiply, nisa.engine.vector), (self.offset, nl.add, nisa.engine.gpsimd)]
        wanted = [step for step in vectors if step[0] is not None]
        for vector, op, engine in wanted:
            dtype = tile.dtype if vector is wanted[-1][0] else nl.float32
            result = nl.ndarray(tile.shape, dtype=dtype, buffer=nl.sbuf)
            nisa.tensor_tensor(dst=result, data1=centred, data2=vector[0 : tile.shape[0], :], op=op, engine=engine)
            centred = result
        return centred

    def scaled(self, result, tile, scale):
        """Rows times their scale, and times the gain where there is one, in one pass."""
        if self.gain is None:
            nisa.tensor_scalar(dst=result, data=tile, op0=nl.multiply, operand0=scale)
            return
        gain = self.gain[0 : tile.shape[0], :]
        nisa.scalar_tensor_tensor(
            dst=result, data=tile, op0=nl.multiply, operand0=scale, op1=nl.multiply, operand1=gain
        )

    def rms_scale(self, tile):
        """1 / sqrt(mean of squares + epsilon) of each row: one pass squares and sums."""
        p = tile.shape[0]
        squares = nl.ndarray(tile.shape, dtype=tile.dtype, buffer=nl.sbuf)
        total = nl.ndarray((p, 1), dtype=nl.float32, buffer=nl.sbuf)
        scale = nl.ndarray((p, 1), dtype=nl.float32, buffer=nl.sbuf)
        nisa.activation_reduce(dst=squares, op=nl.square, data=tile, reduce_op=nl.add, reduce_res=total)
        nisa.activation(dst=scale, op=nl.rsqrt, data=total, scale=1.0 / self.hidden, bias=self.epsilon[0:p, :])
        return scale

    def layer_statistics(self, tile):
        """1 / sqrt(variance + epsilon) of each row, and -mean times that."""
        p = tile.shape[0]
        parts = spans((0, self.hidden), nl.tile_size.bn_stats_fmax)
        stats = nl.ndarray((p, 6 * len(parts)), dtype=nl.float32, buffer=nl.sbuf)
        for index, (at, size) in enumerate(parts):
            nisa.bn_stats(dst=stats[:, 6 * index : 6 * index + 6], data=tile[:, at : at + size])
        both = nl.ndarray((p, 2), dtype=nl.float32, buffer=nl.sbuf)
        nisa.bn_aggr(dst=both, data=stats)
        scale = nl.ndarray((p, 1), dtype=nl.float32, buffer=nl.sbuf)
        nisa.activation(dst=scale, op=nl.rsqrt, data=both[:, 1:2], bias=self.epsilon[0:p, :])
        # On ScalarE too: VectorE would wait for the root before it goes on.
        lowered = nl.ndarray((p, 1), dtype=nl.float32, buffer=nl.sbuf)
        nisa.activation(dst=lowered, op=nl.copy, data=both[:, 0:1], scale=-1.0)
        bias = nl.ndarray((p, 1), dtype=nl.float32, buffer=nl.sbuf)
        nisa.activation(dst=bias, op=nl.copy, data=lowered, scale=scale)
        return scale, bias


class Block:
    """Up to 512 tokens and, once prepared, their normalised tiles `[128 of hidden, tokens]`."""

    def __init__(self, x, start, size, norm):
        self.x, self.start, self.size, self.norm = x, start, size, norm
        self.turned = []
        self.work = None

    def step(self):
        """Prepare 128 more tokens."""
        if self.work is None:
            self.work = turned_tokens(self.x, self.start, self.size, self.norm, self.turned)
        next(self.work, None)

    def prepare(self):
        """Prepare what is left."""
        for _ in range(-(-self.size // ROWS) + 1):
            self.step()


def turned_tokens(x, start, tokens, norm, turned):
    """Append to `turned` the tiles `[<= 128 of hidden, tokens]` of normalised tokens; yields after each 128 tokens and once more.

    Rows are transposed one step after they are normalised, so that the tensor engine has other work while it would wait.
    """
    hidden = x.shape[1]
    whole, rest = divmod(hidden, ROWS)
    # Several transposes share a PSUM bank, so that one copy brings them out.
    per_bank = max(BANK_BYTES // (itemsize(x.dtype) * min(ROWS, tokens)), 1)
    groups = [(at * ROWS, size, ROWS) for at, size in spans((0, whole), per_bank)]
    groups += [(whole * ROWS, 1, rest)] if rest else []
    stores = [nl.ndarray((depth, count, tokens), dtype=x.dtype, buffer=nl.sbuf) for _, count, depth in groups]
    turned += [store[:, index, :] for store in stores for index in range(store.shape[1])]
    before = None
    for at, p in spans((0, tokens), ROWS):
        tile = nl.ndarray((p, hidden), dtype=x.dtype, buffer=nl.sbuf)
        load_aside(tile, x[start + at : start + at + p, :])
        rows = norm.apply(tile)
        if before is not None:
            turn_rows(*before, groups, stores)
        before = rows, at
        yield
    turn_rows(*before, groups, stores)
    yield


def turn_rows(rows, at, groups, stores):
    """Transpose `rows[p, hidden]` into columns [at, at + p) of the stores."""
    p = rows.shape[0]
    for (column, count, depth), store in zip(groups, stores):
        bank = nl.ndarray((depth, count, p), dtype=rows.dtype, buffer=nl.psum)
        for index in range(count):
            piece = rows[:, column + index * depth : column + (index + 1) * depth]
            nisa.nc_transpose(dst=bank[:, index, :], data=piece, engine=nisa.engine.tensor)
        nisa.tensor_copy(dst=store[:, :, at : at + p], src=bank)


def chunk_columns(weight):
    """Columns of a weight that are on chip at once for all of its rows: at most a bank, less where it is deep."""
    deep = -(-weight.shape[0] // ROWS) * itemsize(weight.dtype)
    return min(BANK, max(CHUNK_BYTES // deep // ROWS, 1) * ROWS)


def load_columns(weight, column, columns):
    """All tiles `[<= 128, columns]` of a weight's rows, on chip at once."""
    return list(stream_rows(weight, column, columns))


def stream_rows(weight, column, columns):
    """Yield tiles `[<= 128, columns]` of a weight from its first rows to its last, four to a DMA."""
    depth, width = weight.shape
    for at, rows in spans((0, depth), STEPS_PER_LOAD * ROWS):
        count = max(rows // ROWS, 1)
        size = min(rows, ROWS)
        tile = nl.ndarray((size, count, columns), dtype=weight.dtype, buffer=nl.sbuf)
        pattern = [[width, size], [ROWS * width, count], [1, columns]]
        nisa.dma_copy(dst=tile, src=weight.ap(pattern=pattern, offset=at * width + column))
        yield from [tile[:, index, :] for index in range(count)]
        rest = rows - count * size
        if rest:
            last = nl.ndarray((rest, columns), dtype=weight.dtype, buffer=nl.sbuf)
            nisa.dma_copy(dst=last, src=weight[depth - rest : depth, column : column + columns])
            yield last


def accumulate(bank, stationary, moving):
    """Sum the products of all pairs of tiles in one bank."""
    for left, right in zip(stationary, moving):
        nisa.nc_matmul(dst=bank, stationary=left, moving=right)


def turned_vector(vector, column, count, size, step):
    """`count` runs of `size` elements of a `[1, N]`, `step` apart, as fp32 columns `[size, count]`: read as rows, then turned."""
    result = nl.ndarray((size, count), dtype=nl.float32, buffer=nl.sbuf)
    for at, rows in spans((0, count), ROWS):
        tile = nl.ndarray((rows, size), dtype=vector.dtype, buffer=nl.sbuf)
        load_aside(tile, vector.ap(pattern=[[step, rows], [1, size]], offset=column + at * step))
        bank = nl.ndarray((size, rows), dtype=vector.dtype, buffer=nl.psum)
        nisa.nc_transpose(dst=bank, data=tile, engine=nisa.engine.tensor)
        nisa.tensor_copy(dst=result[:, at : at + rows], src=bank)
    return result
