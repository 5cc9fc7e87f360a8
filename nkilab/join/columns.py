"""Columns of the trace and the timing as frames, and codes as names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nkilab.hardware import Hardware
from nkilab.simulator.values.dtypes import TABLE

Columns = Mapping[str, NDArray[Any]]
COST_CLASSES = ("calibrated", "documented", "guessed")
SPACES = ("hbm", "sbuf", "psum")
HBM, SBUF, PSUM = range(3)


@dataclass(frozen=True, slots=True)
class Joinable:
    """What is joined: see docs/contracts.md for every column.

    Attributes:
        trace: `instructions`, `accesses`, `tensors`, `sites`, `stacks`, `iterations`.
        names: what the codes in the trace stand for.
        timing: the clock's Timing of this trace.
        hardware: the table that the clock used.
    """

    trace: Mapping[str, Columns]
    names: Mapping[str, Sequence[str]]
    timing: Any
    hardware: Hardware

    def accesses(self) -> pl.DataFrame:
        """The accesses with `trace_row` for the instruction and `bytes`: partitions × elements × size of the type."""
        table = frame(self.trace["accesses"], "access").rename({"instruction": "trace_row"})
        sizes = pl.Series([TABLE[name].itemsize for name in self.names["dtype"]], dtype=pl.Int64)
        size = sizes.gather(table["dtype"].cast(pl.Int64))
        partitions = (table["p1"] - table["p0"]).cast(pl.Int64)
        return table.with_columns(
            pl.col("trace_row").cast(pl.Int64),
            pl.col("tensor").cast(pl.Int64),
            (partitions * table["elements"] * size).alias("bytes"),
        )

    def tensors(self) -> pl.DataFrame:
        """The allocations with `label`: the tensor's own name, else its memory and number."""
        columns = self.trace["tensors"]
        space = named(columns["space"], SPACES)
        own = named(columns["name"], self.names["tensor"])
        return frame(columns, "tensor").with_columns(
            space_name=space, label=pl.when(own != "").then(own).otherwise(pl.format("{}_{}", space, pl.col("tensor")))
        )

    def sites(self) -> pl.DataFrame:
        """Source places by `site`: file, line, function_name."""
        columns = self.trace["sites"]
        return frame(columns, "site").select(
            pl.col("site"),
            named(columns["file"], self.names["file"]).alias("file"),
            pl.col("line").cast(pl.Int64),
            named(columns["function"], self.names["python_function"]).alias("function_name"),
        )


def named(codes: NDArray[Any], names: Sequence[str]) -> pl.Series:
    """The name of each code; null where the code is negative."""
    values = pl.Series(list(names), dtype=pl.String)
    wide = pl.Series(np.asarray(codes, dtype=np.int64))
    return values.gather(pl.select(pl.when(wide >= 0).then(wide)).to_series())


def frame(columns: Columns, row: str) -> pl.DataFrame:
    """NumPy columns as a frame, with the row number in column `row` (int64)."""
    table = pl.DataFrame({name: np.ascontiguousarray(column) for name, column in columns.items()})
    return table.with_row_index(row).with_columns(pl.col(row).cast(pl.Int64))


def null_below_zero(name: str) -> pl.Expr:
    """Column `name` with -1, which means none, as null."""
    return pl.when(pl.col(name) >= 0).then(pl.col(name)).cast(pl.Int64)
