"""iota and the affine index."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from nkilab.simulator.values import dtypes, iota
from tests.simulator.values.oracle import given

steps = st.integers(-1000, 1000)
patterns = st.lists(st.tuples(steps, st.integers(1, 5)), min_size=1, max_size=4)


@given(st.integers(1, 128), patterns, steps, steps)
def test_values_are_the_documented_loops(partitions, pattern, offset, multiplier):
    sizes = [num for _, num in pattern]
    expected = np.empty((partitions, *sizes), np.int64)
    for index in np.ndindex(*sizes):
        value = offset + sum(i * step for i, (step, _) in zip(index, pattern, strict=True))
        expected[(slice(None), *index)] = value + np.arange(partitions) * multiplier
    result = iota.affine(partitions, pattern, offset, multiplier)
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result, expected.reshape(partitions, -1))


def test_arithmetic_is_32_bit():
    assert iota.affine(1, [[2**30, 4]], 0, 0).tolist() == [[0, 2**30, -(2**31), -(2**30)]]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("uint8", [0, 0, 200, 255]),
        ("int16", [-200, 0, 200, 400]),
        ("float32", [-200, 0, 200, 400]),
        ("bfloat16", [-200, 0, 200, 400]),
    ],
)
def test_values_are_cast_to_the_output(name, expected):
    tile = iota.iota(1, [[200, 4]], -200, 0, dtypes.TABLE[name])
    assert tile.dtype == dtypes.TABLE[name].storage
    np.testing.assert_array_equal(tile.astype(np.float32)[0], expected)


def test_uint32_beyond_float32_is_exact():
    np.testing.assert_array_equal(iota.iota(1, [[1, 2]], 2**24, 0, dtypes.int32), [[2**24, 2**24 + 1]])
