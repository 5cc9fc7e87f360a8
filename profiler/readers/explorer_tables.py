"""How each table of the Explorer becomes one of ours: other names, other units, split tables, wide rows, odd types.

Schema 7.4.0's names are ours, so most tables pass as they are. Later schemas (12.x with SDK 2.33) may rename or retype
columns; `RENAMED` holds the names that the same facts have elsewhere in the vendor's output, and units are taken from
the folder's own `SchemaFields`. What is done is said in a note; columns that nothing here knows are kept.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from ..schema import TABLES
from .device_json_parts import LOCATED

Notes = list[str]
Units = Mapping[tuple[str, str], str]

WIDE = ("Metadata", "NeffHeader", "SystemProfileMetadata")
ENGINE_NAME = {"tensor": "Tensor", "vector": "Vector", "scalar": "Scalar", "gpsimd": "GpSimd", "sync": "Sync"}
# Names of the vendor's device JSON (format note, section 2) and of 7.4.0's own sister tables.
RENAMED: Mapping[str, Mapping[str, str]] = {
    "": {
        "start_timestamp": "start_ts", "end_timestamp": "end_ts", "duration": "duration_ns", "physical_core_idx": "pcore_idx",
    },
    "Instruction": {
        "timestamp": "start_ts", "subgroup": "engine", "label": "timeline_track", "evt_wait_time": "evt_wait_time_ns",
        "instruction_type": "tensor_instruction_type", "elements": "tensor_elements", "activation_fn": "scalar_activation_fn",
        "bir_name": "bir_instruction_name", "source_location": "nki_source_location", "file_path": "file", "line_number": "line",
    },
    "DmaPacket": {
        "timestamp": "start_ts", "dma_engine": "engine_idx", "dma_queue": "queue_idx", "transfer_size": "transfer_bytes",
        "read_size": "read_bytes", "write_size": "write_bytes", "transfer_rate": "throughput",
    },
    "CcOp": {"timestamp": "start_ts", "cc_trigger": "trigger_start_ts"},
    "SemaphoreUpdate": {"start_ts": "timestamp"},
    "Throttle": {"start_ts": "timestamp", "duration_ns": "duration"},
    "DmaUsage": {"transfer_rate": "current_throughput"},
}  # fmt: skip
_NS = {"picoseconds": 1e-3, "nanoseconds": 1.0, "microseconds": 1e3, "milliseconds": 1e6, "seconds": 1e9}
# A number that 7.4.0 writes as text: the text stays beside it.
_AS_TEXT = {("Throttle", "type"): "type_name", ("CpuUsage", "cpu_id"): "cpu_name"}
_ALL_OF = ("nki_source_location",)  # a fused instruction has several places, and `lines` shares it among them
# Columns of Instruction that 7.4.0 keeps in a table of their own: table, key there, key in Instruction, columns.
_SPLIT = (
    ("AssemblyInstruction", "instruction_id", "id", {"compiler_opcode": "compiler_opcode", "compiler_pc": "compiler_pc"}),
    (
        "KernelInstructions", "kernel_instruction_name", "kernel_instruction_name",
        {
            "file_path": "file", "line_number": "line", "stack_frame_id": "stack_frame_id",
            "iteration_variables_id": "iteration_variable_id",
        },
    ),
)  # fmt: skip


def table(name: str, frame: pl.LazyFrame, units: Units, notes: Notes) -> pl.LazyFrame:
    """Table `name` of the Explorer as ours; what was renamed or scaled goes into `notes`."""
    if name in WIDE:
        return _long(frame)
    if name == "Summary":
        return _summary(frame)
    if name not in TABLES:
        return frame
    frame = _scaled(name, _scalars(name, _renamed(name, frame, notes)), units, notes)
    columns = frame.collect_schema()
    if name == "SbufAllocation" and "end_address" in columns:
        frame = frame.with_columns(pl.col("end_address") + 1)  # the vendor's is that of the last byte
    if "engine" in columns:
        frame = frame.with_columns(pl.col("engine").cast(pl.String).replace(ENGINE_NAME))
    if name == "Instruction" and "nki_source_location" in columns and not {"file", "line"} & set(columns):
        frame = frame.with_columns(*LOCATED)
    return _spanned(name, frame)


def units(frames: Mapping[str, pl.LazyFrame]) -> Units:
    """What the folder's own SchemaFields says of units: (table, column) to unit."""
    if "SchemaFields" not in frames:
        return {}
    wanted = ("table_name", "field_name", "field_unit")
    if not set(wanted) <= set(frames["SchemaFields"].collect_schema()):
        return {}
    rows = frames["SchemaFields"].select(pl.col(wanted).cast(pl.String)).drop_nulls().collect()
    return {(name, field): unit for name, field, unit in rows.rows()}


