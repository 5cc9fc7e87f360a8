"""Matrix multiplication over ranks that each hold a part of M and of N: gather one chunk while the last is multiplied.

    rank r holds   lhsT_r [K, M / R]   and   rhs_r [K, N / R]
    rank r makes   concat(lhsT_0 ... lhsT_R-1).T @ rhs_r   [M, N / R]

    collective   | gather 0 | gather 1 | gather 2 | ...
    TensorE                 | multiply 0          | multiply 1          | ...

A chunk is up to 512 columns of every rank's lhsT, what one block of `matmul_fast` takes from each rank; it is copied to a
tensor of its own, as collectives want kernel-internal tensors in one piece, and the gather of a chunk is issued before the
multiplies of the chunk ahead of it. `rhs` stays where it is.

Bound: the tensor engine while the gather of a chunk takes less than its multiplies; else the links between the ranks.
"""

import nki
import nki.collectives as ncc
import nki.isa as nisa
import nki.language as nl

from .matmul_fast import BANKS_M, BANKS_N, Operand, load_steps, multiply_block
from .projection import BANK, ROWS
from .tiles import spans

FIRST = 256
"""Columns of the first chunk, whose gather nothing hides; fewer would leave the multiplies waiting for their operands."""


@nki.jit
def allgather_matmul(lhs, rhs, ranks=1):
    """Return this rank's columns of the product, `[ranks * M, N]`, in lhs's dtype, summed in fp32.

    `lhs[K, M]` is this rank's part of the left operand, contraction first; `rhs[K, N]` its columns of the right one. All
    ranks have equal shapes; rows of the result are in the order of the ranks.
    """
    K, M = lhs.shape
    assert nl.num_programs() == 1, "ranks share out the work; a rank is one core"
    assert rhs.shape[0] == K, f"lhs contracts over {K}, rhs over {rhs.shape[0]}"
    result = nl.ndarray((ranks * M, rhs.shape[1]), dtype=lhs.dtype, buffer=nl.shared_hbm)
    group = ncc.ReplicaGroup([list(range(ranks))])
    chunks = [*spans((0, min(M, FIRST)), FIRST), *spans((FIRST, M), BANKS_M * ROWS)]
    following = gather(lhs, *chunks[0], group, ranks)
    for index, (m, size) in enumerate(chunks):
        gathered = following
        if index + 1 < len(chunks):
            following = gather(lhs, *chunks[index + 1], group, ranks)
        for rank in range(ranks):
            multiply_rows(result, rank * M + m, Operand(gathered, first_row=rank * K), Operand(rhs), K, size)
    return result


def gather(lhs, m, size, group, ranks):
    """Columns [m, m + size) of every rank's operand, one below the other: `[ranks * K, size]`."""
    K = lhs.shape[0]
    own = nl.ndarray((K, size), dtype=lhs.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(dst=own, src=lhs[:, m : m + size])
    every = nl.ndarray((ranks * K, size), dtype=lhs.dtype, buffer=nl.shared_hbm)
    ncc.all_gather([own], [every], group, 0)
    return every


def multiply_rows(result, row, left, right, K, size):
    """Rows [row, row + size) of the result."""
    for n, block_n in spans((0, result.shape[1]), BANKS_N * BANK):
        steps = load_steps(left, right, K, (0, size), (n, block_n), False)
        tiles = [(i, j) for i in spans((0, size), ROWS) for j in spans((0, block_n), BANK)]
        multiply_block(result, (row, n, block_n), steps, tiles, None, None)
