"""Tables of the Explorer's schema that follow from others: sums by opcode, and over throttle windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping

_OF = ["engine", "opcode"]


def derived(given: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """OpcodeSummary and ThrottleSummary, where a profile has what they follow from and not the tables themselves."""
    found = {}
    if "Instruction" in given and "OpcodeSummary" not in given:
        found["OpcodeSummary"] = _opcodes(given["Instruction"])
    if "Throttle" in given and "Instruction" in given and "ThrottleSummary" not in given:
        found["ThrottleSummary"] = _throttle(given["Throttle"], _total(given["Instruction"]))
    return found


def _total(instructions: pl.DataFrame) -> float:
    """From the first instruction's start to the last one's end, in ns."""
    ends = instructions.select(pl.col("end_ts").max() - pl.col("start_ts").min()).item()
    return float(ends or 0.0)


def _opcodes(rows: pl.DataFrame) -> pl.DataFrame:
    """Count, summed durations, and time with at least one, of each opcode on each engine."""
    rows = rows.drop_nulls([*_OF, "start_ts", "end_ts"]).sort(*_OF, "start_ts")
    reach = pl.col("end_ts").cum_max().shift(1).over(_OF).fill_null(float("-inf"))
    new = (pl.col("end_ts") - pl.max_horizontal("start_ts", reach)).clip(0.0)
    found = rows.with_columns(new=new).group_by(_OF, maintain_order=True).agg(
        instruction_count=pl.len(), instruction_time_ns=pl.col("duration_ns").sum(), active_time_ns=pl.col("new").sum()
    )  # fmt: skip
    total = _total(rows)
    share = pl.col("active_time_ns") / total if total else pl.lit(None, pl.Float64)
    return found.with_columns(active_time_percent=share)


def _throttle(windows: pl.DataFrame, total: float) -> pl.DataFrame:
    """Time below the full rate on each core, and what is left of the rate."""
    slowed = pl.col("duration").filter(pl.col("k") < pl.col("n")).sum()
    found = windows.group_by(nc_idx="pcore_idx", maintain_order=True).agg(
        throttle_active_time_ns=slowed, lost=(pl.col("duration") * (1 - pl.col("k") / pl.col("n"))).sum()
    )
    if not total:
        return found.drop("lost")
    return found.select(
        "nc_idx",
        "throttle_active_time_ns",
        throttle_active_time_percent=pl.col("throttle_active_time_ns") / total,
        max_achievable_util_with_throttling_percent=1 - pl.col("lost") / total,
    )
