"""The tensor engine and microscaling formats against NumPy written from their pages."""

from __future__ import annotations

import ml_dtypes
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from tests.simulator.documented.harness import BF16, FP8, FP16, RNG, close, out, run, same


def small(*shape):
    """Whole numbers: products and sums are exact in float32."""
    return RNG.integers(-4, 5, shape).astype(np.float32)


def product(a, b):
    return np.einsum("km,kn->mn", a.astype(np.float64), b.astype(np.float64)).astype(np.float32)


def matmul(d, a, b, shape=None, dtype=nl.float32, **options):
    psum = nl.ndarray(shape or d.shape, dtype, nl.psum)
    nisa.nc_matmul(psum, a, b, **options)
    nisa.tensor_copy(d, psum)


@pytest.mark.operation("nki.isa.nc_matmul")
def test_nc_matmul():
    a, b = small(96, 40), small(96, 70)
    for left, right in ((np.float32, np.float32), (BF16, BF16), (FP16, FP8), (FP8, FP8)):
        same(run(matmul, a.astype(left), b.astype(right), outs=out(40, 70)), product(a, b))
    real = RNG.standard_normal((128, 24), dtype=np.float32)
    close(run(matmul, real, real, outs=out(24, 24)), product(real, real), rtol=1e-5, atol=1e-5)
    found = run(
        lambda d, x, y: matmul(d, x, y, dtype=nl.bfloat16), a, b, outs=out(40, 70, dtype=nl.bfloat16), target="trn3"
    )
    same(found, product(a, b).astype(BF16))

    def tiled(d, x, y):
        psum = nl.ndarray((32, 70), nl.float32, nl.psum)
        nisa.nc_matmul(psum, x[64:96, :32], y[64:96], tile_position=(64, 0), tile_size=(32, 64))
        nisa.tensor_copy(d, psum)

    same(run(tiled, a, b, outs=out(32, 70)), product(a[64:96, :32], b[64:96]))


@pytest.mark.operation("nki.isa.nc_matmul")
def test_nc_matmul_overwrites_first_and_adds_then():
    a, b = small(64, 16), small(64, 32)

    def automatic(d, x, y):
        psum = nl.ndarray((16, 32), nl.float32, nl.psum)
        nisa.nc_matmul(psum[:, :8], x, y[:, :8])
        nisa.nc_matmul(psum, x, y)
        nisa.tensor_copy(d, psum)

    expected = product(a, b)
    twice = expected.copy()
    twice[:, :8] *= 2
    same(run(automatic, a, b, outs=out(16, 32)), twice)

    def explicit(d, x, y):
        psum = nl.ndarray((16, 32), nl.float32, nl.psum)
        for flag in (False, True, True, False, True):
            nisa.nc_matmul(psum, x, y, accumulate=flag)
        nisa.tensor_copy(d, psum)

    same(run(explicit, a, b, outs=out(16, 32)), expected * 2)


@pytest.mark.operation("nki.isa.nc_matmul")
def test_nc_matmul_in_double_row_contracts_over_partitions_and_two():
    a, b = small(128, 2, 24), small(128, 2, 48)
    double = {"perf_mode": nisa.matmul_perf_mode.double_row}
    found = run(
        lambda d, x, y: matmul(d, x, y, **double), a.astype(FP8), b.astype(ml_dtypes.float8_e5m2), outs=out(24, 48)
    )
    same(found, product(a.reshape(256, 24), b.reshape(256, 48)))


@pytest.mark.operation("nki.isa.nc_matmul")
def test_nc_matmul_in_transpose_mode_moves_bits():
    x = RNG.standard_normal((32, 24)).astype(BF16)
    x[1, 2], x[3, 4] = np.nan, -np.inf

    def body(d, tile, identity):
        matmul(d, tile, identity, dtype=nl.bfloat16, is_transpose=True)

    same(run(body, x, np.eye(32).astype(BF16), outs=out(24, 32, dtype=nl.bfloat16)), x.T)


