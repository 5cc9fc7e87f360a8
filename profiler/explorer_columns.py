"""The Explorer's own words and columns, where its schema 7.4.0 says a thing otherwise than a profile's tables do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .profile import Profile

_PARTITIONS = (0, 32, 64, 96)
"""The partitions that the vendor's table of allocations looks at."""
_KINDS = {"input": "IN", "output": "OUT", "constant": "WEIGHT"}
_DEPENDENCES = {
    "flow": "FLOW_DEPENDENCE", "anti": "ANTI_DEPENDENCE", "output": "OUTPUT_DEPENDENCE", "resource": "ANTI_DEPENDENCE",
}  # fmt: skip
Tables = dict[str, pl.DataFrame]


def theirs(p: Profile, given: Mapping[str, pl.DataFrame]) -> Tables:
    """`given` with the columns that follow from others and the vendor's words for what nkilab names otherwise."""
    changed = dict(given)
    changes: Mapping[str, Callable[[Profile, Tables], pl.DataFrame]] = {
        "Instruction": _instructions, "DmaPacketAggregated": _transfers, "SbufAllocation": _allocations, "TensorInfo": _tensors,
        "Throttle": _throttle, "Flow": _flows, "ExecutionInfo": _executions, "ActiveTime": _active,
    }  # fmt: skip
    for name, change in changes.items():
        if name in given:
            changed[name] = change(p, {**given, name: given[name]})
    return changed


def _new(rows: pl.DataFrame, **columns: pl.Expr) -> pl.DataFrame:
    """`rows` with those of the columns that have no value there yet."""
    absent = {
        name: value
        for name, value in columns.items()
        if name not in rows.columns or rows[name].null_count() == rows.height
    }
    return rows.with_columns(**absent)


def _instructions(p: Profile, given: Tables) -> pl.DataFrame:
    """What each instruction triggered, and columns that are parts of others; of a simulation what was written is what ran."""
    rows = given["Instruction"].with_columns(pl.col("engine").str.to_lowercase())
    transposes, elements = pl.col("tensor_instruction_type") == "TRANSPOSE", pl.col("tensor_elements")
    both = (pl.col("psum_read_bytes") > 0) & (pl.col("sbuf_write_bytes") > 0)
    rows = _new(
        rows,
        stack_frame_ids=pl.when(pl.col("stack_frame_id").is_not_null()).then(
            pl.format("[{}]", frame_id("stack_frame_id"))
        ),
        tensor_elements_transpose=pl.when(elements.is_not_null()).then(pl.when(transposes).then(elements).otherwise(0)),
        psum_read_sbuf_write_bytes=pl.when(both).then("sbuf_write_bytes").when(~both).then(0),
        **({"compiler_operands": pl.col("operands")} if p.origin.simulated else {}),
    )
    if "DmaPacketAggregated" not in given:
        return rows
    moved = given["DmaPacketAggregated"].drop_nulls("instruction_id").group_by(id="instruction_id")
    spans = moved.agg(triggered=pl.col("start_ts").min(), landed=pl.col("end_ts").max())
    rows = rows.join(spans, on="id", how="left", maintain_order="left")
    return _new(
        rows,
        dma_trigger_start_ts=pl.col("triggered"),
        dma_trigger_end_ts=pl.col("landed"),
        dma_wait_time_ns=(pl.col("triggered") - pl.col("end_ts")).clip(0.0),
    )


def _transfers(_: Profile, given: Tables) -> pl.DataFrame:
    """When the instruction that triggered each transfer began and ended."""
    rows = given["DmaPacketAggregated"]
    if "Instruction" not in given:
        return rows
    triggers = (
        given["Instruction"].select(instruction_id="id", began="start_ts", ended="end_ts").unique("instruction_id")
    )
    rows = rows.join(triggers, on="instruction_id", how="left", maintain_order="left")
    return _new(rows, trigger=pl.col("began"), completion=pl.col("ended"))


def _allocations(_: Profile, given: Tables) -> pl.DataFrame:
    """SBUF alone, at the partitions that the vendor looks at, with the last byte's address for the end."""
    rows = given["SbufAllocation"].filter(pl.col("space").fill_null("sbuf") == "sbuf")
    rows = rows.drop_nulls("start_address").with_columns(pl.col("end_address") - 1)
    first = pl.col("partition")
    wide = rows.drop_nulls("partitions").join(pl.DataFrame({"at": _PARTITIONS}), how="cross")
    wide = wide.filter((first <= pl.col("at")) & (pl.col("at") < first + pl.col("partitions")))
    wide = wide.with_columns(partition=pl.col("at").cast(pl.Int64)).drop("at")
    return pl.concat([rows.filter(pl.col("partitions").is_null()), wide])


def _tensors(p: Profile, given: Tables) -> pl.DataFrame:
    """What a tensor is for, in the vendor's words. "format" is a layout there: of a simulation it is a data type."""
    rows = given["TensorInfo"].with_columns(pl.col("type").replace(_KINDS))
    if p.origin.simulated:
        rows = rows.with_columns(format=pl.lit(None, pl.String))
    return _new(
        rows, load_to_sbuf_avg_size_bytes=pl.col("load_to_sbuf_total_size_bytes") // _some("load_to_sbuf_dma_count")
    )


def _some(name: str) -> pl.Expr:
    return pl.when(pl.col(name) > 0).then(pl.col(name))


def _throttle(_: Profile, given: Tables) -> pl.DataFrame:
    kind = pl.when(pl.col("type").is_null()).then(pl.lit("unknown")).otherwise(pl.format("activity_{}", "type"))
    return given["Throttle"].with_columns(type=kind)


def _flows(_: Profile, given: Tables) -> pl.DataFrame:
    """Space that is used again is an anti-dependence on whoever used it before."""
    return given["Flow"].with_columns(pl.col("dependency_type").replace(_DEPENDENCES))


def _executions(p: Profile, given: Tables) -> pl.DataFrame:
    """Of a simulation each physical core runs one program."""
    rows = given["ExecutionInfo"]
    if not p.origin.simulated or "Instruction" not in given:
        return rows
    return _new(rows, num_subgraphs=pl.lit(given["Instruction"]["pcore_idx"].n_unique()))


def _active(_: Profile, given: Tables) -> pl.DataFrame:
    return given["ActiveTime"].with_columns(pl.col("engine").str.to_lowercase())


def frame_id(name: str) -> pl.Expr:
    """A kernel's stack frame among the Explorer's, where 0 stands for no frame."""
    return pl.col(name) + 1


def depth(name: str, table: pl.DataFrame, key: str, parent: str) -> pl.Expr:
    """How many rows there are from the row of `table` that column `name` refers to up to the one without a parent."""
    above = dict(table.select(key, parent).iter_rows())
    found: dict[int, int] = {}
    for start in above:
        way: list[int] = []
        row = start
        while row is not None and row in above and row not in found and len(way) <= len(above):
            way.append(row)
            row = above[row]
        for at in reversed(way):
            found[at] = found.get(above[at], 0) + 1
    return pl.col(name).replace_strict(found, default=None, return_dtype=pl.Int64)
