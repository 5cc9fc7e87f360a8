"""max8, nc_find_index8, nc_match_replace8, nonzero_with_count, sequence_bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from nkilab.simulator.values import cast, dtypes, search
from tests.simulator.values.oracle import given, random_tile, seeds

few_values = st.lists(st.integers(0, 5), min_size=8, max_size=40)


def rows(*values: list[float]) -> np.ndarray:
    return np.array(values, np.float32)


@given(seeds, st.integers(1, 32), st.integers(8, 80))
def test_max8_gives_the_largest_in_descending_order(seed, partitions, free):
    x = cast.cast(random_tile(seed, (partitions, free)), dtypes.bfloat16)
    expected = -np.sort(-x.astype(np.float32), axis=1)[:, :8]
    np.testing.assert_array_equal(search.max8(x, dtypes.float32), expected)
    np.testing.assert_array_equal(
        search.max8(x.reshape(partitions, free, 1), dtypes.bfloat16).astype(np.float32), expected
    )


def test_max8_counts_equal_values_and_takes_nan_last():
    x = rows([5, 5, 5, 1, 2, 3, 4, -np.inf, np.nan, 9])
    np.testing.assert_array_equal(search.max8(x, dtypes.float32), [[9, 5, 5, 5, 4, 3, 2, 1]])
    x = rows([np.nan, 1, 2, 3, 4, 5, 6, -np.inf])
    np.testing.assert_array_equal(search.max8(x, dtypes.float32), [[6, 5, 4, 3, 2, 1, -np.inf, np.nan]])


def first_occurrences(data: list[int], vals: list[int], order: range) -> list[int]:
    """One value after the other, each taking its first free occurrence; -1 if none is left."""
    taken: set[int] = set()
    found = [-1] * 8
    for column in order:
        free = [i for i, v in enumerate(data) if v == vals[column] and i not in taken]
        if free:
            found[column] = free[0]
            taken.add(free[0])
    return found


@given(few_values, st.lists(st.integers(0, 6), min_size=8, max_size=8), st.sampled_from(["uint16", "uint32"]))
def test_find_index8_pairs_duplicates_in_ascending_order(data, vals, name):
    dtype = dtypes.TABLE[name]
    ones = np.iinfo(dtype.storage).max
    expected = [ones if i < 0 else i for i in first_occurrences(data, vals, range(8))]
    result = search.nc_find_index8(rows(data, data), rows(vals, vals), dtype)
    assert result.dtype == dtype.storage
    assert result.tolist() == [expected, expected]


def test_find_index8_of_max8_locates_every_maximum():
    x = random_tile(3, (128, 500))
    x[:, 100:104] = 50
    index = search.nc_find_index8(x, search.max8(x, dtypes.float32), dtypes.uint32)
    np.testing.assert_array_equal(index[:, :4], np.broadcast_to([100, 101, 102, 103], (128, 4)))
    np.testing.assert_array_equal(np.take_along_axis(x, index.astype(int), axis=1), search.max8(x, dtypes.float32))


def test_a_nan_matches_nothing():
    index = search.nc_find_index8(rows([np.nan] * 8), rows([np.nan] * 8), dtypes.uint32)
    assert (index == 0xFFFFFFFF).all()


def test_the_documented_example_of_match_replace8():
    data, vals = rows([1, 2, 3, 4, 8, 8, 8, 8, 8, 8, 8]), rows([3, 8, 8, 8, 8, 8, 8, 8])
    replaced, found = search.nc_match_replace8(data, vals, -1.0, dtypes.float32)
    np.testing.assert_array_equal(replaced, [[1, 2, -1, 4, -1, -1, -1, -1, -1, -1, -1]])
    assert search.index_tile(found, dtypes.uint32).tolist() == [[2, 10, 9, 8, 7, 6, 5, 4]]


@given(few_values, st.lists(st.integers(0, 6), min_size=8, max_size=8))
def test_match_replace8_pairs_duplicates_in_descending_order(data, vals):
    expected = first_occurrences(data, vals, range(7, -1, -1))
    replaced, found = search.nc_match_replace8(rows(data), rows(vals), 99.0, dtypes.bfloat16)
    assert found.tolist() == [expected]
    assert replaced.astype(np.float32).tolist() == [[99.0 if i in expected else v for i, v in enumerate(data)]]
    ones = [0xFFFF if i < 0 else i for i in expected]
    assert search.index_tile(found, dtypes.uint16).tolist() == [ones]


def test_a_replacement_is_not_matched_again():
    replaced, found = search.nc_match_replace8(
        rows([1, 2, 0, 0, 0, 0, 0, 0]), rows([1, 1, 1, 1, 1, 1, 1, 2]), 1.0, dtypes.float32
    )
    assert found.tolist() == [[-1, -1, -1, -1, -1, -1, 0, 1]]
    np.testing.assert_array_equal(replaced, rows([1, 1, 0, 0, 0, 0, 0, 0]))


def test_the_documented_example_of_nonzero_with_count():
    result = search.nonzero_with_count(np.array([[0, 1, 1, 0, 0, 1, 0, 0]], np.int32), index_offset=16, padding_val=-1)
    assert result.dtype == np.int32
    assert result.tolist() == [[17, 18, 21, -1, -1, -1, -1, -1, 3]]


@given(seeds, st.integers(1, 8), st.integers(1, 60), st.integers(-100, 100), st.integers(-9, 9))
def test_nonzero_with_count_is_the_documented_loop(seed, partitions, free, offset, padding):
    x = np.random.default_rng(seed).integers(0, 2, (partitions, free)).astype(np.float32)
    expected = []
    for row in x:
        found = [i + offset for i, v in enumerate(row) if v != 0]
        expected.append(found + [padding] * (free - len(found)) + [len(found)])
    assert search.nonzero_with_count(x, index_offset=offset, padding_val=padding).tolist() == expected


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6)), min_size=1, max_size=10),
    st.sampled_from(["float32", "int32"]),
)
def test_sequence_bounds_gives_start_and_exclusive_end(segments, name):
    ids = [value for value, length in segments for _ in range(length)]
    n = len(ids)
    starts, ends = [], []
    for i, value in enumerate(ids):
        start = end = i
        while start > 0 and ids[start - 1] == value:
            start -= 1
        while end < n and ids[end] == value:
            end += 1
        starts.append(n if value == 0 else start)
        ends.append(-1 if value == 0 else end)
    dtype = dtypes.TABLE[name]
    result = search.sequence_bounds(np.array([ids], dtype.storage), dtype)
    assert result.dtype == dtype.storage
    assert result.shape == (1, 2, n)
    assert result[0].tolist() == [starts, ends]


@pytest.mark.torch
def test_torch_agrees():
    torch = pytest.importorskip("torch")
    x = random_tile(7, (128, 300))
    values, indices = torch.topk(torch.from_numpy(x), 8, dim=1)
    largest = search.max8(x, dtypes.float32)
    np.testing.assert_array_equal(largest, values.numpy())
    np.testing.assert_array_equal(search.nc_find_index8(x, largest, dtypes.uint32), indices.numpy())
