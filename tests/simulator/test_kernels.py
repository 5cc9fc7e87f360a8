"""Whole kernels in the manner of the vendor's samples, on every generation that has their instructions."""

from __future__ import annotations

import ml_dtypes
import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

RNG = np.random.default_rng(11)


@nki.jit
def attention(q, k, v):
    """Scores, softmax and product for one head: q[d, sq], k[d, sk], v[sk, d]; explicit addresses, rotated."""
    d, queries = q.shape
    keys = k.shape[1]
    out = nl.ndarray((queries, d), q.dtype, nl.shared_hbm)
    k_tile = nl.ndarray((d, keys), k.dtype, address=(0, 0))
    nisa.dma_copy(k_tile, k)
    for i in range(queries // 128):
        base = 8192 + 16384 * (i % 2)
        q_tile = nl.ndarray((d, 128), q.dtype, address=(0, base))
        nisa.dma_copy(q_tile, q[:, nl.ds(i * 128, 128)])
        scores = nl.ndarray((128, keys), nl.float32, nl.psum, address=(0, 2048 * (i % 2)))
        nisa.nc_matmul(scores, stationary=q_tile, moving=k_tile)
        top = nl.ndarray((128, 1), nl.float32)
        nisa.tensor_reduce(top, nl.maximum, scores, axis=1, negate=True)
        weights = nl.ndarray((128, keys), v.dtype, address=(0, base + 1024))
        total = nl.ndarray((128, 1), nl.float32)
        nisa.activation_reduce(weights, nl.exp, scores, nl.add, total, bias=top)
        inverse = nl.ndarray((128, 1), nl.float32)
        nisa.reciprocal(inverse, total)
        product = nl.ndarray((128, d), nl.float32, nl.psum)
        for j in range(keys // 128):
            turned = nl.ndarray((128, 128), v.dtype, nl.psum)
            nisa.nc_transpose(turned, weights[:, j * 128 : (j + 1) * 128])
            kept = nl.ndarray((128, 128), v.dtype)
            nisa.tensor_copy(kept, turned, engine=nisa.engine.vector)
            v_tile = nl.load(v[j * 128 : (j + 1) * 128])
            nisa.nc_matmul(product, kept, v_tile, accumulate=j > 0)
        result = nl.ndarray((128, d), q.dtype)
        nisa.tensor_scalar(result, product, nl.multiply, inverse)
        nisa.dma_copy(out[i * 128 : (i + 1) * 128], result)
    return out


@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3"])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_attention(simulate, target, dtype):
    q, k = (RNG.standard_normal((64, n)).astype(dtype) for n in (256, 512))
    v = RNG.standard_normal((512, 64)).astype(dtype)
    run = simulate(attention, q, k, v, target=target)
    scores = q.astype(np.float64).T @ k.astype(np.float64)
    weights = np.exp(scores - scores.max(1, keepdims=True))
    expected = weights / weights.sum(1, keepdims=True) @ v.astype(np.float64)
    tolerance = 1e-4 if dtype is np.float32 else 3e-2
    np.testing.assert_allclose(run.outputs[0].astype(np.float64), expected, atol=tolerance)
    assert run.findings == ()


@nki.jit
def layernorm(x):
    """Mean and variance by bn_stats over pieces of at most nl.tile_size.bn_stats_fmax."""
    rows, columns = x.shape
    out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
    piece = nl.tile_size.bn_stats_fmax
    for start in range(0, rows, nl.tile_size.pmax):
        p = min(nl.tile_size.pmax, rows - start)
        tile = nl.ndarray((p, columns), x.dtype)
        nisa.dma_copy(tile, x[start : start + p])
        pieces = (columns + piece - 1) // piece
        stats = nl.ndarray((p, pieces, 6), nl.float32)
        for i in range(pieces):
            nisa.bn_stats(stats[:, i], tile[:, i * piece : min((i + 1) * piece, columns)])
        moments = nl.ndarray((p, 2), nl.float32)
        nisa.bn_aggr(moments, stats)
        shift = nl.full((p, 1), 1e-5, nl.float32)
        scale = nl.ndarray((p, 1), nl.float32)
        nisa.activation(scale, nl.rsqrt, moments[:, 1], bias=shift)
        normal = nl.ndarray((p, columns), x.dtype)
        nisa.tensor_scalar(normal, tile, nl.subtract, moments[:, 0], op1=nl.multiply, operand1=scale)
        nisa.dma_copy(out[start : start + p], normal)
    return out


@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3"])
def test_layernorm(simulate, target):
    x = RNG.standard_normal((200, 700)).astype(np.float32)
    run = simulate(layernorm, x, target=target)
    expected = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(run.outputs[0], expected, atol=1e-4)
    assert run.findings == ()


@nki.jit
def average_pool(x, pool=2):
    """2-D pooling of x[channels, h, w] by a five-dimensional access pattern."""
    channels, h, w = x.shape
    tile = nl.load(x)
    windows = tile.ap([[h * w, channels], [pool * w, h // pool], [pool, w // pool], [w, pool], [1, pool]])
    total = nl.ndarray((channels, h // pool, w // pool), nl.float32)
    nisa.tensor_reduce(total, nl.add, windows, axis=(3, 4))
    nisa.tensor_scalar(total, total, nl.multiply, 1.0 / pool**2)
    out = nl.ndarray(total.shape, x.dtype, nl.shared_hbm)
    nl.store(out, total)
    return out


def test_average_pooling(simulate):
    x = RNG.standard_normal((32, 8, 12)).astype(np.float32)
    run = simulate(average_pool, x)
    np.testing.assert_allclose(run.outputs[0], x.reshape(32, 4, 2, 6, 2).mean((2, 4)), atol=1e-6)
    assert run.findings == ()


@nki.jit
def scan(delta, a, b, c):
    """A state-space scan over the free dimension, a state for each of the columns of a: y = sum_s c_s * h_s."""
    channels, length = delta.shape
    states = a.shape[1]
    d_tile, b_tile, a_tile = nl.load(delta), nl.load(b), nl.load(a)
    total = nl.zeros((channels, length), nl.float32)
    for s in range(states):
        decay = nl.ndarray((channels, length), nl.float32)
        nisa.activation(decay, nl.exp, d_tile, scale=a_tile[:, s : s + 1])
        state = nl.ndarray((channels, length), nl.float32)
        nisa.tensor_tensor_scan(state, decay, b_tile, 0.0, nl.multiply, nl.add)
        weight = nl.ndarray((channels, length), nl.float32)
        nisa.dma_copy(weight, c[s : s + 1].ap([[0, channels], [1, length]], offset=s * length))
        nisa.tensor_tensor(state, state, weight, nl.multiply)
        nisa.tensor_tensor(total, total, state, nl.add)
    out = nl.ndarray((channels, length), nl.float32, nl.shared_hbm)
    nl.store(out, total)
    return out


def test_state_space_scan(simulate):
    delta, b = (RNG.uniform(0.1, 1, (64, 40)).astype(np.float32) for _ in range(2))
    a, c = -RNG.uniform(0.1, 1, (64, 3)).astype(np.float32), RNG.standard_normal((3, 40)).astype(np.float32)
    run = simulate(scan, delta, a, b, c)
    state, expected = np.zeros((64, 3)), np.zeros((64, 40))
    for t in range(40):
        state = np.exp(delta[:, t : t + 1] * a) * state + b[:, t : t + 1]
        expected[:, t] = state @ c[:, t]
    np.testing.assert_allclose(run.outputs[0], expected, atol=1e-4)
    assert run.findings == ()


@nki.jit
def top_k(x, k):
    """The k largest of each row, eight at a time."""
    tile = nl.load(x)
    rows = x.shape[0]
    values, places = nl.ndarray((rows, k), x.dtype), nl.ndarray((rows, k), nl.uint32)
    for i in range(0, k, 8):
        nisa.max8(values[:, i : i + 8], tile)
        nisa.nc_find_index8(places[:, i : i + 8], tile, values[:, i : i + 8])
        nisa.nc_match_replace8(tile, tile, values[:, i : i + 8], -3e38)
    outs = tuple(nl.ndarray((rows, k), t.dtype, nl.shared_hbm) for t in (values, places))
    for out, done in zip(outs, (values, places), strict=True):
        nl.store(out, done)
    return outs


def test_top_k(simulate):
    x = RNG.permutation(64 * 100).reshape(64, 100).astype(np.float32)
    values, places = simulate(top_k, x, 16).outputs[0]
    order = np.argsort(-x, axis=1)[:, :16]
    np.testing.assert_array_equal(places, order)
    np.testing.assert_array_equal(values, np.take_along_axis(x, order, 1))


@nki.jit
def append_to_cache(cache, new, position):
    """Write one token's row at a position from memory, and return the cache."""
    row = nl.load(new)
    register = nisa.register_alloc()
    nisa.register_load(register, nl.load(position))
    nisa.dma_copy(cache.ap([[cache.shape[1], 1], [1, cache.shape[1]]], scalar_offset=register, indirect_dim=0), row)
    return cache


def test_a_cache_is_updated_in_place_at_a_position_from_memory(simulate):
    cache, row = np.zeros((16, 32), np.float32), np.ones((1, 32), np.float32)
    run = simulate(append_to_cache, cache, row, np.array([[5]], np.int32))
    assert cache.sum() == 32
    assert (cache[5] == 1).all()
    assert run.findings == ()


class Config(nl.NKIObject):
    """A configuration object, as kernels take them."""

    def __init__(self, factor, op):
        self.factor = factor
        self.op = op


def test_configuration_objects_and_functions_as_arguments(simulate):
    def kernel(x, config, finish):
        tile = nl.load(x)
        nisa.tensor_scalar(dst=tile, data=tile, op0=config.op, operand0=config.factor)
        finish(tile, tile)
        out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
        nisa.dma_copy(dst=out, src=tile)
        return [out]

    def negate(dst, src):
        nisa.tensor_scalar(dst, src, nl.multiply, -1.0)

    x = RNG.standard_normal((16, 4)).astype(np.float32)
    run = simulate(kernel, x, Config(2.0, nl.add), negate)
    np.testing.assert_array_equal(run.outputs[0][0], -(x + 2))
