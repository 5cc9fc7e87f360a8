"""Dependences between executed instructions, from the NEFF's BIR dependences."""

from __future__ import annotations

import numpy as np
import polars as pl

from ..neff.program import Neff
from .metadata import Capture
from .program_table import ProgramTable

_SCHEMA = {
    "in_id": pl.Int64, "out_id": pl.Int64, "in_table": pl.String, "out_table": pl.String, "dependency_type": pl.String,
    "gap_time": pl.Float64,
}  # fmt: skip
MAX_PER_INSTRUCTION = 64


def flows(rows: pl.DataFrame, table: ProgramTable, neff: Neff | None, what: Capture) -> pl.DataFrame:
    """Flow: each instruction after the ones it depends on; gap_time is its start minus the other's end.

    Only between instructions that ran once: a loop's iterations cannot be told apart by BIR id. Empty where there would
    be more than `MAX_PER_INSTRUCTION` per instruction.
    """
    if neff is None or rows.is_empty():
        return pl.DataFrame(schema=_SCHEMA)
    ran = _once(rows, table)
    names = {graph.name: graph.core for graph in what.graphs}
    parts = [
        debug.dependences.with_columns(pcore_idx=pl.lit(names[core], pl.Int64))
        for (core, _), debug in neff.debug.items()
        if core in names
    ]
    if not parts:
        return pl.DataFrame(schema=_SCHEMA)
    wanted = pl.concat(parts).unique(["pcore_idx", "raw_bir_id", "on"], keep="first", maintain_order=True)
    return _joined(ran, wanted)


def _once(rows: pl.DataFrame, table: ProgramTable) -> pl.DataFrame:
    """The instructions that ran once and have a BIR id."""
    row = rows["row"].to_numpy()
    fits = (np.bincount(row, minlength=table.rows.height) == 1) & table.rows["raw_bir_id"].is_not_null().to_numpy()
    ids = np.flatnonzero(fits[row])
    times = rows.select("start_ts", "end_ts")[ids]
    return times.with_columns(id=pl.Series(ids)).hstack(table.rows.select("raw_bir_id", "pcore_idx")[row[ids]])


def _joined(ran: pl.DataFrame, wanted: pl.DataFrame) -> pl.DataFrame:
    """Pairs of executed instructions, counted before they are made."""
    times = ran.group_by("raw_bir_id", "pcore_idx").len()
    counts = wanted.join(times, on=["raw_bir_id", "pcore_idx"]).join(
        times, left_on=["on", "pcore_idx"], right_on=["raw_bir_id", "pcore_idx"]
    )
    pairs = counts.select((pl.col("len").cast(pl.Float64) * pl.col("len_right")).sum()).item() or 0
    if pairs > MAX_PER_INSTRUCTION * ran.height:
        return pl.DataFrame(schema=_SCHEMA)
    after = ran.join(wanted, on=["raw_bir_id", "pcore_idx"], maintain_order="left")
    both = after.join(ran, left_on=["on", "pcore_idx"], right_on=["raw_bir_id", "pcore_idx"], maintain_order="left")
    return both.select(
        in_id="id_right",
        out_id="id",
        in_table=pl.lit("Instruction"),
        out_table=pl.lit("Instruction"),
        dependency_type="dependency_type",
        gap_time=pl.col("start_ts") - pl.col("end_ts_right"),
    )
