"""When each rank comes to each collective, on one clock."""

from __future__ import annotations

import re

import polars as pl

from ..profile import Profile
from .critical import waited

_SCHEMA = {
    "rank": pl.Int64, "operation": pl.String, "stream": pl.String, "group": pl.String, "position": pl.Int64,
    "arrival_ns": pl.Float64, "end_ns": pl.Float64,
}  # fmt: skip


def arrivals(p: Profile) -> pl.DataFrame:
    """One row per collective of one rank: operation, stream, groups, arrival_ns, end_ns, in order of start.

    `groups` is the replica group as the source writes it. A collective is triggered when all its members have come in a
    simulated run, so there a rank arrives when what its trigger waited for in its own rank has ended.
    """
    text = pl.col("replica_group").fill_null("")
    return (
        _own(p)
        .drop_nulls(["start_ts", "end_ts"])
        .sort("start_ts")
        .select(
            operation=pl.col("operation").fill_null("collective"),
            stream=pl.col("stream_id").fill_null(0).cast(pl.String),
            groups=text,
            arrival_ns=pl.coalesce("trigger_start_ts", "start_ts"),
            end_ns="end_ts",
        )
    )


def _own(p: Profile) -> pl.DataFrame:
    """The collectives of one rank; of a simulated one with its own part of the waiting taken off the trigger."""
    rows = p.rows("CcOp")
    if not (p.origin.simulated and p.has("Flow")):
        return rows
    triggers = (
        p.table("Instruction")
        .join(waited(p), on="id")
        .select("waited_ns", operation="compiler_opcode", start_ts="start_ts")
    )
    came = rows.join(
        triggers.unique(["operation", "start_ts"]), on=["operation", "start_ts"], how="left", maintain_order="left"
    )
    return came.with_columns(trigger_start_ts=pl.coalesce("waited_ns", "trigger_start_ts"))


def aligned(found: dict[int, pl.DataFrame], *, shared: bool) -> tuple[pl.DataFrame, str]:
    """Arrivals of all ranks on one clock, and how they came there ("shared" or "ends").

    Operations of several ranks are the same if they have the same stream, the same group of ranks and the same
    position among those. Of a partition such as "[[0, 1], [2, 3]]" a rank's group is the list that holds it.

    Args:
        found: rank to its `arrivals`.
        shared: whether all ranks share one clock; else each rank is shifted so that its collectives end when those of
            the lowest rank of its group do, in the median.
    """
    parts = [_placed(rank, rows) for rank, rows in found.items()]
    each = pl.concat([pl.DataFrame(schema=_SCHEMA), *parts])
    if shared or each.is_empty():
        return each, "shared"
    keys = ["stream", "group", "position"]
    reference = each.sort("rank").group_by(keys, maintain_order=True).agg(end=pl.col("end_ns").first())
    shift = each.join(reference, on=keys).group_by("rank").agg(shift=(pl.col("end_ns") - pl.col("end")).median())
    moved = each.join(shift, on="rank", how="left", maintain_order="left")
    return moved.with_columns(pl.col("arrival_ns", "end_ns") - pl.col("shift")).select(*_SCHEMA), "ends"


def _placed(rank: int, rows: pl.DataFrame) -> pl.DataFrame:
    """One rank's arrivals with its own group and the position in it."""
    own = {text: _group(text, rank) for text in rows["groups"].unique()}
    group = pl.col("groups").replace_strict(own, return_dtype=pl.String)
    placed = rows.with_columns(rank=pl.lit(rank, pl.Int64), group=group)
    position = pl.int_range(pl.len(), dtype=pl.Int64).over("stream", "group")
    return placed.with_columns(position=position).select(*_SCHEMA)


def _group(groups: str, rank: int) -> str:
    """The list of a partition that holds the rank, as "0,1"; all of the text where none does."""
    lists = [re.sub(r"\s", "", found) for found in re.findall(r"\d+(?:\s*,\s*\d+)*", groups)]
    return next((one for one in lists if str(rank) in one.split(",")), groups)
