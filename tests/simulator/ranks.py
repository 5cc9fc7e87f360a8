"""What the tests of collectives share: four ranks, and running a kernel on them."""

from __future__ import annotations

import nki
import nki.collectives as ncc
import nki.isa as nisa
import nki.language as nl

from nkilab.simulator import Sim, execute, per_rank

RANKS = 4
ALL = [[0, 1, 2, 3]]
PAIRS = [[0, 1], [3, 2]]


def run(kernel, *args, ranks=RANKS, cores=1, **options):
    """Outputs of all ranks; lists become one argument for each rank."""
    given = [per_rank(arg) if isinstance(arg, list) else arg for arg in args]
    return execute(nki.jit(kernel)[cores], given, {}, Sim(ranks=ranks, **options)).outputs


def copied(x):
    """A tensor of the kernel's own in HBM with the contents of an input."""
    own = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(own, x)
    return own


def hbm(shape, like):
    return nl.ndarray(shape, like.dtype, buffer=nl.shared_hbm)


def ring_all_reduce(x):
    """Every rank's array goes round the ring, and each rank adds what comes by."""
    group = ncc.ReplicaGroup([list(range(RANKS))])
    total, buffers = nl.load(x), [copied(x), hbm(x.shape, x)]
    for step in range(RANKS - 1):
        here, there = buffers[step % 2], buffers[(step + 1) % 2]
        ncc.collective_permute_implicit([[here]], [[there]], group)
        nisa.tensor_tensor(total, total, nl.load(there), nl.add)
    out = hbm(x.shape, x)
    nisa.dma_copy(out, total)
    return out
