"""bn_stats and bn_aggr."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from nkilab.simulator.values import cast, dtypes, norm
from tests.simulator.values.oracle import given, random_tile, seeds


@given(seeds, st.integers(1, 64), st.integers(2, 512))
def test_bn_stats_describes_even_and_odd_elements(seed, partitions, free):
    x = random_tile(seed, (partitions, free))
    halves = [x[:, 0::2].astype(np.float64), x[:, 1::2].astype(np.float64)]
    expected = np.concatenate(
        [
            np.stack([np.full(partitions, h.shape[1]), h.mean(axis=1), h.var(axis=1) * h.shape[1]], axis=1)
            for h in halves
        ],
        axis=1,
    )
    result = norm.bn_stats(x, dtypes.float32)
    assert result.shape == (partitions, 6)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


def test_a_single_element_leaves_the_odd_half_empty():
    np.testing.assert_array_equal(norm.bn_stats(np.array([[3.0]], np.float32), dtypes.float32), [[1, 3, 0, 0, 0, 0]])


@given(seeds, st.integers(1, 32), st.lists(st.integers(2, 200), min_size=1, max_size=4))
def test_aggregated_stats_are_the_mean_and_variance_of_all_elements(seed, partitions, sizes):
    tiles = [random_tile(seed + i, (partitions, size)) + np.float32(i) for i, size in enumerate(sizes)]
    stats = np.concatenate([norm.bn_stats(t, dtypes.float32) for t in tiles], axis=1)
    whole = np.concatenate(tiles, axis=1).astype(np.float64)
    result = norm.bn_aggr(stats, dtypes.float32)
    assert result.shape == (partitions, 2)
    np.testing.assert_allclose(result[:, 0], whole.mean(axis=1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(result[:, 1], whole.var(axis=1), rtol=1e-4, atol=1e-4)
    shaped = norm.bn_aggr(stats.reshape(partitions, -1, 6), dtypes.float32)
    np.testing.assert_array_equal(shaped, result)


def test_statistics_are_float32_of_narrow_inputs_and_cast_at_the_end():
    x = cast.cast(np.full((1, 512), 1.0078125, np.float32), dtypes.bfloat16)
    stats = norm.bn_stats(x, dtypes.bfloat16)
    assert stats.dtype == dtypes.bfloat16.storage
    np.testing.assert_array_equal(stats.astype(np.float32), [[256, 1.0078125, 0, 256, 1.0078125, 0]])


@pytest.mark.torch
def test_torch_agrees():
    torch = pytest.importorskip("torch")
    x = random_tile(1, (128, 512))
    mean_var = norm.bn_aggr(norm.bn_stats(x, dtypes.float32), dtypes.float32)
    var, mean = torch.var_mean(torch.from_numpy(x).double(), dim=1, correction=0)
    np.testing.assert_allclose(mean_var, torch.stack([mean, var], dim=1).numpy(), rtol=1e-5, atol=1e-5)
