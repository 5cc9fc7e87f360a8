"""Random numbers: reproducible, uniform, and XORWOW."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from nkilab.simulator.values import cast, dtypes, random
from tests.simulator.values.oracle import given, random_tile, seeds

MASK = 0xFFFFFFFF


def xorwow(words: list[int], count: int) -> list[int]:
    """Marsaglia's generator on Python integers."""
    x, y, z, w, v, d = words
    drawn = []
    for _ in range(count):
        t = x ^ (x >> 2)
        x, y, z, w = y, z, w, v
        v = (v ^ (v << 4) ^ t ^ (t << 1)) & MASK
        d = (d + 362437) & MASK
        drawn.append((v + d) & MASK)
    return drawn


@given(seeds, st.integers(1, 12))
def test_bits_are_xorwow_with_states_taking_turns(seed, count):
    for states in (1, 4):
        state = random.seeded(seed, states)
        bits, _ = random.random_bits(state, 5, count)
        for lane in (0, 4):
            turns = [xorwow(state[lane, 6 * s : 6 * s + 6].tolist(), count) for s in range(states)]
            assert bits[lane].tolist() == [turns[i % states][i // states] for i in range(count)]


def test_marsaglias_own_seeds_give_his_first_number():
    state = np.array([[123456789, 362436069, 521288629, 88675123, 5783321, 6615241]], np.uint32)
    bits, _ = random.random_bits(state, 1, 1)
    assert bits.tolist() == [[246875399]]


@given(seeds, st.integers(1, 128), st.sampled_from([1, 4]))
def test_a_stream_continues_from_its_state(seed, partitions, states):
    state = random.seeded(seed, states)
    whole, _ = random.random_bits(state, partitions, 16)
    first, between = random.random_bits(state, partitions, 8)
    second, _ = random.random_bits(between, partitions, 8)
    np.testing.assert_array_equal(np.concatenate([first, second], axis=1), whole)
    np.testing.assert_array_equal(between[partitions:], state[partitions:])


def test_seeds_are_reproducible_and_differ():
    np.testing.assert_array_equal(random.seeded(42, 4), random.seeded(42, 4))
    assert (random.seeded(42, 4) != random.seeded(43, 4)).mean() > 0.99
    assert random.seeded(0, 4).shape == (128, 24)
    lanes, _ = random.random_bits(random.seeded(7, 1), 128, 4)
    assert len(np.unique(lanes)) == lanes.size


@pytest.mark.parametrize("name", ["int8", "uint8", "int16", "uint16", "int32", "uint32"])
def test_rng_truncates_to_the_low_bits(name):
    state = random.seeded(1, 4)
    bits, after = random.random_bits(state, 3, 10)
    tile, after_rng = random.rng(state, (3, 2, 5), dtypes.TABLE[name])
    assert tile.dtype == name
    np.testing.assert_array_equal(
        cast.bits(tile).reshape(3, 10), bits.astype(np.uint64) % 2 ** (8 * tile.dtype.itemsize)
    )
    np.testing.assert_array_equal(after, after_rng)


def test_rand2_is_uniform_between_its_bounds():
    tile, _ = random.rand2(random.seeded(5, 4), (128, 512), -2.0, 6.0, dtypes.float32)
    assert tile.dtype == np.float32
    assert tile.min() >= -2
    assert tile.max() <= 6
    assert abs(tile.mean() - 2) < 0.05
    counts, _ = np.histogram(tile, bins=16, range=(-2, 6))
    assert np.abs(counts / tile.size - 1 / 16).max() < 0.005


def test_rand2_takes_bounds_for_each_partition_and_casts():
    low, high = np.array([[0.0], [10.0]], np.float32), np.array([[1.0], [11.0]], np.float32)
    tile, _ = random.rand2(random.seeded(5, 4), (2, 100), low, high, dtypes.bfloat16)
    assert tile.dtype == dtypes.bfloat16.storage
    assert (tile[0].astype(np.float32) <= 1).all()
    assert (tile[1].astype(np.float32) >= 10).all()


@given(seeds)
def test_dropout_keeps_values_or_zeroes_them(seed):
    x = random_tile(seed, (8, 5, 4), special=False) + np.float32(100)
    state = random.seeded(seed, 4)
    np.testing.assert_array_equal(random.dropout(x, 0.0, state)[0], x)
    np.testing.assert_array_equal(random.dropout(x, 1.0, state)[0], np.zeros_like(x))
    some, _ = random.dropout(x, 0.5, state)
    assert ((some == x) | (some == 0)).all()


def test_dropout_drops_at_the_rate_of_each_partition():
    rates = np.array([[0.1], [0.9]], np.float32)
    dropped, _ = random.dropout(np.ones((2, 20_000), np.int32), rates, random.seeded(3, 4))
    assert dropped.dtype == np.int32
    np.testing.assert_allclose(1 - dropped.mean(axis=1), rates[:, 0], atol=0.01)
