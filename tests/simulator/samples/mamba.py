"""The selective scan of a Mamba block: channels on partitions, one scan along time for each state."""

from __future__ import annotations

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np

TARGETS = ("trn1", "trn2", "trn3")


@nki.jit
def selective_scan(delta, u, a, b, c):
    """y = sum_s c_s h_s with h_s' = exp(delta a_s) h_s + delta u b_s; delta, u (channels, time), a (channels, states)."""
    channels, length = delta.shape
    states = a.shape[1]
    block = min(channels, nl.tile_size.pmax)
    out = nl.ndarray((channels, length), delta.dtype, nl.shared_hbm)
    for start in range(0, channels, block):
        rows = nl.ds(start, block)
        step, gain, rate = (nl.ndarray((block, each.shape[1]), nl.float32) for each in (delta, u, a))
        for tile, source in ((step, delta), (gain, u), (rate, a)):
            nisa.dma_copy(tile, source[rows])
        nisa.tensor_tensor(gain, gain, step, nl.multiply)
        total = nl.ndarray((block, length), nl.float32)
        nisa.memset(total, 0.0)
        for state in range(states):
            decay, drive, read, held = (nl.ndarray((block, length), nl.float32) for _ in range(4))
            nisa.activation(decay, nl.exp, step, scale=rate[:, state : state + 1])
            nisa.dma_copy(drive, b.ap([[0, block], [1, length]], offset=state * length))
            nisa.tensor_tensor(drive, drive, gain, nl.multiply)
            nisa.tensor_tensor_scan(held, decay, drive, 0.0, nl.multiply, nl.add)
            nisa.dma_copy(read, c.ap([[0, block], [1, length]], offset=state * length))
            nisa.tensor_tensor(held, held, read, nl.multiply)
            nisa.tensor_tensor(total, total, held, nl.add)
        nisa.dma_copy(out[rows], total)
    return out


def inputs(rng):
    delta = rng.uniform(0.05, 0.3, (256, 96)).astype(np.float32)
    u = rng.standard_normal((256, 96), dtype=np.float32)
    a = -rng.uniform(0.2, 2, (256, 4)).astype(np.float32)
    return delta, u, a, *(rng.standard_normal((4, 96), dtype=np.float32) for _ in range(2))


def reference(delta, u, a, b, c):
    state, result = np.zeros(a.shape), np.zeros(delta.shape)
    for t in range(delta.shape[1]):
        state = np.exp(delta[:, t, None] * a) * state + (delta * u)[:, t, None] * b[:, t]
        result[:, t] = state @ c[:, t]
    return result


SAMPLE = (selective_scan, inputs, reference)
