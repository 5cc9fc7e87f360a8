"""Fused attention of one head as device profiles show it, stage by stage: softmax(q.T k) v with rows never leaving SBUF.

What the profiles hold: q, k and v of [128, S] (head dimension on the partitions), identities of q's type and of fp32
loaded once, v transposed on TensorE, scores of 128 rows and 512 columns to a PSUM bank, row maxima and sums on VectorE,
exponentials on ScalarE, weights transposed in fp32, and one DMA for the result. The order on each engine is the one that
ran; which engine copies PSUM to SBUF is left to the compiler.
"""

# Kernels are plain NKI source, unannotated as their compiler expects them.
# ruff: noqa: ANN001, ANN201, ANN202, ANN204
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np

ROWS, BANK = 128, 512


def loaded(hbm):
    """All of an HBM tensor in SBUF."""
    tile = nl.ndarray(hbm.shape, dtype=hbm.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=hbm)
    return tile


def transposed(tiles, identity, dtype=nl.float32):
    """Up to four tiles of 128 columns, transposed into one bank and copied to SBUF."""
    bank = nl.ndarray((ROWS, BANK), dtype=identity.dtype, buffer=nl.psum)
    for place, tile in enumerate(tiles):
        part = bank[:, place * ROWS : (place + 1) * ROWS]
        nisa.nc_matmul(dst=part, stationary=tile, moving=identity, is_transpose=True)
    result = nl.ndarray((ROWS, BANK), dtype=dtype, buffer=nl.sbuf)
    nisa.tensor_copy(dst=result, src=bank)
    return result


def columns(tile, index):
    """128 columns of a tile."""
    return tile[:, index * ROWS : (index + 1) * ROWS]


def statistics(count):
    """A tile of numbers for each row."""
    return nl.ndarray((ROWS, count), dtype=nl.float32, buffer=nl.sbuf)


class Softmax:
    """The exponentials of a group of four row tiles, with their maxima and sums: one column for each tile."""

    def __init__(self, width):
        self.banks = width // BANK
        self.maxima, self.sums = statistics(4 * self.banks), statistics(4 * self.banks)
        self.negative, self.total, self.inverse = (statistics(4) for _ in range(3))
        self.weights = {}

    def maximum(self, tile, bank, scores):
        at = tile * self.banks + bank
        nisa.tensor_reduce(dst=self.maxima[:, at : at + 1], op=nl.maximum, data=scores, axis=1)

    def close(self):
        maxima = self.maxima.reshape((ROWS, 4, self.banks))
        nisa.tensor_reduce(dst=self.negative, op=nl.maximum, data=maxima, axis=2, negate=True)

    def exponential(self, tile, bank, scores):
        weights = nl.ndarray((ROWS, BANK), dtype=nl.float32, buffer=nl.sbuf)
        bias = self.negative[:, tile : tile + 1]
        nisa.activation(dst=weights, op=nl.exp, data=scores, bias=bias)
        self.weights[tile, bank] = weights

    def sum(self, tile, bank):
        at = tile * self.banks + bank
        nisa.tensor_reduce(dst=self.sums[:, at : at + 1], op=nl.add, data=self.weights[tile, bank], axis=1)

    def invert(self):
        nisa.tensor_reduce(dst=self.total, op=nl.add, data=self.sums.reshape((ROWS, 4, self.banks)), axis=2)
        nisa.reciprocal(dst=self.inverse, data=self.total)


def score(q, k, tile, bank):
    """Scores of 128 rows and 512 columns, in PSUM."""
    scores = nl.ndarray((ROWS, BANK), dtype=nl.float32, buffer=nl.psum)
    nisa.nc_matmul(dst=scores, stationary=columns(q, tile), moving=k[:, bank * BANK : (bank + 1) * BANK])
    return scores


