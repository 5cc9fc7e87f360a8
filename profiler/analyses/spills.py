"""Bytes of intermediate tensors that went to HBM and came back because SBUF was full."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from ..profile import Profile
from .machine import added

_STATED = ("spill_save_bytes", "spill_reload_bytes")
_KNOWN = pl.any_horizontal(pl.col(name).is_not_null() for name in _STATED)


@dataclass(frozen=True, slots=True)
class Spills:
    """Spilled bytes.

    Attributes:
        size: bytes saved and loaded again; None where the profile does not tell.
        instructions: ids of the instructions that issue those transfers, where it tells them one by one.
    """

    size: float | None
    instructions: pl.Series


def spills(p: Profile) -> Spills:
    """What the source's summary says, else the sum over its instructions or, of an older simulated run, over its transfers."""
    rows = p.rows("Instruction").select("id", size=pl.sum_horizontal(_STATED, ignore_nulls=True), known=_KNOWN)
    issuing = rows.filter(pl.col("size") > 0)["id"]
    stated = p.rows("Summary").filter(pl.col("metric").is_in(_STATED))["value"].drop_nulls()
    if len(stated):
        return Spills(float(stated.sum()), issuing)
    if p.origin.simulated and not rows["known"].any():
        moves = _added_moves(p)
        known = p.has("DmaPacketAggregated")
        return Spills(added(moves["transfer_bytes"]) if known else None, moves["instruction_id"].drop_nulls())
    return Spills(added(rows["size"]) if rows["known"].any() else None, issuing)


def _added_moves(p: Profile) -> pl.DataFrame:
    """Of a run saved before instructions had spilled bytes, the transfers of instructions that are no DMA."""
    on_chip = (pl.col("source") == "sbuf") & (pl.col("dest") == "sbuf")
    return p.rows("DmaPacketAggregated").filter(on_chip & ~pl.col("op").str.starts_with("dma"))
