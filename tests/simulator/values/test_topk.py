"""topk in the snake layout of 16 partitions."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import strategies as st

from nkilab.simulator.values import topk
from tests.simulator.values.oracle import given, random_tile, seeds


def snake_of(tile: np.ndarray, group: int) -> list[float]:
    """Element j of a group: partition j % 16, free position j // 16."""
    return [float(tile[16 * group + j % 16, j // 16]) for j in range(16 * tile.shape[1])]


@given(seeds, st.integers(1, 8), st.integers(8, 200), st.data())
def test_results_are_the_largest_of_each_group_in_snake_layout(seed, groups, n, data):
    k = data.draw(st.integers(1, n))
    columns = -(-n // 16) + data.draw(st.integers(0, 2))
    src = random_tile(seed, (16 * groups, columns)).astype(ml_dtypes.bfloat16)
    result = topk.topk(src, n, k)
    width = -(-k // 16)
    assert result.values.shape == result.indices.shape == result.defined.shape == (16 * groups, width)
    assert result.indices.dtype == np.uint32
    for group in range(groups):
        active = snake_of(src, group)[:n]
        values, indices = snake_of(result.values, group)[:k], snake_of(result.indices, group)[:k]
        assert values == sorted(active, reverse=True)[:k]
        assert [active[int(i)] for i in indices] == values
        assert len(set(indices)) == k
        assert snake_of(result.defined, group) == [float(j < k) for j in range(16 * width)]


def test_elements_beyond_n_are_ignored():
    src = np.zeros((16, 2), ml_dtypes.bfloat16)
    src[:, 1] = 100
    src[3, 0] = 1
    result = topk.topk(src, 16, 1)
    assert float(result.values[0, 0]) == 1
    assert result.indices[0, 0] == 3


def test_of_equal_values_the_lower_index_comes_first():
    result = topk.topk(np.ones((16, 2), ml_dtypes.bfloat16), 32, 20)
    assert snake_of(result.indices, 0)[:20] == list(range(20))


@pytest.mark.torch
def test_torch_agrees():
    torch = pytest.importorskip("torch")
    src = np.random.default_rng(1).permutation(16 * 12).reshape(16, 12).astype(np.float32).astype(ml_dtypes.bfloat16)
    snake = np.array(snake_of(src, 0), np.float32)
    values, _ = torch.topk(torch.from_numpy(snake), 48)
    assert snake_of(topk.topk(src, 192, 48).values, 0) == values.tolist()