def copied(psum):
    """A bank of PSUM in SBUF."""
    tile = nl.ndarray(psum.shape, dtype=nl.float32, buffer=nl.sbuf)
    nisa.tensor_copy(dst=tile, src=psum)
    return tile


def weigh(softmax, tile, weights, values, result, at):
    """One row tile of the result: its transposed weights times the transposed values, over the sum of its row."""
    psum = nl.ndarray((ROWS, ROWS), dtype=nl.float32, buffer=nl.psum)
    for part in range(4 * len(weights)):
        nisa.nc_matmul(
            dst=psum,
            stationary=columns(weights[part // 4], part % 4),
            moving=columns(values[part // 4], part % 4),
            accumulate=part > 0,
        )
    scale = softmax.inverse[:, tile : tile + 1]
    nisa.tensor_scalar(dst=result[:, at, :], data=psum, op0=nl.multiply, operand0=scale)


def stored(out, result):
    """[128, tiles, 128] in SBUF to the rows of `out`, by one DMA."""
    nisa.dma_copy(dst=out.ap(pattern=[[ROWS, ROWS], [ROWS * ROWS, result.shape[1]], [1, ROWS]]), src=result)


@nki.jit
def fused_512(q, k, v):
    """S = 512 in bf16: four row tiles of one bank each."""
    out = nl.ndarray((512, ROWS), dtype=q.dtype, buffer=nl.shared_hbm)
    narrow, wide = (loaded(nl.shared_constant(np.eye(ROWS, dtype=np.float32).astype(t))) for t in (q.dtype, np.float32))
    v, q, k = loaded(v), loaded(q), loaded(k)
    values = transposed([columns(v, i) for i in range(4)], narrow)
    softmax = Softmax(512)
    scores = [score(q, k, tile, 0) for tile in range(4)]
    for tile in range(4):
        softmax.maximum(tile, 0, scores[tile])
    softmax.close()
    for tile in range(4):
        softmax.exponential(tile, 0, scores[tile])
    weights = []
    for tile in range(4):
        softmax.sum(tile, 0)
        if tile == 1:
            weights.append(transposed([columns(softmax.weights[0, 0], i) for i in range(4)], wide))
    softmax.invert()
    weights += [transposed([columns(softmax.weights[tile, 0], i) for i in range(4)], wide) for tile in (1, 2, 3)]
    result = nl.ndarray((ROWS, 4, ROWS), dtype=nl.float32, buffer=nl.sbuf)
    for tile in range(4):
        weigh(softmax, tile, [weights[tile]], [values], result, tile)
    stored(out, result)
    return out


@nki.jit
def fused_1024(q, k, v):
    """S = 1024 in fp32: two groups of four row tiles, two banks each; the second bank's scores come first."""
    out = nl.ndarray((1024, ROWS), dtype=q.dtype, buffer=nl.shared_hbm)
    identity = loaded(nl.shared_constant(np.eye(ROWS, dtype=np.float32)))
    v, q, k = loaded(v), loaded(q), loaded(k)
    second = transposed([columns(v, i) for i in range(4, 8)], identity)
    values = [transposed([columns(v, i) for i in range(4)], identity), second]
    result = nl.ndarray((ROWS, 8, ROWS), dtype=nl.float32, buffer=nl.sbuf)
    for group in range(2):
        _group_1024(q, k, values, identity, group, result)
    stored(out, result)
    return out


def _group_1024(q, k, values, identity, group, result):
    softmax, scores, weights = Softmax(1024), {}, {}
    for tile in (3, 0, 1, 2) if group == 0 else range(4):
        scores[tile, 1] = copied(score(q, k, 4 * group + tile, 1))
    for tile in range(4):
        scores[tile, 0] = score(q, k, 4 * group + tile, 0)
    for tile, bank in [(tile, 1) for tile in range(4)] + [(tile, 0) for tile in range(4)]:
        softmax.maximum(tile, bank, scores[tile, bank])
    softmax.close()
    order = [(2, 0), (2, 1), (0, 0), (0, 1), (1, 0), (1, 1), (3, 0), (3, 1)]
    for tile, bank in order:
        softmax.exponential(tile, bank, scores[tile, bank])
    for tile, bank in order:
        softmax.sum(tile, bank)
        tiles = [columns(softmax.weights[tile, bank], i) for i in range(4)]
        weights[tile, bank] = transposed(tiles, identity)
    softmax.invert()
    for tile in (2, 0, 1, 3) if group == 0 else range(4):
        weigh(softmax, tile, [weights[tile, 0], weights[tile, 1]], values, result, 4 * group + tile)


def spilled_rows(rows, name):
    """[128, 4, 512] tiles through HBM and back in halves, as programs that keep a matrix of scores there do."""
    hbm = nl.ndarray((4 * ROWS, BANK), dtype=nl.float32, buffer=nl.private_hbm, name=name)
    back = []
    for half in range(2):
        pattern = [[BANK, ROWS], [ROWS * BANK, 2], [1, BANK]]
        far = hbm.ap(pattern=pattern, offset=2 * half * ROWS * BANK)
        nisa.dma_copy(dst=far, src=rows[half])
    for half in range(2):
        tile = nl.ndarray((ROWS, 2, BANK), dtype=nl.float32, buffer=nl.sbuf)
        far = hbm.ap(pattern=pattern, offset=2 * half * ROWS * BANK)
        nisa.dma_copy(dst=tile, src=far)
        back.append(tile)
    return back


@nki.jit
def unfused_512(q, k, v):
    """S = 512 in bf16 with the scores and the weights written to HBM and read again."""
    out = nl.ndarray((512, ROWS), dtype=q.dtype, buffer=nl.shared_hbm)
    wide, narrow = (loaded(nl.shared_constant(np.eye(ROWS, dtype=np.float32).astype(t))) for t in (np.float32, q.dtype))
    q, k, v = loaded(q), loaded(k), loaded(v)
    scores = [nl.ndarray((ROWS, 2, BANK), dtype=nl.float32, buffer=nl.sbuf) for _ in range(2)]
    for tile in range(4):
        nisa.tensor_copy(dst=scores[tile // 2][:, tile % 2, :], src=score(q, k, tile, 0))
    values = transposed([columns(v, i) for i in range(4)], narrow)
    scores = spilled_rows(scores, "scores")
    softmax = Softmax(512)
    for tile in range(4):
        softmax.maximum(tile, 0, scores[tile // 2][:, tile % 2, :])
    softmax.close()
    for tile in range(4):
        softmax.exponential(tile, 0, scores[tile // 2][:, tile % 2, :])
    for tile in range(4):
        softmax.sum(tile, 0)
    softmax.invert()
    weights = [nl.ndarray((ROWS, 2, BANK), dtype=nl.float32, buffer=nl.sbuf) for _ in range(2)]
    for tile in range(4):
        place = weights[tile // 2][:, tile % 2, :]
        inverse = softmax.inverse[:, tile : tile + 1]
        nisa.tensor_scalar(dst=place, data=softmax.weights[tile, 0], op0=nl.multiply, operand0=inverse)
    weights = spilled_rows(weights, "weights")
    result = nl.ndarray((ROWS, 4, ROWS), dtype=q.dtype, buffer=nl.sbuf)
    for half in range(2):
        turned = [transposed([columns(weights[half][:, tile, :], i) for i in range(4)], wide) for tile in range(2)]
        for tile in range(2):
            psum = nl.ndarray((ROWS, ROWS), dtype=nl.float32, buffer=nl.psum)
            for part in range(4):
                left, right = columns(turned[tile], part), columns(values, part)
                nisa.nc_matmul(dst=psum, stationary=left, moving=right, accumulate=part > 0)
            nisa.tensor_copy(dst=result[:, 2 * half + tile, :], src=psum)
    stored(out, result)
    return out
