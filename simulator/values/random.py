"""Random numbers: rng, rand2, dropout and the states behind them. Deterministic, but not the hardware's bits.

Documented: NeuronCore-v4's Vector engine and GpSimd use XORWOW; a state is six uint32 values; the Vector engine keeps four
states for each compute lane (24 values), GpSimd one; Vector engines before v4 use an undisclosed LFSR (Trainium3 guide,
"XORWOW-based PRNG"; `nisa.rand_set_state`).

Left open, decided here: all engines run XORWOW (Marsaglia, "Xorshift RNGs", 2003), state words in the order
x, y, z, w, v, counter; element i of a partition comes from state i % 4 where there are four; `set_rng_seed` spreads its one
seed over lanes and words by the SplitMix64 mixer; a float in [0, 1) is the upper 24 bits of a word times 2^-24.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import cast
from .arrays import F32, Array, Operand, free_flat, per_partition

if TYPE_CHECKING:
    from .dtypes import DType

State: TypeAlias = NDArray[np.uint32]
"""(lanes, 6 s): s XORWOW states of six words for each lane; s is 1 on GpSimd, 4 on the Vector engine."""

LANES = 128
WORDS = 6
VECTOR_STATES = 4
_COUNTER_STEP = np.uint32(362437)


def seeded(seed: int, states: int, lanes: int = LANES) -> State:
    """States of all lanes from one 32-bit seed: `nisa.set_rng_seed`, and the state an engine starts with.

    Args:
        seed: 32-bit value.
        states: XORWOW states for each lane.
        lanes: number of lanes.

    Returns:
        uint32 (lanes, 6 * states); no state has its five shift words all zero.
    """
    words = np.arange(lanes * states * WORDS, dtype=np.uint64)
    step, mix1, mix2 = (np.uint64(c) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
    z = np.uint64(seed & 0xFFFFFFFF) * np.uint64(1 << 32) + (words + np.uint64(1)) * step
    z = (z ^ (z >> np.uint64(30))) * mix1
    z = (z ^ (z >> np.uint64(27))) * mix2
    mixed = (z ^ (z >> np.uint64(31))).astype(np.uint32)
    return np.maximum(mixed, 1).reshape(lanes, -1)


def random_bits(state: State, partitions: int, count: int) -> tuple[NDArray[np.uint32], State]:
    """32 random bits for every element.

    Args:
        state: (lanes, 6 s), lanes >= partitions.
        partitions: partitions that draw; the other lanes keep their state.
        count: elements per partition.

    Returns:
        uint32 (partitions, count), and the state afterwards.
    """
    states = state.shape[1] // WORDS
    lanes = state[:partitions].reshape(partitions * states, WORDS).T.copy()
    x, y, z, w, v, counter = lanes
    steps = -(-count // states)
    drawn = np.empty((steps, partitions * states), np.uint32)
    for index in range(steps):
        t = x ^ (x >> np.uint32(2))
        x, y, z, w = y, z, w, v
        v = (v ^ (v << np.uint32(4))) ^ (t ^ (t << np.uint32(1)))
        counter = counter + _COUNTER_STEP
        drawn[index] = v + counter
    after = state.copy()
    after[:partitions] = np.stack([x, y, z, w, v, counter], axis=1).reshape(partitions, -1)
    bits = drawn.reshape(steps, partitions, states).swapaxes(0, 1).reshape(partitions, -1)
    return bits[:, :count], after


def unit_interval(bits: NDArray[np.uint32]) -> F32:
    """Random words as float32 in [0, 1), exact multiples of 2^-24."""
    return (bits >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def rng(state: State, shape: tuple[int, ...], out: DType) -> tuple[Array, State]:
    """`nisa.rng`: random integers, the low bits of 32 random bits for each element.

    Args:
        state: of the engine that runs it.
        shape: (P, ...).
        out: an integer type.

    Returns:
        Array of `out.storage` and of `shape`, and the state afterwards.
    """
    bits, after = random_bits(state, shape[0], _free_size(shape))
    return cast.wrap_integer(bits, out).reshape(shape), after


def rand2(state: State, shape: tuple[int, ...], low: Operand, high: Operand, out: DType) -> tuple[Array, State]:
    """`nisa.rand2`: uniform float32 values between `low` and `high`.

    Args:
        state: of the Vector engine.
        shape: (P, ...).
        low: scalar or (P, 1), float32 (`min`).
        high: scalar or (P, 1), float32 (`max`).
        out: data type of the result.

    Returns:
        Array of `out.storage` and of `shape`, and the state afterwards.
    """
    bits, after = random_bits(state, shape[0], _free_size(shape))
    below, above = (per_partition(bound, 2).astype(np.float32) for bound in (low, high))
    values = np.minimum(below + unit_interval(bits) * (above - below), above)
    return cast.from_float32(values.reshape(shape), out), after


def dropout(data: Array, prob: Operand, state: State) -> tuple[Array, State]:
    """`nisa.dropout`: elements replaced by zero with probability `prob`; the others stay as they are, unscaled.

    Args:
        data: stored tile (P, ...).
        prob: scalar or (P, 1), float: 1 drops all, 0 none.
        state: of the Vector engine.

    Returns:
        Shape and dtype of `data`, and the state afterwards.
    """
    flat = free_flat(data)
    bits, after = random_bits(state, *flat.shape)
    drop = unit_interval(bits) < per_partition(prob, 2).astype(np.float32)
    return np.where(drop, np.zeros((), data.dtype), flat).reshape(data.shape), after


def _free_size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape[1:], dtype=np.int64))
