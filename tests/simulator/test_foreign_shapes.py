"""Kernels in the spellings that other authors use: ragged edges, generators, recursion, registers, grids; against NumPy."""

from __future__ import annotations

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

RNG = np.random.default_rng(5)
GENERATIONS = ("trn1", "trn2", "trn3")


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def loaded(x):
    tile = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=x)
    return tile


def stored(tile):
    out = nl.ndarray(tile.shape, dtype=tile.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(dst=out, src=tile)
    return out


@nki.jit
def rmsnorm(x, eps=1e-6, dtype=nl.float32):
    rows, width = x.shape
    out = nl.ndarray(x.shape, dtype, buffer=nl.shared_hbm)
    for i in range((rows + 127) // 128):
        part = slice(i * 128, min(rows, i * 128 + 128))
        tile = loaded(x[part, :])
        square = nl.ndarray(tile.shape, dtype, buffer=nl.sbuf)
        scale = nl.ndarray((tile.shape[0], 1), dtype, buffer=nl.sbuf)
        nisa.activation_reduce(dst=square, op=nl.square, data=tile, reduce_op=nl.add, reduce_res=scale)
        nisa.tensor_scalar(scale, scale, nl.multiply, 1.0 / width, op1=nl.add, operand1=eps)
        nisa.activation(dst=scale, op=nl.rsqrt, data=scale)
        nisa.tensor_scalar(tile, tile, nl.multiply, scale)
        nisa.dma_copy(dst=out[part, :], src=tile)
    return out


@nki.jit
def doubled_by_a_generator(x):
    out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)

    def tiles():
        for j in range(4):
            yield j, loaded(x[:, nl.ds(j * 16, 16)])

    for j, tile in tiles():
        nisa.tensor_tensor(dst=tile, data1=tile, data2=tile, op=nl.add)
        nisa.dma_copy(dst=out[:, nl.ds(j * 16, 16)], src=tile)
    return out


def halved(tile, times):
    if times == 0:
        return tile
    nisa.tensor_scalar(dst=tile, data=tile, op0=nl.multiply, operand0=0.5)
    return halved(tile, times - 1)


@nki.jit
def recursive(x, *_args, depth=3, **options):
    assert depth < 5, f"depth {depth} is too large"
    try:
        depth = options["depth"]
    except KeyError:
        depth = int(depth)
    return stored(halved(loaded(x), depth))


@nki.jit
def causal_conv(x):
    tile = loaded(x)
    out = nl.ndarray(tile.shape, tile.dtype, buffer=nl.sbuf)
    nisa.tensor_copy(out, tile)
    nisa.scalar_tensor_tensor(out[:, 1:], tile[:, :-1], nl.multiply, 0.5, nl.add, tile[:, 1:])
    return stored(out)


def conv_reference(x):
    return x + 0.5 * np.pad(x, ((0, 0), (1, 0)))[:, :-1]


@pytest.mark.parametrize("target", GENERATIONS)
@pytest.mark.parametrize(
    ("kernel", "shape", "reference"),
    [
        (rmsnorm, (300, 256), lambda x: x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-6)),
        (doubled_by_a_generator, (128, 64), lambda x: 2 * x),
        (recursive, (32, 32), lambda x: x / 8),
        (causal_conv, (96, 64), conv_reference),
    ],
    ids=["rmsnorm", "generator", "recursive", "causal_conv"],
)
def test_a_kernel_equals_numpy_without_findings(simulate, kernel, shape, reference, target):
    x = normal(*shape)
    run = simulate(kernel, x, target=target)
    assert not run.findings
    np.testing.assert_allclose(run.outputs[0], reference(x), rtol=2e-3, atol=2e-3)
