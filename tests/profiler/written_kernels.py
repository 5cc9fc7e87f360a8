"""Kernels whose simulated runs have rows that few kernels have: spills, barriers, collectives. Plain NKI."""

import nki
import nki.collectives as ncc
import nki.isa as nisa
import nki.language as nl


@nki.jit
def spilling(x):
    """Changes every tile, then stores them all: more than SBUF holds."""
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    tiles = []
    for n in range(0, x.shape[0], 128):
        tile = nl.ndarray((128, x.shape[1]), dtype=x.dtype, buffer=nl.sbuf)
        nisa.dma_copy(dst=tile, src=x[n : n + 128, :])
        nisa.tensor_scalar(dst=tile, data=tile, op0=nl.multiply, operand0=2.0)
        tiles.append(tile)
    for n, tile in enumerate(tiles):
        nisa.dma_copy(dst=out[n * 128 : n * 128 + 128, :], src=tile)
    return out


@nki.jit
def two_cores(x):
    """The first core works before a barrier, the second waits for it."""
    shared = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    core = nl.program_id(0)
    mine = nl.ds(core * 64, 64)
    tile = nl.load(x[mine])
    for _ in range(10 * (1 - core)):
        nisa.tensor_scalar(tile, tile, nl.add, 1.0)
    nisa.dma_copy(shared[mine], tile)
    nisa.core_barrier(shared, (0, 1))
    nisa.dma_copy(tile, shared[nl.ds((1 - core) * 64, 64)])
    return shared


@nki.jit
def two_ranks(x):
    """The sum of x over the ranks."""
    tile, own = nl.load(x), nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(own, tile)
    out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    ncc.all_reduce([own], [out], ncc.ReplicaGroup([[0, 1]]), nl.add)
    return out
