"""Gathers within SBUF."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from nkilab.simulator.values import cast, dtypes, gather
from tests.simulator.values.oracle import assert_same, given, random_tile, seeds


@given(seeds, st.integers(1, 8), st.integers(1, 6), st.sampled_from([1, 2, 4]), st.data())
def test_local_gather_reads_indices_partition_first(seed, cores, columns, width, data):
    rng = np.random.default_rng(seed)
    src = cast.cast(random_tile(seed, (16 * cores, 40), special=True), dtypes.bfloat16)
    index = rng.integers(0, 40 - width + 1, (16 * cores, columns)).astype(np.uint16)
    valid = data.draw(st.none() | st.integers(1, 16 * columns))
    result = gather.local_gather(src, index, num_elem_per_idx=width, num_valid_indices=valid)
    count = 16 * columns if valid is None else valid
    assert result.shape == (16 * cores, count * width)
    for partition in range(16 * cores):
        first = partition // 16 * 16
        wanted = [int(index[first + j % 16, j // 16]) for j in range(count)]
        expected = [src[partition, start + i] for start in wanted for i in range(width)]
        assert_same(result[partition], np.array(expected))


def test_local_gather_flattens_the_free_axes_of_its_source():
    src = random_tile(1, (16, 10, 4))
    index = (np.arange(16, dtype=np.uint16).reshape(16, 1) % 10) * 4
    result = gather.local_gather(src, index, num_elem_per_idx=4).reshape(16, 16, 4)
    np.testing.assert_array_equal(result, src[:, np.arange(16) % 10])


@given(seeds, st.integers(1, 128), st.integers(1, 30))
def test_nc_n_gather_takes_each_partition_for_itself(seed, partitions, count):
    rng = np.random.default_rng(seed)
    data = random_tile(seed, (partitions, 3, 5))
    indices = rng.integers(0, 15, (partitions, count)).astype(np.uint32)
    expected = [[data[p].reshape(-1)[i] for i in indices[p]] for p in range(partitions)]
    np.testing.assert_array_equal(gather.nc_n_gather(data, indices), np.array(expected))


def test_nc_n_gather_refuses_an_index_beyond_the_partition():
    with pytest.raises(IndexError):
        gather.nc_n_gather(np.zeros((2, 4), np.float32), np.full((2, 1), 4, np.uint32))


@given(
    seeds,
    st.sampled_from([32, 64, 96, 128]),
    st.lists(st.one_of(st.just(255), st.integers(0, 31)), min_size=32, max_size=32),
)
def test_nc_stream_shuffle_moves_partitions_within_quadrants(seed, partitions, mask):
    src, dst = random_tile(seed, (partitions, 3)), random_tile(seed + 1, (partitions, 3))
    expected = dst.copy()
    for partition in range(partitions):
        if mask[partition % 32] != 255:
            expected[partition] = src[partition // 32 * 32 + mask[partition % 32]]
    np.testing.assert_array_equal(gather.nc_stream_shuffle(src, dst, mask), expected)


def test_nc_stream_shuffle_in_place_reads_before_it_writes():
    tile = np.arange(32, dtype=np.int32).reshape(32, 1)
    result = gather.nc_stream_shuffle(tile, tile, list(range(31, -1, -1)))
    np.testing.assert_array_equal(result[:, 0], np.arange(31, -1, -1))
