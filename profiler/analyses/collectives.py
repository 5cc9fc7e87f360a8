"""`collectives`: sizes, bandwidths and outliers of collective operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from ..errors import NotInProfileError
from ..profile import Profile
from .base import Answer, Shown
from .intervals import Intervals
from .machine import added
from .overlap import compute_intervals

SLOW = 1.5
"""An operation this many times slower than the median of its kind and size is an outlier."""


_BUS: dict[str, Callable[[pl.Expr], pl.Expr]] = {
    "all_?reduce": lambda n: 2 * (n - 1) / n,
    "all_?gather": lambda n: n - 1,
    "reduce_?scatter|all_?to_?all": lambda n: (n - 1) / n,
    "permute|broadcast|send": lambda n: n / n,
}
"""Bytes over a rank's links per byte of its input, for n ranks: what a ring that wastes nothing sends."""


def _carried() -> pl.Expr:
    """The factor of `_BUS` for the operations of a group; null where the kind or the number of ranks is unknown."""
    first = pl.col("replica_group").first().str.extract(r"\[\[?([^\]]*)\]", 1)
    ranks = first.str.extract_all(r"\d+").list.len().cast(pl.Float64)
    name = pl.col("operation").first().str.to_lowercase()
    factors = [pl.when(name.str.contains(kind) & (ranks > 0)).then(factor(ranks)) for kind, factor in _BUS.items()]
    return pl.coalesce(*factors)


@dataclass(frozen=True, slots=True)
class Collectives(Answer):
    """Collective operations.

    Attributes:
        rows: per operation, algorithm, dtype and input size: operations, total_ns (durations added up), median_ns,
            slowest_ns, delay_ns (mean from trigger to start; null where unknown), algorithm_bandwidth (bytes/s:
            input size / median duration, or the source's own mean), bus_bandwidth (the source's own, else the algorithm's
            times the share that a rank's links carry, see `_BUS`; null where the group's size or the kind is unknown).
        outliers: operations slower than `SLOW` times the median of their row: op_id, operation, start_ts, duration_ns, slower.
        exposed_ns: time with a collective and no compute engine active; hidden_ns: with both.
        simulated: whether times are modelled.
    """

    title: ClassVar[str] = "Collectives"
    shown: ClassVar[tuple[Shown, ...]] = (
        Shown("operation", "operation"), Shown("algorithm", "algorithm"), Shown("dtype", "dtype"), Shown("input_size", "input", "bytes"),
        Shown("operations", "count", "count"), Shown("total_ns", "total us", "us"), Shown("median_ns", "median us", "us"),
        Shown("slowest_ns", "slowest us", "us"), Shown("delay_ns", "start delay us", "us", "mean from trigger to start"),
        Shown("gb_s", "GB/s", "number", "algorithm bandwidth: input size / median duration, or the source's own"),
        Shown("bus_gb_s", "bus GB/s", "number", "bytes that a rank's links carry: algorithm bandwidth x 2 (n-1)/n for all-reduce, n-1 for all-gather, (n-1)/n for reduce-scatter and all-to-all of n ranks"),
    )  # fmt: skip

    rows: pl.DataFrame
    outliers: pl.DataFrame
    exposed_ns: float
    hidden_ns: float
    simulated: bool

    def printed(self) -> pl.DataFrame:
        """The rows with the rate in GB/s."""
        rates = {"gb_s": "algorithm_bandwidth", "bus_gb_s": "bus_bandwidth"}
        return self.rows.with_columns((pl.col(rate) / 1e9).round(2).alias(name) for name, rate in rates.items())

    def remarks(self) -> list[str]:
        """Exposed and hidden time, and how many operations were slow."""
        slow = f"; {self.outliers.height} outliers" if self.outliers.height else ""
        spent, sized = added(self.rows["total_ns"]), added(self.rows.drop_nulls("algorithm_bandwidth")["total_ns"])
        rates = f"; {sized / spent:.1%} of their time has a known size" if sized < spent else ""
        return [f"{self.exposed_ns / 1e3:,.2f} us exposed, {self.hidden_ns / 1e3:,.2f} us behind compute{slow}{rates}"]


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
        bus_bandwidth=pl.coalesce(pl.col("bus_bandwidth").mean(), pl.coalesce(stated, rate) * _carried()),
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
