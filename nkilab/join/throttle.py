"""The Throttle table: at which share of its rate TensorE's clock ran, stretch by stretch."""

from __future__ import annotations

import polars as pl

from nkilab.join.columns import Joinable, frame

OF = 8
"""The vendor's tool counts the rate in eighths: 8 of 8 is full rate, 4 of 8 half of it."""


def table(joined: Joinable) -> pl.DataFrame | None:
    """Throttle, one row for each stretch of one rate; None where the generation has no throttle."""
    settings = joined.hardware.throttle
    if not settings.enabled or not len(joined.timing.throttle["t"]):
        return None
    rows = frame(joined.timing.throttle, "row").sort("core", "t")
    end = pl.col("t").shift(-1).over("core").fill_null(joined.timing.body_ns)
    slow = round(OF / settings.cold_factor)
    stretches = rows.with_columns(end=end).filter(pl.col("end") > pl.col("t"))
    return stretches.select(
        timestamp="t",
        duration=pl.col("end") - pl.col("t"),
        k=pl.when(pl.col("cold")).then(slow).otherwise(OF).cast(pl.Int64),
        n=pl.lit(OF, pl.Int64),
        pcore_idx=pl.col("core").cast(pl.Int64),
    )
