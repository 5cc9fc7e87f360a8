"""Tables of the Explorer's schema that follow from others: sums by opcode and over throttle windows, and call stacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from .explorer_columns import depth, frame_id

if TYPE_CHECKING:
    from collections.abc import Mapping

_OF = ["engine", "opcode"]
_NESTED = (
    ("stack_frame_id", "KernelStackFrames", "stack_frame"),
    ("iteration_variables_id", "KernelIterationVariables", "iteration_variable"),
)


def derived(given: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """What follows from the tables that a profile has, and is not among them.

    OpcodeSummary, ThrottleSummary, StackFrame and its parts; and how deep in calls and loops KernelInstructions are.
    """
    found = {}
    if "Instruction" in given and "OpcodeSummary" not in given:
        found["OpcodeSummary"] = _opcodes(given["Instruction"], _total(given))
    if "Throttle" in given and "Instruction" in given and "ThrottleSummary" not in given:
        found["ThrottleSummary"] = _throttle(given["Throttle"], _total(given))
    if "KernelStackFrames" in given and "StackFrame" not in given:
        found |= _stacks(given["KernelStackFrames"])
    if "KernelInstructions" in given:
        found["KernelInstructions"] = _deep(given)
    return found


def _deep(given: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """KernelInstructions with the depths of stack and loops, as far as there are tables of those."""
    depths = {}
    for column, of, name in _NESTED:
        key, parent = f"{name}_id", f"parent_{name}_id"
        if of in given and column in given["KernelInstructions"].columns:
            depths[f"{name}_depth"] = depth(column, given[of], key, parent)
    return given["KernelInstructions"].with_columns(**depths)


def _stacks(frames: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The kernel's call stack as the Explorer's four tables of frames, places, files and functions."""
    place = ["file_path", "fully_qualified_function_name", "line_number"]
    rows = frames.drop_nulls(place).with_columns(pl.struct(place).rank("dense").cast(pl.Int64).alias("place"))
    rows = rows.with_columns(
        file=pl.col("file_path").rank("dense").cast(pl.Int64),
        called=pl.col("fully_qualified_function_name").rank("dense").cast(pl.Int64),
    )

    def text(name: str) -> pl.Expr:
        return pl.col(name).cast(pl.String)

    return {
        "StackFrame": rows.select(
            id=frame_id("stack_frame_id").cast(pl.String),
            file_location_id="place",
            parent_frame_id=frame_id("parent_stack_frame_id").fill_null(0).cast(pl.String),
        ),
        "StackFrameFileLocation": rows.unique("place", maintain_order=True).select(
            "line_number", id=text("place"), file_name_id="file", function_name_id="called"
        ),
        "StackFrameFileName": rows.unique("file", maintain_order=True).select(id=text("file"), name="file_path"),
        "StackFrameFunctionName": rows.unique("called", maintain_order=True).select(
            id=text("called"), name="fully_qualified_function_name"
        ),
    }


def _total(given: Mapping[str, pl.DataFrame]) -> float:
    """From the first start to the last end of instructions, transfers and throttle windows, in ns."""
    spans = [given[name].select("start_ts", "end_ts") for name in ("Instruction", "DmaPacket") if name in given]
    if "Throttle" in given:
        windows = given["Throttle"].select(start_ts="timestamp", end_ts=pl.col("timestamp") + pl.col("duration"))
        spans.append(windows)
    whole = pl.concat([span.cast(pl.Float64) for span in spans])
    return float(whole.select(pl.col("end_ts").max() - pl.col("start_ts").min()).item() or 0.0)


def _opcodes(rows: pl.DataFrame, total: float) -> pl.DataFrame:
    """Count, summed durations, and time with at least one, of each opcode on each engine; of all cores together."""
    rows = rows.drop_nulls([*_OF, "start_ts", "end_ts"]).sort("pcore_idx", *_OF, "start_ts")
    reach = pl.col("end_ts").cum_max().shift(1).over("pcore_idx", *_OF).fill_null(float("-inf"))
    new = (pl.col("end_ts") - pl.max_horizontal("start_ts", reach)).clip(0.0)
    found = rows.with_columns(new=new).group_by(_OF, maintain_order=True).agg(
        instruction_count=pl.len(), instruction_time_ns=pl.col("duration_ns").sum(), active_time_ns=pl.col("new").sum()
    )  # fmt: skip
    cores = max(rows["pcore_idx"].n_unique(), 1)
    share = pl.col("active_time_ns") / (total * cores) if total else pl.lit(None, pl.Float64)
    return found.with_columns(active_time_percent=share)


def _throttle(windows: pl.DataFrame, total: float) -> pl.DataFrame:
    """Time below the full rate on each core, and what is left of the rate."""
    slowed = pl.col("duration").filter(pl.col("k") < pl.col("n")).sum()
    found = windows.group_by(nc_idx="pcore_idx", maintain_order=True).agg(
        throttle_type=pl.lit("all").first(),
        throttle_active_time_ns=slowed,
        lost=(pl.col("duration") * (1 - pl.col("k") / pl.col("n"))).sum(),
    )
    if not total:
        return found.drop("lost")
    return found.select(
        "nc_idx",
        "throttle_type",
        "throttle_active_time_ns",
        throttle_active_time_percent=pl.col("throttle_active_time_ns") / total,
        max_achievable_util_with_throttling_percent=1 - pl.col("lost") / total,
    )
