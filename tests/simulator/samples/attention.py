"""Causal attention with every SBUF and PSUM tile at an explicit address, and addresses that rotate."""

from __future__ import annotations

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np

TARGETS = ("trn1", "trn2", "trn3")
PMAX = 128
BANK = 2048


class Rotation:
    """Tiles of one shape at `depth` addresses that take turns."""

    def __init__(self, start: int, shape, dtype, depth: int, buffer=nl.sbuf):
        self.start, self.shape, self.dtype, self.depth, self.buffer = start, shape, dtype, depth, buffer
        self.stride = BANK if buffer == nl.psum else int(np.prod(shape[1:])) * 4
        self.turn = 0

    @property
    def end(self) -> int:
        return self.start + self.depth * self.stride

    def next(self):
        address = (0, self.start + self.turn % self.depth * self.stride)
        self.turn += 1
        return nl.ndarray(self.shape, self.dtype, self.buffer, address=address)


@nki.jit
def attention(q, k, v, scale):
    """softmax(q k^T scale, causal) v for q and k of shape (d, n) and v of (n, d), d <= 128, n a multiple of 128."""
    depth, length = q.shape
    steps = length // PMAX
    out = nl.ndarray((length, depth), q.dtype, nl.shared_hbm)
    identity = Rotation(0, (PMAX, PMAX), nl.float32, 1)
    eye = identity.next()
    nl.shared_identity_matrix(PMAX, nl.float32, dst=eye)
    queries = Rotation(identity.end, (depth, PMAX), nl.float32, 2)
    keys = Rotation(queries.end, (depth, PMAX), nl.float32, 2)
    values = Rotation(keys.end, (PMAX, depth), nl.float32, 2)
    scores = Rotation(values.end, (PMAX, length), nl.float32, 2)
    columns = Rotation(scores.end, (PMAX, 1), nl.float32, 6)
    turned = Rotation(columns.end, (PMAX, PMAX), nl.float32, 2)
    results = Rotation(turned.end, (PMAX, depth), nl.float32, 2)
    products = Rotation(0, (PMAX, PMAX), nl.float32, 2, nl.psum)
    sums = Rotation(products.end, (PMAX, depth), nl.float32, 2, nl.psum)
    for i in range(steps):
        rows = nl.ds(i * PMAX, PMAX)
        query, score = queries.next(), scores.next()
        nisa.dma_copy(query, q[:, rows])
        for j in range(i + 1):
            key, product = keys.next(), products.next()
            nisa.dma_copy(key, k[:, nl.ds(j * PMAX, PMAX)])
            nisa.nc_matmul(product, query, key)
            nisa.tensor_scalar(score[:, nl.ds(j * PMAX, PMAX)], product, nl.multiply, scale)
        diagonal = score[:, rows]
        nisa.affine_select(diagonal, [[-1, PMAX]], 1, diagonal, -1e30, nl.greater_equal)
        seen = score[:, 0 : (i + 1) * PMAX]
        top, total = columns.next(), columns.next()
        nisa.tensor_reduce(top, nl.maximum, seen, axis=1, negate=True)
        nisa.activation_reduce(seen, nl.exp, seen, nl.add, total, bias=top)
        gathered = sums.next()
        for j in range(i + 1):
            transposed, weights, value = products.next(), turned.next(), values.next()
            nisa.nc_matmul(transposed, score[:, nl.ds(j * PMAX, PMAX)], eye, is_transpose=True)
            nisa.tensor_copy(weights, transposed)
            nisa.dma_copy(value, v[nl.ds(j * PMAX, PMAX)])
            nisa.nc_matmul(gathered, weights, value, accumulate=j > 0)
        inverse, result = columns.next(), results.next()
        nisa.reciprocal(inverse, total)
        nisa.tensor_scalar(result, gathered, nl.multiply, inverse)
        nisa.dma_copy(out[rows], result)
    return out


def inputs(rng):
    q, k = (rng.standard_normal((64, 384), dtype=np.float32) for _ in range(2))
    return q, k, rng.standard_normal((384, 64), dtype=np.float32), 0.125


def reference(q, k, v, scale):
    scores = q.T.astype(np.float64) @ k * scale
    scores[np.triu_indices(len(scores), 1)] = -np.inf
    weights = np.exp(scores - scores.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True) @ v


SAMPLE = (attention, inputs, reference)
