"""Bytes of intermediate tensors that went to HBM and came back because SBUF was full."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from ..profile import Profile
from .machine import added

_STATED = ("spill_save_bytes", "spill_reload_bytes")


@dataclass(frozen=True, slots=True)
class Spills:
    """Spilled bytes.

    Attributes:
        size: bytes saved and loaded again; None where the profile does not tell.
        stated: whether the source states them; else they are the transfers that a simulated run added to instructions
            that move no data by themselves, so at least so many.
        instructions: ids of the instructions that issue those transfers.
    """

    size: float | None
    stated: bool
    instructions: pl.Series


def spills(p: Profile) -> Spills:
    """The source's own numbers, or what a simulated run had to move beside its DMA."""
    rows = p.rows("Summary").filter(pl.col("metric").is_in(_STATED))
    values = rows["value"].drop_nulls()
    moves = _added_moves(p)
    issuing = moves["instruction_id"].drop_nulls()
    if len(values):
        return Spills(float(values.sum()), stated=True, instructions=issuing)
    known = p.origin.simulated and p.has("DmaPacketAggregated")
    return Spills(added(moves["transfer_bytes"]) if known else None, stated=False, instructions=issuing)


def _added_moves(p: Profile) -> pl.DataFrame:
    """Of a simulated run, the transfers of instructions that are no DMA: saves and reloads of spilled tensors."""
    on_chip = (pl.col("source") == "sbuf") & (pl.col("dest") == "sbuf")
    rows = p.rows("DmaPacketAggregated").filter(on_chip & ~pl.col("op").str.starts_with("dma"))
    return rows if p.origin.simulated else rows.clear()
