"""Dependences between executed instructions, from the NEFF's BIR dependences."""

from __future__ import annotations

import numpy as np
import polars as pl

from ..neff.debug_info import firsts
from ..neff.program import Neff
from .metadata import Capture
from .program_table import ProgramTable

MAX_PER_INSTRUCTION = 64


def flows(rows: pl.DataFrame, table: ProgramTable, neff: Neff | None, what: Capture) -> pl.DataFrame:
    """Pairs of executed instructions: id, id_right (the one it depends on), and kind, an index into `DEPENDENCES`.

    Only between instructions that ran once: a loop's iterations cannot be told apart by BIR id. Without rows where there
    would be more than `MAX_PER_INSTRUCTION` per instruction.
    """
    names = {graph.name: graph.core for graph in what.graphs}
    parts = [
        debug.dependences.with_columns(core=pl.lit(names[core], pl.UInt8))
        for (core, _), debug in (neff.debug if neff else {}).items()
        if core in names
    ]
    if not parts or rows.is_empty():
        return pl.DataFrame()
    wanted = pl.concat(parts, rechunk=True)
    first = firsts(*(wanted[name].to_numpy() for name in ("on", "raw_bir_id", "core")))
    return _joined(_once(rows, table), wanted[first])


def _once(rows: pl.DataFrame, table: ProgramTable) -> pl.DataFrame:
    """The instructions that ran once and have a BIR id: id, raw_bir_id, core."""
    row = rows["row"].to_numpy()
    fits = (np.bincount(row, minlength=table.rows.height) == 1) & table.rows["raw_bir_id"].is_not_null().to_numpy()
    ids = np.flatnonzero(fits[row]).astype(np.uint32)
    program = table.rows.select("raw_bir_id", core=pl.col("pcore_idx").cast(pl.UInt8))
    return program[row[ids]].with_columns(id=pl.Series(ids))


def _joined(ran: pl.DataFrame, wanted: pl.DataFrame) -> pl.DataFrame:
    """Pairs of executed instructions, counted before they are made."""
    times = ran.group_by("raw_bir_id", "core").len()
    counts = wanted.join(times, on=["raw_bir_id", "core"]).join(
        times, left_on=["on", "core"], right_on=["raw_bir_id", "core"]
    )
    pairs = counts.select((pl.col("len").cast(pl.Float64) * pl.col("len_right")).sum()).item() or 0
    if pairs > MAX_PER_INSTRUCTION * ran.height:
        return ran.clear()
    after = ran.join(wanted, on=["raw_bir_id", "core"], maintain_order="left").drop("raw_bir_id")
    both = after.join(ran, left_on=["on", "core"], right_on=["raw_bir_id", "core"], maintain_order="left")
    return both.select("id", "id_right", "kind")
