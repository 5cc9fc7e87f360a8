"""Tables about the source: call stacks, loop variables, files, findings and warnings."""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from nkilab.join.columns import Joinable, frame, named, null_below_zero
from nkilab.profiler.schema import TABLES


def stack_frames(joined: Joinable) -> pl.DataFrame:
    """The KernelStackFrames table."""
    rows = frame(joined.trace["stacks"], "stack_frame_id").with_columns(pl.col("site").cast(pl.Int64))
    return rows.join(joined.sites(), on="site", how="left", maintain_order="left").select(
        "stack_frame_id",
        fully_qualified_function_name="function_name",
        parent_stack_frame_id=null_below_zero("parent"),
        file_path="file",
        line_number="line",
    )


def iteration_variables(joined: Joinable) -> pl.DataFrame:
    """The KernelIterationVariables table."""
    columns = joined.trace["iterations"]
    rows = frame(columns, "iteration_variable_id").with_columns(
        pl.col("site").cast(pl.Int64), variable_name=named(columns["variable"], joined.names["variable"])
    )
    return rows.join(joined.sites(), on="site", how="left", maintain_order="left").select(
        "iteration_variable_id",
        "variable_name",
        variable_value="value",
        parent_iteration_variable_id=null_below_zero("parent"),
        file_path="file",
        line_number="line",
    )


def files(names: Sequence[str]) -> pl.DataFrame:
    """The Source table: text and hash of every file that can be read, so that a saved run outlives its kernel."""
    rows = []
    for name in dict.fromkeys(names):
        path = Path(name)
        data = path.read_bytes() if path.is_file() else "".join(linecache.getlines(name)).encode()  # a notebook's cell
        if data:
            rows.append((name, hashlib.sha256(data).hexdigest(), data.decode("utf-8", "replace")))
    return pl.DataFrame(rows, schema=TABLES["Source"].polars, orient="row")


def findings(found: Sequence[Any]) -> pl.DataFrame:
    """The Finding table."""
    rows = [(f.code, f.severity, f.message, *_place(f.where), f.fix, f.rank, f.core) for f in found]
    return pl.DataFrame(rows, schema=TABLES["Finding"].polars, orient="row")


def _place(where: Any) -> tuple[str | None, int | None, str | None]:
    return (where.file, where.line, where.function) if where else (None, None, None)


def warnings(joined: Joinable) -> pl.DataFrame:
    """The Warning table: what a reader of the numbers must know."""
    guessed = float(joined.timing.confidence["guessed"])
    rows = [("modelled", "times are modelled by nkilab's clock, not measured")]
    if guessed > 0:
        rows.append(("modelled", f"{guessed:.0%} of the modelled engine time has costs that are guessed"))
    if len(joined.timing.collectives["meeting"]):
        rows.append(("modelled", "waits between cores and ranks use guessed costs: a hop, a link rate, no contention"))
    return pl.DataFrame(rows, schema=TABLES["Warning"].polars, orient="row")
