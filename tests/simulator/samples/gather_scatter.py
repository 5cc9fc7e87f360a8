"""Rows of a table picked by one index tile, changed, and put where another one says."""

from __future__ import annotations

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np

TARGETS = ("trn1", "trn2", "trn3")


@nki.jit
def move_rows(table, source, target):
    """A copy of `table` with 2 x table[source] in the rows `target`; numbers beyond the table are left out."""
    count, width = source.shape[0], table.shape[1]
    out = nl.ndarray(table.shape, table.dtype, nl.shared_hbm)
    nisa.dma_copy(out, table)
    picks, puts = nl.ndarray((count, 1), nl.int32), nl.ndarray((count, 1), nl.int32)
    nisa.dma_copy(picks, source)
    nisa.dma_copy(puts, target)
    rows = nl.ndarray((count, width), table.dtype)
    nisa.memset(rows, 0.0)
    nisa.dma_copy(rows, table.vector_select(0, picks), oob_mode=nisa.oob_mode.skip)
    nisa.tensor_scalar(rows, rows, nl.multiply, 2.0)
    pattern = [[width, count], [1, width]]
    nisa.dma_copy(out.ap(pattern, vector_offset=puts, indirect_dim=0), rows, oob_mode=nisa.oob_mode.skip)
    return out


def inputs(rng):
    table = rng.standard_normal((300, 48), dtype=np.float32)
    source = rng.integers(0, 320, (64, 1)).astype(np.int32)
    return table, source, rng.permutation(330)[:64].reshape(64, 1).astype(np.int32)


def reference(table, source, target):
    result = table.copy()
    for pick, put in zip(source[:, 0], target[:, 0], strict=True):
        if put < len(table):
            result[put] = 2 * table[pick] if pick < len(table) else 0
    return result


SAMPLE = (move_rows, inputs, reference)