def _renamed(name: str, frame: pl.LazyFrame, notes: Notes) -> pl.LazyFrame:
    """Columns that stand there under another name, where the one of ours is absent."""
    have = frame.collect_schema().names()
    known = TABLES[name].polars
    other = {
        old: new
        for old, new in {**RENAMED[""], **RENAMED.get(name, {})}.items()
        if old in have and old not in known and new in known and new not in have
    }
    if len(set(other.values())) < len(other):
        other = {old: new for new, old in {new: old for old, new in other.items()}.items()}
    if other:
        notes.append(f"{name}: " + ", ".join(f"{old} is read as {new}" for old, new in other.items()))
    return frame.rename(other)


def _scalars(name: str, frame: pl.LazyFrame) -> pl.LazyFrame:
    """Lists where the schema wants one value give their first, of places all; texts where it wants a number give it where they are one."""
    columns = []
    have = frame.collect_schema()
    for column, want in TABLES[name].polars.items():
        dtype = have.get(column)
        if isinstance(dtype, pl.List) and not dtype.inner.is_nested():
            value = (
                pl.col(column).cast(pl.List(pl.String)).list.join(", ")
                if column in _ALL_OF
                else pl.col(column).list.first()
            )
            columns += [pl.col(column).alias(f"{column}s"), value.cast(want, strict=False)]
        elif dtype == pl.String and (text := _AS_TEXT.get((name, column))):
            columns += [pl.col(column).alias(text), pl.col(column).str.extract(r"(\d+)$").cast(want, strict=False)]
    return frame.with_columns(*columns)


def _scaled(name: str, frame: pl.LazyFrame, found: Units, notes: Notes) -> pl.LazyFrame:
    """Times in nanoseconds, where the folder says that they are in something else."""
    have = frame.collect_schema()
    factors = {
        column.name: _NS[unit]
        for column in TABLES[name].columns
        if column.unit == "ns" and column.name in have and have[column.name].is_numeric()
        and (unit := found.get((name, column.name), "")) in _NS and unit != "nanoseconds"
    }  # fmt: skip
    if factors:
        notes.append(f"{name}: {', '.join(factors)} are converted to nanoseconds, as SchemaFields gives their units")
    return frame.with_columns(pl.col(column).cast(pl.Float64) * factor for column, factor in factors.items())


def _spanned(name: str, frame: pl.LazyFrame) -> pl.LazyFrame:
    """The one of start, end and duration that is absent, from the other two."""
    if not {"start_ts", "end_ts", "duration_ns"} <= set(TABLES[name].polars):
        return frame
    have = set(frame.collect_schema())
    if {"start_ts", "duration_ns"} <= have and "end_ts" not in have:
        return frame.with_columns(end_ts=pl.col("start_ts") + pl.col("duration_ns"))
    if {"start_ts", "end_ts"} <= have and "duration_ns" not in have:
        return frame.with_columns(duration_ns=pl.col("end_ts") - pl.col("start_ts"))
    return frame


def joined(tables: Mapping[str, pl.LazyFrame], notes: Notes) -> dict[str, pl.LazyFrame]:
    """`tables` with the columns of Instruction that are kept in tables of their own, where Instruction has no value."""
    found = dict(tables)
    for other, key, mine, columns in _SPLIT:
        if "Instruction" not in found or other not in found:
            continue
        have, there = set(found["Instruction"].collect_schema()), set(found[other].collect_schema())
        wanted = {old: new for old, new in columns.items() if old in there}
        if not wanted or mine not in have or key not in there:
            continue
        same = found["Instruction"].collect_schema()[mine]
        part = found[other].select(
            pl.col(key).cast(same).alias(mine), *(pl.col(o).alias(f"{n}*") for o, n in wanted.items())
        )
        part = part.drop_nulls(mine).unique(mine, keep="first", maintain_order=True)
        both = found["Instruction"].join(part, on=mine, how="left", maintain_order="left")
        filled = [pl.coalesce(*([n] if n in have else []), f"{n}*").alias(n) for n in wanted.values()]
        found["Instruction"] = both.with_columns(filled).drop(f"{n}*" for n in wanted.values())
        notes.append(f"Instruction: {', '.join(wanted.values())} come from {other}")
    return found


def _long(frame: pl.LazyFrame) -> pl.LazyFrame:
    """One wide row as (key, value) texts, values without one left out."""
    schema = frame.collect_schema()
    if {"key", "value"} <= set(schema):
        return frame
    flat = frame.head(1).select(pl.col(name).cast(pl.String) for name, dtype in schema.items() if _plain(dtype))
    return flat.unpivot(variable_name="key", value_name="value").drop_nulls("value")


def _plain(dtype: pl.DataType) -> bool:
    """Whether a value can be written as text."""
    return not dtype.is_nested() and dtype not in (pl.Binary, pl.Object)


def _summary(frame: pl.LazyFrame) -> pl.LazyFrame:
    """One wide row of metrics as (metric, value, text)."""
    if "metric" in frame.collect_schema():
        return frame
    row = frame.head(1)
    numbers = row.select(pl.selectors.numeric().cast(pl.Float64)).unpivot(variable_name="metric", value_name="value")
    texts = row.select(pl.selectors.string()).unpivot(variable_name="metric", value_name="text")
    return pl.concat([numbers.drop_nulls("value"), texts.drop_nulls("text")], how="diagonal")
