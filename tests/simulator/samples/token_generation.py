"""One step of decoding: the caches grow at a position held in a register, and attention stops there."""

from __future__ import annotations

import nki
import nki.isa as nisa
import nki.language as nl
import nki.typing as nt
import numpy as np

TARGETS = ("trn2", "trn3")
BLOCK = 128


@nki.jit
def decode(query, key, value, k_cache: nt.mutable_tensor, v_cache: nt.mutable_tensor, position, scale):
    """Attention of one token (query (1, d)) over caches (length, d) whose rows up to `position` are filled."""
    length, depth = k_cache.shape
    where = nl.ndarray((1, 1), nl.int32)
    nisa.dma_copy(where, position)
    register = nisa.register_alloc()
    nisa.register_load(register, where)
    row = [[depth, 1], [1, depth]]
    for cache, new in ((k_cache, key), (v_cache, value)):
        token = nl.ndarray((1, depth), new.dtype)
        nisa.dma_copy(token, new)
        nisa.dma_copy(cache.ap(row, scalar_offset=register, indirect_dim=0), token)
    asked = nl.ndarray((depth, 1), nl.float32)
    nisa.dma_copy(asked, query.permute((1, 0)))
    scores, limit = nl.ndarray((1, length), nl.float32), nl.ndarray((1, 1), nl.float32)
    nisa.tensor_copy(limit, where)
    lowest = nl.zeros((1, 1), nl.float32)
    for start in range(0, length, BLOCK):
        keys = nl.ndarray((depth, BLOCK), nl.float32)
        nisa.dma_copy(keys, k_cache[start : start + BLOCK].permute((1, 0)))
        product = nl.ndarray((1, BLOCK), nl.float32, nl.psum)
        nisa.nc_matmul(product, asked, keys)
        nisa.tensor_scalar(scores[:, start : start + BLOCK], product, nl.multiply, scale)
    top, total = nl.ndarray((1, 1), nl.float32), nl.ndarray((1, 1), nl.float32)
    nisa.range_select(scores, scores, nl.greater_equal, nl.less_equal, lowest, limit, reduce_res=top)
    nisa.tensor_scalar(top, top, nl.multiply, -1.0)
    nisa.activation_reduce(scores, nl.exp, scores, nl.add, total, bias=top)
    nisa.reciprocal(total, total)
    nisa.tensor_scalar(scores, scores, nl.multiply, total)
    summed = nl.ndarray((1, depth), nl.float32, nl.psum)
    for start in range(0, length, BLOCK):
        turned, weights = nl.ndarray((BLOCK, 1), nl.float32, nl.psum), nl.ndarray((BLOCK, 1), nl.float32)
        nisa.nc_transpose(turned, scores[:, start : start + BLOCK])
        nisa.tensor_copy(weights, turned)
        values = nl.ndarray((BLOCK, depth), nl.float32)
        nisa.dma_copy(values, v_cache[start : start + BLOCK])
        nisa.nc_matmul(summed, weights, values)
    result = nl.ndarray((1, depth), nl.float32)
    nisa.tensor_copy(result, summed)
    out = nl.ndarray((1, depth), nl.float32, nl.shared_hbm)
    nisa.dma_copy(out, result)
    return out


def inputs(rng):
    query, key, value = (rng.standard_normal((1, 64), dtype=np.float32) for _ in range(3))
    caches = [np.zeros((256, 64), np.float32) for _ in range(2)]
    for cache in caches:
        cache[:150] = rng.standard_normal((150, 64))
    return query, key, value, *caches, np.array([[150]], np.int32), 0.125


def reference(query, key, value, k_cache, v_cache, position, scale):
    last = int(position[0, 0])
    k_cache[last], v_cache[last] = key, value
    scores = (query.astype(np.float64) @ k_cache[: last + 1].T) * scale
    weights = np.exp(scores - scores.max())
    return weights / weights.sum() @ v_cache[: last + 1]


SAMPLE = (decode, inputs, reference)
