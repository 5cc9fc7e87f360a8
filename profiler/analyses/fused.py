"""Source lines of instructions, fused ones included: the compiler may make one instruction of several lines."""

from __future__ import annotations

import polars as pl

_PLACE = r"[^\s,;\"'\[\]][^,;\"'\[\]]*?:\d{1,9}(?::\d+)?"
_PARTS = r"^(.+?):(\d{1,9})(?::\d+)?$"


def located(rows: pl.DataFrame) -> pl.DataFrame:
    """Instructions, one row for each line that they serve, with `lines` (how many) and `nth` (from 0) beside it.

    The vendor's `nki_source_location` may name several places, as a list or separated by commas or semicolons; where it
    names one or none, `file` and `line` say it.
    """
    several = pl.col("nki_source_location").str.contains(r":\d+.*[,;].*:\d+").fill_null(value=False)
    fused = rows.filter(several)
    plain = rows.with_columns(lines=pl.lit(1, pl.Int64), nth=pl.lit(0, pl.Int64))
    if fused.is_empty():
        return plain
    places = pl.col("nki_source_location").str.extract_all(_PLACE)
    named = fused.with_columns(place=places).with_columns(
        place=pl.col("place").list.eval(pl.element().str.extract(_PARTS, 1) + ":" + pl.element().str.extract(_PARTS, 2)).list.unique(maintain_order=True)
    )  # fmt: skip
    counted = named.with_columns(lines=pl.col("place").list.len().cast(pl.Int64))
    each = counted.with_columns(nth=pl.int_ranges(0, pl.col("lines"))).explode("place", "nth")
    split = each.with_columns(
        file=pl.col("place").str.extract(_PARTS, 1), line=pl.col("place").str.extract(_PARTS, 2).cast(pl.Int64)
    )
    return pl.concat([plain.filter(~several), split.select(plain.columns)])


def part(column: str) -> pl.Expr:
    """A whole number of an instruction, divided among its lines so that the parts add up to it."""
    whole, lines = pl.col(column), pl.col("lines")
    return whole // lines + (pl.col("nth") < whole % lines).cast(pl.Int64)
