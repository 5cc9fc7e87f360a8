"""Random numbers: what the pages fix of them. The bits are XORWOW's, which the pages name for GpSimd and trn3 only."""

from __future__ import annotations

import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from tests.simulator.documented.harness import BF16, COLUMN, RNG, X, out, run, same

STATES = RNG.integers(1, 2**32, (128, 6), dtype=np.uint64).astype(np.uint32)


def xorwow(states, count):
    """Marsaglia's XORWOW from states (lanes, 6) of x, y, z, w, v, d: `count` words of each lane, and the states after."""
    words = np.zeros((len(states), count), np.uint32)
    after = np.zeros_like(states)
    for lane, state in enumerate(states):
        x, y, z, w, v, d = (int(word) for word in state)
        for i in range(count):
            t = x ^ x >> 2
            x, y, z, w = y, z, w, v
            v = (v ^ v << 4 ^ t ^ t << 1) % 2**32
            d = (d + 362437) % 2**32
            words[lane, i] = (v + d) % 2**32
        after[lane] = x, y, z, w, v, d
    return words, after


@pytest.mark.operation("nki.isa.rng")
def test_rng_takes_the_low_bits_of_xorwow_on_gpsimd():
    for dtype, convert in ((nl.uint32, np.uint32), (nl.int16, np.int16), (nl.uint8, np.uint8)):

        def body(d, state):
            nisa.rand_set_state(state)
            nisa.rng(d, nisa.engine.gpsimd)

        found = run(body, STATES, outs=out(128, 10, dtype=dtype))
        same(found, xorwow(STATES, 10)[0].astype(convert))


@pytest.mark.operation("nki.isa.rand_set_state")
@pytest.mark.operation("nki.isa.rand_get_state")
def test_states_are_set_advanced_and_read_back():
    def body(before, numbers, after, state):
        nisa.rand_set_state(state)
        nisa.rand_get_state(before)
        nisa.rng(numbers, nisa.engine.gpsimd)
        nisa.rand_get_state(after)

    state, words = out(128, 6, dtype=nl.uint32), out(128, 5, dtype=nl.uint32)
    before, numbers, after = run(body, STATES, outs=[state, words, state])
    expected, last = xorwow(STATES, 5)
    same(before, STATES)
    same(numbers, expected)
    same(after, last)


@pytest.mark.operation("nki.isa.set_rng_seed")
def test_a_seed_starts_the_same_sequence_again():
    def body(first, again, other):
        for tile, seed in ((first, 7), (again, 7), (other, 8)):
            nisa.set_rng_seed(nl.full((1, 1), seed, nl.int32))
            nisa.rng(tile)

    first, again, other = run(body, outs=[out(128, 9, dtype=nl.uint32)] * 3)
    same(first, again)
    assert (first != other).mean() > 0.99


@pytest.mark.operation("nki.isa.rand2")
def test_rand2_is_uniform_between_its_bounds():
    """With state 0 of a lane as it was set, element i comes from state i % 4; a float is the upper 24 bits of its word."""
    states = RNG.integers(1, 2**32, (128, 24), dtype=np.uint64).astype(np.uint32)
    low, high = np.minimum(COLUMN, 0), np.maximum(COLUMN, 0) + 1

    def body(d, state, a, b):
        nisa.rand_set_state(state, nisa.engine.vector)
        nisa.rand2(d, a, b)

    found = run(body, states, low, high, outs=out(128, 40), target="trn3")
    words = np.stack([xorwow(states[:, 6 * s : 6 * s + 6], 10)[0] for s in range(4)], axis=2).reshape(128, 40)
    unit = (words >> 8).astype(np.float32) * np.float32(2**-24)
    same(found, low + unit * (high - low))
    assert ((found >= low) & (found <= high)).all()
    assert abs(((found - low) / (high - low)).mean() - 0.5) < 0.02


@pytest.mark.operation("nki.isa.dropout")
def test_dropout_zeroes_a_share_and_leaves_the_rest_unscaled():
    data = np.abs(np.tile(X, 8)) + np.float32(1)
    probability = np.linspace(0, 1, 128, dtype=np.float32)[:, None]
    found = run(nisa.dropout, data, probability, outs=out(*data.shape))
    same(found, np.where(found == 0, np.float32(0), data))
    share = (found == 0).mean(1)
    assert share[0] == 0
    assert share[127] == 1
    assert np.abs(share - probability[:, 0]).max() < 0.15
    half = run(lambda d, x: nisa.dropout(d, x, 0.5), data.astype(BF16), outs=out(*data.shape, dtype=nl.bfloat16))
    same(half, np.where(half == 0, BF16.type(0), data.astype(BF16)))
    assert 0.45 < (half == 0).mean() < 0.55
