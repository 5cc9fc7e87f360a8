"""NKI kernels that load one part of a NeuronCore each, for `nkilab preflight`."""

from __future__ import annotations

from typing import Any

import nki
import nki.isa as nisa
import nki.language as nl

ADDITIONS = 64


@nki.jit  # type: ignore[untyped-decorator]
def stream(x: Any) -> Any:
    """Copy `x[N, D]`, N a multiple of 128, through SBUF to a new tensor in HBM: only DMA works."""
    result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    for n in range(0, x.shape[0], nl.tile_size.pmax):
        tile = nl.ndarray((nl.tile_size.pmax, x.shape[1]), dtype=x.dtype, buffer=nl.sbuf)
        nisa.dma_copy(dst=tile, src=x[n : n + nl.tile_size.pmax, :])
        nisa.dma_copy(dst=result[n : n + nl.tile_size.pmax, :], src=tile)
    return result


@nki.jit  # type: ignore[untyped-decorator]
def add_many(x: Any, y: Any) -> Any:
    """Add `y[128, D]` to `x[128, D]` 64 times in SBUF: only the vector engine works."""
    result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    total = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.sbuf)
    addend = nl.ndarray(y.shape, dtype=y.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=total, src=x)
    nisa.dma_copy(dst=addend, src=y)
    for _ in range(ADDITIONS):
        nisa.tensor_tensor(dst=total, data1=total, data2=addend, op=nl.add)
    nisa.dma_copy(dst=result, src=total)
    return result
