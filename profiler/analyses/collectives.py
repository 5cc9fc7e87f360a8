"""`collectives`: sizes, bandwidths and outliers of collective operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from ..errors import NotInProfileError
from ..profile import Profile
from .base import Answer, Shown
from .intervals import Intervals
from .overlap import compute_intervals

SLOW = 1.5
"""An operation this many times slower than the median of its kind and size is an outlier."""


@dataclass(frozen=True, slots=True)
class Collectives(Answer):
    """Collective operations.

    Attributes:
        rows: per operation, algorithm, dtype and input size: operations, total_ns (durations added up), median_ns,
            slowest_ns, delay_ns (mean from trigger to start; null where unknown), algorithm_bandwidth (bytes/s:
            input size / median duration, or the source's own mean), bus_bandwidth (the source's own; null elsewhere).
        outliers: operations slower than `SLOW` times the median of their row: op_id, operation, start_ts, duration_ns, slower.
        exposed_ns: time with a collective and no compute engine active; hidden_ns: with both.
        simulated: whether times are modelled.
    """

    title: ClassVar[str] = "Collectives"
    shown: ClassVar[tuple[Shown, ...]] = (
        Shown("operation", "operation"), Shown("algorithm", "algorithm"), Shown("dtype", "dtype"), Shown("input_size", "input", "bytes"),
        Shown("operations", "count", "count"), Shown("total_ns", "total us", "us"), Shown("median_ns", "median us", "us"),
        Shown("slowest_ns", "slowest us", "us"), Shown("delay_ns", "start delay us", "us"), Shown("gb_s", "GB/s", "number"),
    )  # fmt: skip

    rows: pl.DataFrame
    outliers: pl.DataFrame
    exposed_ns: float
    hidden_ns: float
    simulated: bool

    def printed(self) -> pl.DataFrame:
        """The rows with the rate in GB/s."""
        return self.rows.with_columns(gb_s=(pl.col("algorithm_bandwidth") / 1e9).round(2))

    def remarks(self) -> list[str]:
        """Exposed and hidden time, and how many operations were slow."""
        slow = f"; {self.outliers.height} outliers" if self.outliers.height else ""
        return [f"{self.exposed_ns / 1e3:,.2f} us exposed, {self.hidden_ns / 1e3:,.2f} us behind compute{slow}"]


def collectives(p: Profile) -> Collectives:
    """Bandwidths and outliers per kind and size of collective operation.

    Raises:
        NotInProfileError: the run has none, or its source does not record them.
    """
    if not p.has("CcOp"):
        raise NotInProfileError("no collective is in this profile")
    keys = ["operation", "algorithm", "dtype", "input_size"]
    ops = p.table("CcOp").with_columns(median_ns=pl.col("duration_ns").median().over(keys))
    stated = pl.col("algorithm_bandwidth").mean()
    rate = pl.when(pl.col("median_ns").first() > 0).then(
        pl.col("input_size").first() / pl.col("median_ns").first() * 1e9
    )
    rows = ops.group_by(keys).agg(
        operations=pl.len().cast(pl.Int64),
        total_ns=pl.col("duration_ns").sum(),
        median_ns=pl.col("median_ns").first(),
        slowest_ns=pl.col("duration_ns").max(),
        delay_ns=pl.col("cc_trigger_start_delay").mean(),
        algorithm_bandwidth=pl.coalesce(stated, rate),
        bus_bandwidth=pl.col("bus_bandwidth").mean(),
    )
    slower = ops.with_columns(slower=pl.col("duration_ns") / pl.col("median_ns")).filter(pl.col("slower") > SLOW)
    active = Intervals.from_frame(ops)
    hidden = active.intersect(compute_intervals(p)).measure
    return Collectives(
        rows=rows.sort("total_ns", *keys, descending=[True, False, False, False, False]),
        outliers=slower.select("op_id", "operation", "start_ts", "duration_ns", "slower").sort(
            "slower", descending=True
        ),
        exposed_ns=active.measure - hidden,
        hidden_ns=hidden,
        simulated=p.origin.simulated,
    )
