"""Mark a part of a kernel in a profile, and follow an instruction to the lines that issued it."""

from __future__ import annotations

import polars as pl

from nkilab.errors import UsageError
from nkilab.profiler import Profile


def under(profile: Profile, function: str) -> pl.DataFrame:
    """Instructions that `function` issued, itself or through what it calls, in the order of their start.

    Raises:
        NotInProfileError: none came from it; the error names the functions that there are.
    """
    return profile.where(function=function).table("Instruction").sort("start_ts")


def span_us(profile: Profile, function: str) -> tuple[float, float]:
    """Start of the first and end of the last of these instructions, microseconds since the start of the run."""
    rows = under(profile, function)
    return float(rows["start_ts"].min()) / 1e3, float(rows["end_ts"].max()) / 1e3  # type: ignore[arg-type]


def lines_of(profile: Profile, instruction: int) -> list[tuple[str, str, str]]:
    """The lines that issued an instruction, its own first, then the callers': place (file:line), function, source text.

    Raises:
        UsageError: the profile has no such instruction.
    """
    rows = profile.table("Instruction").filter(pl.col("id") == instruction)
    if rows.is_empty():
        raise UsageError(f"there is no instruction {instruction}")
    texts = dict(profile.table("Source").select("file", "text").iter_rows())
    frames = {row["stack_frame_id"]: row for row in profile.table("KernelStackFrames").iter_rows(named=True)}
    found, frame = [], frames.get(rows["stack_frame_id"][0])
    while frame:
        file, line = frame["file_path"], frame["line_number"]
        place = f"{file.rpartition('/')[2]}:{line}"
        found.append((place, frame["fully_qualified_function_name"], texts[file].splitlines()[line - 1].strip()))
        frame = frames.get(frame["parent_stack_frame_id"])
    return found
