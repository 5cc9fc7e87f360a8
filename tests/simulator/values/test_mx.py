"""Microscaling: packing, scales, quantize_mx and nc_matmul_mx."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import strategies as st

from nkilab.simulator.values import cast, dtypes, mx
from tests.simulator.values.oracle import given, random_tile, seeds

X4 = {"float8_e4m3fn_x4": 8, "float8_e5m2_x4": 15, "float4_e2m1fn_x4": 2}
QUANTIZED = ["float8_e4m3fn_x4", "float8_e5m2_x4"]


@pytest.mark.parametrize("name", QUANTIZED)
def test_a_word_of_four_bytes_holds_lane_0_in_its_lowest_byte(name):
    words = np.array([[0x44332211]], np.uint32)
    lanes = mx.unpack_x4(words, dtypes.TABLE[name])
    assert lanes.dtype == dtypes.TABLE[name].lane
    np.testing.assert_array_equal(lanes.view(np.uint8), [[[0x11, 0x22, 0x33, 0x44]]])


def test_a_word_of_four_nibbles_holds_lane_0_in_its_lowest_nibble():
    lanes = mx.unpack_x4(np.array([0x4321, 0xFEDC], np.uint16), dtypes.float4_e2m1fn_x4)
    np.testing.assert_array_equal(lanes.astype(np.float32), [[0.5, 1, 1.5, 2], [-2, -3, -4, -6]])


@pytest.mark.parametrize("name", X4)
@given(seed=seeds)
def test_packing_undoes_unpacking(name, seed):
    dtype = dtypes.TABLE[name]
    words = np.random.default_rng(seed).integers(0, 2**16, (3, 5)).astype(dtype.storage) * (dtype.storage.type(40503))
    np.testing.assert_array_equal(mx.pack_x4(mx.unpack_x4(words, dtype), dtype), words)


def test_scales_lie_in_the_quadrant_of_their_group():
    assert mx.scale_partitions(32).tolist() == [0, 1, 2, 3]
    assert mx.scale_partitions(64).tolist() == [0, 1, 2, 3, 32, 33, 34, 35]
    assert mx.scale_partitions(128).tolist()[-4:] == [96, 97, 98, 99]


def quantize_group_by_group(x: np.ndarray, lane: np.dtype, emax: int) -> tuple[np.ndarray, np.ndarray]:
    """The documented formula, one group of 8 partitions x 4 elements at a time."""
    data = np.zeros(x.shape, lane)
    scales = np.zeros((x.shape[0] // 8, x.shape[1] // 4), np.uint8)
    for i, j in np.ndindex(scales.shape):
        block = x[8 * i : 8 * i + 8, 4 * j : 4 * j + 4].astype(np.float64)
        amax = np.abs(block).max()
        exponent = -127 if amax == 0 else max(int(np.floor(np.log2(amax))) - (emax - 1), -127)
        scales[i, j] = exponent + 127
        data[8 * i : 8 * i + 8, 4 * j : 4 * j + 4] = (block / 2.0**exponent).astype(np.float32).astype(lane)
    return data, scales


@pytest.mark.parametrize("name", QUANTIZED)
@pytest.mark.parametrize("source", ["bfloat16", "float16"])
@given(seed=seeds, quadrants=st.integers(1, 4), words=st.integers(1, 5), magnitude=st.integers(-20, 14))
def test_quantize_mx_is_the_documented_formula(name, source, seed, quadrants, words, magnitude):
    dtype = dtypes.TABLE[name]
    x = random_tile(seed, (32 * quadrants, 4 * words), scale=2.0**magnitude)
    x[:8, :4] = 0  # one group of zeros
    src = cast.cast(np.clip(x, -60000, 60000), dtypes.TABLE[source])
    data, scales = quantize_group_by_group(src, dtype.lane, X4[name])
    words_, scales_ = mx.quantize_mx(src, dtype)
    assert words_.dtype == np.uint32
    np.testing.assert_array_equal(scales_, scales)
    np.testing.assert_array_equal(words_.view(np.uint8), data.view(np.uint8))
    assert scales_[0, 0] == 0


@pytest.mark.parametrize("name", QUANTIZED)
@given(seed=seeds)
def test_quantize_mx_saturates_nothing_and_keeps_the_precision_of_the_lanes(name, seed):
    dtype = dtypes.TABLE[name]
    src = cast.cast(random_tile(seed, (32, 16)), dtypes.bfloat16)
    words, scales = mx.quantize_mx(src, dtype)
    tile = np.zeros((32, 4), np.uint8)
    tile[mx.scale_partitions(32)] = scales
    back = mx.dequantize(words, tile, dtype).swapaxes(1, 2).reshape(32, 16)
    assert np.isfinite(back).all()
    half_step = {"float8_e4m3fn_x4": 2.0**-4, "float8_e5m2_x4": 2.0**-3}[name]
    amax = np.abs(src.astype(np.float32)).max()
    np.testing.assert_allclose(back, src.astype(np.float32), rtol=half_step, atol=amax * 2.0**-14)


def test_a_group_with_nan_stays_nan_and_spoils_no_other():
    x = np.ones((32, 8), np.float32)
    x[3, 2] = np.nan
    words, scales = mx.quantize_mx(x.astype(ml_dtypes.bfloat16), dtypes.float8_e4m3fn_x4)
    lanes = mx.unpack_x4(words, dtypes.float8_e4m3fn_x4).astype(np.float32)
    assert np.isnan(lanes[3, 0, 2])
    assert np.isnan(lanes).sum() == 1
    assert scales[0, 1] == scales[1, 0] == 127 - 7


def random_mx(seed: int, name: str, k: int, f: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finite packed data, a scattered scale tile, and the float64 matrix (4 k, f) that they stand for."""
    rng = np.random.default_rng(seed)
    dtype = dtypes.TABLE[name]
    lanes = (rng.integers(-6, 7, (k, f, 4)) / 2.0).astype(np.float32).astype(dtype.lane)
    scale = np.full((k, f), 77, np.uint8)  # rows that belong to no group hold other data
    groups = rng.integers(120, 135, (k // 8, f)).astype(np.uint8)
    for group in range(k // 8):
        scale[32 * (group // 4) + group % 4] = groups[group]
    powers = 2.0 ** (np.repeat(groups, 8, axis=0).astype(np.float64) - 127)
    matrix = lanes.astype(np.float64) * powers[..., None]
    return mx.pack_x4(lanes, dtype), scale, matrix


@pytest.mark.parametrize("left", X4)
@pytest.mark.parametrize("right", X4)
@given(seed=seeds, quadrants=st.integers(1, 4), m=st.integers(1, 10), n=st.integers(1, 10))
def test_nc_matmul_mx_multiplies_dequantised_matrices(left, right, seed, quadrants, m, n):
    stationary, stationary_scale, a = random_mx(seed, left, 32 * quadrants, m)
    moving, moving_scale, b = random_mx(seed + 1, right, 32 * quadrants, n)
    result = mx.nc_matmul_mx(
        stationary,
        moving,
        stationary_scale,
        moving_scale.view(ml_dtypes.float8_e8m0fnu),
        dtypes.TABLE[left],
        dtypes.TABLE[right],
    )
    expected = np.einsum("kml,knl->mn", a, b)
    assert result.dtype == np.float32
    magnitude = np.einsum("kml,knl->mn", np.abs(a), np.abs(b))  # terms may cancel, so the bound is on their sizes
    assert (np.abs(result - expected) <= 3e-6 * magnitude).all()


def test_scales_at_the_ends():
    words = mx.pack_x4(np.ones((32, 1, 4), ml_dtypes.float8_e4m3fn), dtypes.float8_e4m3fn_x4)
    scale = np.array([[0], [127], [254], [255]], np.uint8)
    values = mx.dequantize(words, scale, dtypes.float8_e4m3fn_x4)
    np.testing.assert_array_equal(values[[0, 8, 16, 24], 0, 0], np.float32([2.0**-127, 1, 2.0**127, np.nan]))


def test_a_scale_tile_of_32_partitions_may_be_compact():
    words = mx.pack_x4(np.ones((32, 2, 4), ml_dtypes.float8_e5m2), dtypes.float8_e5m2_x4)
    compact = np.array([[127, 128], [129, 130], [131, 132], [133, 134]], np.uint8)
    values = mx.dequantize(words, compact, dtypes.float8_e5m2_x4)
    np.testing.assert_array_equal(values[::8, 0], 2.0 ** (compact.astype(np.float64) - 127))
