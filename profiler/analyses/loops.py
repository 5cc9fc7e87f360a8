"""Instruction time per iteration of each loop of the kernel's source."""

from __future__ import annotations

import polars as pl

from ..profile import Profile
from .machine import working

_ID, _PARENT = "iteration_variable_id", "parent_iteration_variable_id"
_MAX_DEPTH = 64
_SCHEMA = {
    "file": pl.String, "line": pl.Int64, "variable": pl.String, "iterations": pl.Int64, "instruction_ns": pl.Float64,
    "mean_ns": pl.Float64, "longest_ns": pl.Float64, "longest_at": pl.Int64,
}  # fmt: skip


def loops(p: Profile) -> pl.DataFrame:
    """One row per loop, most time first, inner loops counted in the outer ones as well.

    Columns: file, line (of the loop), variable, iterations (that executed anything), instruction_ns (durations added up,
    semaphore waits left out), mean_ns and longest_ns per iteration, longest_at (its value of the variable). Empty where the
    profile does not record iterations.
    """
    if not p.has("KernelIterationVariables") or not p.has("Instruction", _ID):
        return pl.DataFrame(schema=_SCHEMA)
    known = p.table("KernelIterationVariables").unique(_ID, keep="first", maintain_order=True)
    own = (
        working(p)
        .drop_nulls(_ID)
        .group_by(_ID, maintain_order=True)
        .agg(ns=(pl.col("end_ts") - pl.col("start_ts")).sum())
    )
    every = _with_outer(own, known.select(_ID, _PARENT))
    each = every.join(known, on=_ID, maintain_order="left")
    rows = each.group_by(file="file_path", line="line_number", variable="variable_name", maintain_order=True).agg(
        iterations=pl.len().cast(pl.Int64),
        instruction_ns=pl.col("ns").sum(),
        mean_ns=pl.col("ns").mean(),
        longest_ns=pl.col("ns").max(),
        longest_at=pl.col("variable_value").sort_by("ns", -pl.col("variable_value")).last(),
    )
    return rows.sort("instruction_ns", "file", "line", descending=[True, False, False]).select(*_SCHEMA)


def _with_outer(own: pl.DataFrame, parents: pl.DataFrame) -> pl.DataFrame:
    """Time of every iteration with that of the iterations inside it; one pass per depth of nesting."""
    parts, level = [own], own
    for _ in range(min(parents.height, _MAX_DEPTH)):  # a damaged profile may hold a cycle
        up = level.join(parents, on=_ID, maintain_order="left").filter(
            pl.col(_PARENT).is_not_null() & (pl.col(_PARENT) >= 0)
        )
        level = up.group_by(pl.col(_PARENT).alias(_ID), maintain_order=True).agg(pl.col("ns").sum())
        if level.is_empty():
            break
        parts.append(level)
    return pl.concat(parts).group_by(_ID, maintain_order=True).agg(pl.col("ns").sum())
