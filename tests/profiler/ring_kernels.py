"""A ring all-reduce beside compute, and the same with one rank that computes longer. Plain NKI."""

import nki
import nki.collectives as ncc
import nki.isa as nisa
import nki.language as nl


@nki.jit
def ring_beside_compute(x, work, ranks=4, before=20, beside=10):
    """Compute `before` times, send x round the ring and add what comes by, compute `beside` times meanwhile."""
    group = ncc.ReplicaGroup([list(range(ranks))])
    own, other = (nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm) for _ in range(2))
    total = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=total, src=x)
    tile = nl.ndarray(work.shape, dtype=nl.float32, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=work)
    for _ in range(before):
        nisa.tensor_scalar(dst=tile, data=tile, op0=nl.add, operand0=1.0, engine=nisa.engine.vector)
    nisa.tensor_copy(dst=total[:, 0:1], src=tile[:, 0:1])
    nisa.dma_copy(dst=own, src=total)
    buffers = [own, other]
    for step in range(ranks - 1):
        here, there = buffers[step % 2], buffers[(step + 1) % 2]
        ncc.collective_permute_implicit([[here]], [[there]], group)
        for _ in range(beside):
            nisa.activation(dst=tile, op=nl.exp, data=tile)
        came = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.sbuf)
        nisa.dma_copy(dst=came, src=there)
        nisa.tensor_tensor(dst=total, data1=total, data2=came, op=nl.add)
    result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(dst=result, src=total)
    return result