E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def scales(tile, emax):
    """Scale exponents of an fp16 (P, 4 n) tile: one for 8 partitions and 4 neighbours, floor(log2(amax)) - (Emax - 1)."""
    p, n = tile.shape[0], tile.shape[1] // 4
    groups = np.abs(tile.astype(np.float64)).reshape(p // 8, 8, n, 4).max((1, 3))
    with np.errstate(divide="ignore"):
        exponent = np.floor(np.log2(groups)) - (emax - 1)
    return np.where(groups == 0, -127, exponent)


def scale_rows(groups):
    """Where the scales of 8-partition groups lie: four partitions at the start of each quadrant of 32."""
    return np.array([group // 4 * 32 + group % 4 for group in range(groups)])


@pytest.mark.operation("nki.isa.quantize_mx")
def test_quantize_mx():
    x = (RNG.standard_normal((64, 24)) * np.exp2(RNG.integers(-6, 7, (64, 24)))).astype(FP16)
    x[8:16, 4:8] = 0
    rows = scale_rows(8)
    for packed, lane, emax in (
        (nl.float8_e4m3fn_x4, ml_dtypes.float8_e4m3fn, 8),
        (nl.float8_e5m2_x4, ml_dtypes.float8_e5m2, 15),
    ):

        def body(bits, places, tile, packed=packed):
            words, scale = nl.ndarray((64, 6), packed), nl.full((64, 6), 77, nl.uint8)
            nisa.quantize_mx(words, tile, scale)
            nisa.tensor_copy(bits, words.view(nl.uint32))
            nisa.tensor_copy(places, scale)

        found, places = run(body, x, outs=[out(64, 6, dtype=nl.uint32), out(64, 6, dtype=nl.uint8)], target="trn3")
        exponent = scales(x, emax)
        kept = np.full((64, 6), 77, np.uint8)
        kept[rows] = (exponent + 127).astype(np.uint8)
        same(places, kept)
        factor = np.exp2(exponent).repeat(8, axis=0).repeat(4, axis=1)
        lanes = (x.astype(np.float64) / factor).astype(np.float32).astype(lane)
        same(found, lanes.view(np.uint32))


@pytest.mark.operation("nki.isa.nc_matmul_mx")
def test_nc_matmul_mx():
    """The sum over partitions and lanes of value x 2^(scale - 127) of both sides, for fp8 and fp4 lanes."""
    k, m, n = 64, 6, 10
    rows = scale_rows(k // 8)
    exponents = [RNG.integers(124, 131, (k // 8, width)).astype(np.uint8) for width in (m, n)]
    stored = []
    for exponent, width in zip(exponents, (m, n), strict=True):
        stored.append(np.zeros((rows[-1] + 1, width), np.uint8))
        stored[-1][rows] = exponent
    fp8 = [RNG.integers(-3, 4, (k, width, 4)).astype(ml_dtypes.float8_e4m3fn) for width in (m, n)]
    nibbles = [RNG.integers(0, 16, (k, width, 4)).astype(np.uint16) for width in (m, n)]
    fp4 = [(each << np.arange(0, 16, 4, dtype=np.uint16)).sum(-1).astype(np.uint16) for each in nibbles]
    cases = (
        (
            nl.float8_e4m3fn_x4,
            [each.reshape(k, -1).view(np.uint32) for each in fp8],
            [each.astype(np.float64) for each in fp8],
        ),
        (nl.float4_e2m1fn_x4, fp4, [E2M1[each] for each in nibbles]),
    )
    for packed, words, values in cases:

        def body(d, a, b, left, right, packed=packed):
            psum = nl.ndarray((m, n), nl.float32, nl.psum)
            nisa.nc_matmul_mx(psum, a.view(packed), b.view(packed), left, right)
            nisa.tensor_copy(d, psum)

        scaled = [
            v * np.exp2(e.astype(float) - 127).repeat(8, axis=0)[..., None]
            for v, e in zip(values, exponents, strict=True)
        ]
        expected = np.einsum("kmj,knj->mn", *scaled)
        close(run(body, *words, *stored, outs=out(m, n), target="trn3"), expected, rtol=1e-5)
