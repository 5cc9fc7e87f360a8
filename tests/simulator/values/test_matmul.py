"""The Tensor engine: products, transposes, accumulation into PSUM."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import strategies as st

from nkilab.simulator.values import cast, dtypes, matmul
from tests.simulator.values.oracle import assert_same, given, random_tile, seeds

NARROW = ["bfloat16", "float16", "float8_e4m3", "float8_e4m3fn", "float8_e5m2", "tfloat32"]
sizes = st.integers(1, 24)


def small_integers(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Values whose products and sums are exact in every format and order."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(np.float32)


@given(seeds, sizes, sizes, sizes, st.sampled_from([*NARROW, "float32"]), st.sampled_from([*NARROW, "float32"]))
def test_the_product_is_stationary_transposed_times_moving(seed, k, m, n, left, right):
    stationary = cast.cast(small_integers(seed, (k, m)), dtypes.TABLE[left])
    moving = cast.cast(small_integers(seed + 1, (k, n)), dtypes.TABLE[right])
    result = matmul.matmul(stationary, moving)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(
        result, np.einsum("km,kn->mn", stationary.astype(np.float64), moving.astype(np.float64))
    )


@given(seeds, st.sampled_from(NARROW))
def test_narrow_inputs_are_not_rounded_again(seed, name):
    stationary = cast.cast(random_tile(seed, (64, 16)), dtypes.TABLE[name])
    moving = cast.cast(random_tile(seed + 1, (64, 32)), dtypes.TABLE[name])
    exact = stationary.astype(np.float64).T @ moving.astype(np.float64)
    np.testing.assert_allclose(
        matmul.matmul(stationary, moving), exact, rtol=0, atol=1e-6 * np.abs(exact).max() * 64**0.5
    )


def test_float32_products_keep_full_precision():
    x = np.float32(1 + 2**-23)
    result = matmul.matmul(np.full((1, 1), x), np.full((1, 1), np.float32(1)))
    assert result[0, 0] == x


def test_free_axes_are_flattened():
    stationary, moving = small_integers(1, (8, 2, 3)), small_integers(2, (8, 5, 2))
    result = matmul.matmul(stationary, moving)
    np.testing.assert_array_equal(result, stationary.reshape(8, 6).T @ moving.reshape(8, 10))


@given(seeds, st.integers(1, 16), sizes, sizes)
def test_double_row_contracts_partitions_and_the_first_free_axis(seed, k, m, n):
    stationary = cast.cast(small_integers(seed, (k, 2, m)), dtypes.float8_e4m3)
    moving = cast.cast(small_integers(seed + 1, (k, 2, n)), dtypes.float8_e5m2)
    expected = np.einsum("krm,krn->mn", stationary.astype(np.float64), moving.astype(np.float64))
    np.testing.assert_array_equal(matmul.matmul(stationary, moving, double_row=True), expected)


def test_nan_and_inf_spread_in_a_product():
    stationary = np.array([[1, 2], [np.inf, 0]], np.float32)
    result = matmul.matmul(stationary, np.array([[1.0], [0.0]], np.float32))
    np.testing.assert_array_equal(result, [[np.nan], [2]])


@given(seeds)
def test_psum_accumulates_in_float32(seed):
    psum, product = random_tile(seed, (4, 6)), random_tile(seed + 1, (4, 6))
    np.testing.assert_array_equal(matmul.overwrite(product, dtypes.float32), product)
    np.testing.assert_array_equal(matmul.accumulate(psum, product, dtypes.float32), psum + product)
    np.testing.assert_array_equal(
        matmul.accumulate(psum.reshape(4, 2, 3), product, dtypes.float32), (psum + product).reshape(4, 2, 3)
    )


def test_bfloat16_psum_is_cast_up_added_and_cast_back():
    psum = np.array([[256.0]], ml_dtypes.bfloat16)
    product = np.array([[0.75]], np.float32)
    assert float(matmul.accumulate(psum, product, dtypes.bfloat16)[0, 0]) == 256
    assert float(matmul.accumulate(psum, product + 1, dtypes.bfloat16)[0, 0]) == 258
    assert float(matmul.overwrite(np.array([[257.0]], np.float32), dtypes.bfloat16)[0, 0]) == 256


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16", "float8_e4m3", "int32", "uint8", "int16"])
@given(seed=seeds, p=sizes, f=sizes)
def test_a_transpose_moves_bits(name, seed, p, f):
    storage = dtypes.TABLE[name].storage
    patterns = np.random.default_rng(seed).integers(0, 256, (p, f * storage.itemsize), np.uint8).view(storage)
    assert matmul.transpose(patterns).tobytes() == np.ascontiguousarray(cast.bits(patterns).T).tobytes()


def test_a_transpose_flattens_free_axes():
    x = random_tile(1, (3, 2, 4))
    np.testing.assert_array_equal(matmul.transpose(x), x.reshape(3, 8).T)


@given(seeds, st.integers(1, 12), sizes)
def test_transpose_mode_with_identity_or_permutation_is_bit_exact(seed, k, m):
    tile = cast.cast(random_tile(seed, (k, m), special=True), dtypes.bfloat16)
    order = np.random.default_rng(seed).permutation(k)
    permutation = np.eye(k, dtype=np.float32)[:, order].astype(ml_dtypes.bfloat16)
    result = matmul.transpose_matmul(tile, permutation)
    assert result.dtype == tile.dtype
    assert_same(result, tile[order].T)
    assert_same(
        matmul.transpose_matmul(permutation, np.broadcast_to(tile[:, :1], (k, 5)) * 2),
        np.broadcast_to(tile[:, :1], (k, 5))[order] * 2,
    )


def test_transpose_mode_with_anything_else_is_a_product():
    x, y = small_integers(1, (4, 3)) + 5, small_integers(2, (4, 2)) + 5
    np.testing.assert_array_equal(matmul.transpose_matmul(x, y), x.T @ y)


def test_the_second_generation_spreads_nan_when_it_transposes():
    x = np.array([[1, np.nan], [2, 3]], np.float32)
    result = matmul.transpose_by_product(x)
    np.testing.assert_array_equal(result, [[1, 2], [np.nan, np.nan]])
    clean = random_tile(4, (5, 7))
    np.testing.assert_array_equal(matmul.transpose_by_product(clean), clean.T)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["bfloat16", "float16", "float32"])
def test_torch_agrees(name):
    torch = pytest.importorskip("torch")
    dtype = getattr(torch, name)
    left, right = (
        torch.from_numpy(random_tile(1, (128, 96))).to(dtype),
        torch.from_numpy(random_tile(2, (128, 200))).to(dtype),
    )
    expected = (left.double().T @ right.double()).numpy()
    ours = matmul.matmul(*(cast.cast(random_tile(s, (128, f)), dtypes.TABLE[name]) for s, f in ((1, 96), (2, 200))))
    np.testing.assert_allclose(ours, expected, atol=2e-3, rtol=1e-5)
