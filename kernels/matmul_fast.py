"""Matrix multiplication for any M, N and K: output-stationary in all of PSUM, operands streamed once per block.

    lhsT [K, M]        a block of the result: up to 4 x 2 PSUM banks, [128, 512] fp32 each
    rhs  [K, N]                 512         512
                        128  | bank 0  | bank 1 |      for every 128 rows of K (256 in fp8 double-row):
                        128  | bank 2  | bank 3 |        load lhsT[128, 512] and rhs[128, 1024]
                        128  | bank 4  | bank 5 |        8 multiplies, one into each bank
                        128  | bank 6  | bank 7 |

Why so. A step of K keeps the tensor engine busy for 8 x 512 columns (1.72 us on trn2) and needs 384 KiB in bf16, which
the DMA engines bring in 0.95 us: the block is wide enough to be bound by the tensor engine without keeping any operand
on chip, so K has no limit and SBUF needs to hold only the loads in flight. Two steps come in one DMA: with one, issuing DMAs (0.58 us each)
is as long as the multiplies of fp8; with four, the first multiply waits longer. The last steps of a block run bank by
bank: banks finish one after another, so copying one out hides behind the multiplies of the next, and the next block
finds its first bank empty.

Bound: the tensor engine. Beside its multiplies remain the first load, the cold clock of the first windows, and copying
and storing the last tile.
"""

import nki
import nki.isa as nisa
import nki.language as nl

from .tiles import ACTIVATIONS, broadcast_rows, is_narrow, itemsize, shard, spans

BANK = nl.tile_size.psum_bank_fmax
ROWS = nl.tile_size.pmax
BANKS_M, BANKS_N = 4, 2
STEPS_PER_LOAD = 2
STEPS_PER_TURN = 4
STEPS_BY_BANK = 4


@nki.jit
def matmul(lhs, rhs, bias=None, lhs_layout="km", rhs_layout="kn", activation=None, out_dtype=None, double_row=False):
    """Return `activation(lhs @ rhs + bias)`, `[M, N]` in HBM, summed in fp32.

    Args:
        lhs: `[K, M]` ("km", contraction first, the tensor engine's own layout) or `[M, K]` ("mk"); bf16, fp16, fp32, fp8.
        rhs: `[K, N]` ("kn") or `[N, K]` ("nk"), the dtype of lhs.
        bias: `[1, N]`, added before the activation, or None.
        lhs_layout: "km" or "mk". What has its contraction second is transposed on the way in: by DMA where elements have
            2 bytes, else by the tensor engine.
        rhs_layout: "kn" or "nk".
        activation: a name in `tiles.ACTIVATIONS`, or None.
        out_dtype: dtype of the result; that of lhs unless given.
        double_row: contract fp8 operands over 256 rows at once (trn2, trn3).

    On a logical core of two (`matmul[2]`) each core computes a part of M or of N, whichever has more tiles.
    """
    assert len(lhs.shape) == len(rhs.shape) == 2, f"lhs and rhs have 2 dimensions, not {lhs.shape} and {rhs.shape}"
    assert activation in (None, *ACTIVATIONS), f"activation={activation!r}: one of {', '.join(ACTIVATIONS)}"
    K, M = lhs.shape if lhs_layout == "km" else (lhs.shape[1], lhs.shape[0])
    K_rhs, N = rhs.shape if rhs_layout == "kn" else (rhs.shape[1], rhs.shape[0])
    assert lhs_layout in ("km", "mk"), f"lhs_layout={lhs_layout!r}: km or mk"
    assert rhs_layout in ("kn", "nk"), f"rhs_layout={rhs_layout!r}: kn or nk"
    assert K_rhs == K, f"lhs contracts over {K}, rhs over {K_rhs}"
    assert bias is None or bias.shape == (1, N), f"bias has shape {bias.shape}, needs (1, {N})"
    assert not double_row or itemsize(lhs.dtype) == itemsize(rhs.dtype) == 1, (
        f"double_row takes fp8 operands, not {lhs.dtype} and {rhs.dtype}"
    )
    result = nl.ndarray((M, N), dtype=out_dtype or lhs.dtype, buffer=nl.shared_hbm)

    left = Operand(lhs, lhs_layout == "mk")
    right = Operand(rhs, rhs_layout == "nk")
    by_engine = left.by_engine or right.by_engine
    banks_m = BANKS_M // 2 if by_engine else BANKS_M
    split_m = M * BANK >= N * ROWS
    rows = shard(M, ROWS) if split_m else (0, M)
    columns = (0, N) if split_m else shard(N, BANK)
    for n, block_n in spans(columns, BANKS_N * BANK):
        bias_tile = None if bias is None else broadcast_rows(bias, n, block_n, ROWS)
        for m, block_m in spans(rows, banks_m * ROWS):
            steps = load_steps(left, right, K, (m, block_m), (n, block_n), double_row)
            tiles = [(i, j) for i in spans((0, block_m), ROWS) for j in spans((0, block_n), BANK)]
            multiply_block(result, (m, n, block_n), steps, tiles, bias_tile, activation)
    return result


class Operand:
    """One operand in HBM and how its steps of K reach SBUF with K on the partitions."""

    def __init__(self, hbm, transposed=False, first_row=0):
        """Keep the tensor; an untransposed one may begin at a later row."""
        self.hbm = hbm
        self.transposed = transposed
        self.first_row = first_row
        self.by_engine = transposed and not is_narrow(hbm.dtype)
        self.ones = None

    def load(self, k, depth, steps, pairs, column, columns):
        """Tiles of `steps` steps of K, from row k and column `column` on: [depth, columns], double-row [depth, 2, columns]."""
        if self.by_engine:
            return self.turn(k, depth, steps, pairs, column, columns)
        if self.transposed:
            tiles = [nl.ndarray((depth, columns), dtype=self.hbm.dtype, buffer=nl.sbuf) for _ in range(steps)]
            for step, tile in enumerate(tiles):
                k_step = k + step * depth
                nisa.dma_transpose(dst=tile, src=self.hbm[column : column + columns, k_step : k_step + depth])
            return tiles
        width = self.hbm.shape[1]
        tile = nl.ndarray((depth, steps, pairs, columns), dtype=self.hbm.dtype, buffer=nl.sbuf)
        pattern = [[width, depth], [pairs * depth * width, steps], [depth * width, pairs], [1, columns]]
        nisa.dma_copy(dst=tile, src=self.hbm.ap(pattern=pattern, offset=(self.first_row + k) * width + column))
        return steps_of(tile)

    def turn(self, k, depth, steps, pairs, column, columns):
        """Steps of an operand with K in its rows: read as it lies, 128 columns a DMA, and turned on the tensor engine."""
        rows = []
        for at, size in spans((0, columns), ROWS):
            rows.append(nl.ndarray((size, steps * pairs * depth), dtype=self.hbm.dtype, buffer=nl.sbuf))
            nisa.dma_copy(dst=rows[-1], src=self.hbm[column + at : column + at + size, k : k + steps * pairs * depth])
        tile = nl.ndarray((depth, steps, pairs, columns), dtype=self.hbm.dtype, buffer=nl.sbuf)
        for index in range(steps * pairs):
            target = tile[:, index // pairs, index % pairs, :]
            for at, size in spans((0, columns), BANK):
                # TensorE's transpose mode leaves fp8 in 16-bit places: a product with the identity is as exact, in fp32.
                wide = itemsize(self.hbm.dtype) == 1
                turned = nl.ndarray((depth, size), dtype=nl.float32 if wide else self.hbm.dtype, buffer=nl.psum)
                for part, width in spans((at, at + size), ROWS):
                    source = rows[part // ROWS][:, index * depth : (index + 1) * depth]
                    place = turned[:, part - at : part - at + width]
                    if wide:
                        nisa.nc_matmul(dst=place, stationary=source, moving=self.identity(width))
                    else:
                        nisa.nc_transpose(dst=place, data=source, engine=nisa.engine.tensor)
                nisa.tensor_copy(dst=target[:, at : at + size], src=turned)
        return steps_of(tile)

    def identity(self, size):
        """The identity `[size, size]` in bf16, which multiplies fp8 too; made once."""
        if self.ones is None:
            self.ones = nl.shared_identity_matrix(ROWS, dtype=nl.bfloat16)
        return self.ones[0:size, 0:size]


def steps_of(tile):
    """The steps of a tile `[depth, steps, pairs, columns]`: `[depth, 2, columns]` each in double-row, else `[depth, columns]`."""
    _, steps, pairs, _ = tile.shape
    return [tile[:, step, :, :] if pairs == 2 else tile[:, step, 0, :] for step in range(steps)]


def load_steps(left, right, K, in_m, in_n, double_row):
    """Triples (stationary, moving, double row or not) for every step of K of one block."""
    deep = 2 * ROWS if double_row else ROWS
    most = steps_per_load(left, right)
    steps, k = [], 0
    while k < K:
        count, depth, pairs = min(most, (K - k) // deep), ROWS, 2 if double_row else 1
        if count == 0:
            # What is left of K: an even number of rows still pairs up, a last single row goes alone.
            count, pairs = 1, 2 if double_row and K - k > 1 else 1
            depth = (K - k) // pairs
        stationary = left.load(k, depth, count, pairs, *in_m)
        moving = right.load(k, depth, count, pairs, *in_n)
        steps += [(s, m, pairs == 2) for s, m in zip(stationary, moving)]
        k += count * depth * pairs
    return steps


def steps_per_load(left, right):
    """Steps of K in one DMA: long rows where they are turned afterwards, one where DMA turns them."""
    if left.by_engine or right.by_engine:
        return STEPS_PER_TURN
    return 1 if left.transposed or right.transposed else STEPS_PER_LOAD


def multiply_block(result, place, steps, tiles, bias_tile, activation):
    """Multiply all steps into one bank per tile; store a row of tiles when its last bank is finished."""
    m, n, block_n = place
    banks = [nl.ndarray((i[1], j[1]), dtype=nl.float32, buffer=nl.psum) for i, j in tiles]
    late = max(len(steps) - STEPS_BY_BANK, 0)
    for step in steps[:late]:
        for bank, (i, j) in zip(banks, tiles):
            multiply(bank, step, i, j)
    rounded = None
    for bank, (i, j) in zip(banks, tiles):
        for step in steps[late:]:
            multiply(bank, step, i, j)
        if j[0] == 0:
            rounded = nl.ndarray((i[1], block_n), dtype=result.dtype, buffer=nl.sbuf)
        bias_part = None if bias_tile is None else bias_tile[0 : i[1], j[0] : j[0] + j[1]]
        finish(rounded[:, j[0] : j[0] + j[1]], bank, bias_part, activation)
        if j[0] + j[1] == block_n:
            nisa.dma_copy(dst=result[m + i[0] : m + i[0] + i[1], n : n + block_n], src=rounded)


def multiply(bank, step, in_m, in_n):
    """Add one step of K to one bank."""
    stationary, moving, pairs = step
    rows, columns = slice(in_m[0], in_m[0] + in_m[1]), slice(in_n[0], in_n[0] + in_n[1])
    if pairs:
        mode = nisa.matmul_perf_mode.double_row
        nisa.nc_matmul(dst=bank, stationary=stationary[:, :, rows], moving=moving[:, :, columns], perf_mode=mode)
    else:
        nisa.nc_matmul(dst=bank, stationary=stationary[:, rows], moving=moving[:, columns])


def finish(dst, bank, bias, activation):
    """Copy a bank out of PSUM through bias and activation, rounded once."""
    if bias is not None:
        summed = dst if activation is None else nl.ndarray(dst.shape, dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_tensor(dst=summed, data1=bank, data2=bias, op=nl.add)
        bank = summed
    if activation is not None:
        nisa.activation(dst=dst, op=ACTIVATIONS[activation], data=bank)
    elif bias is None:
        nisa.tensor_copy(dst=dst, src=bank)
