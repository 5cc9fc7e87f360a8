"""A profile as the Neuron Explorer's Parquet files: schema 7.4.0, table by table and type by type.

Times are whole nanoseconds there. What the schema allows to be missing and the profile does not hold is null. What it
requires and the profile does not hold is the empty text, 0 or false, and the Warning table names the column, because no
number of such a column is a measurement.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from nkilab.errors import UsageError
from nkilab.hardware import NAMES, load

from .explorer_columns import theirs
from .explorer_derived import derived
from .explorer_schema import TABLES, Field, described

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from .profile import Profile

VERSIONS = ("7.4.0",)
_WIDE = ("Metadata", "NeffHeader")
_OTHER_NAMES = {
    "KernelInstructions": {
        "file": "file_path", "line": "line_number", "iteration_variable_id": "iteration_variables_id",
    },
    "AssemblyInstruction": {"id": "instruction_id"},
}  # fmt: skip
_KEYS = {"KernelInstructions": "kernel_instruction_name", "AssemblyInstruction": "compiler_opcode"}
_MARK = ".nkilab-explorer"


def to_explorer(p: Profile, folder: str | PathLike[str], version: str = "7.4.0", *, force: bool = False) -> Path:
    """Write `<Table>.parquet` files that the Explorer's schema describes, and return the folder.

    Raises:
        UsageError: an unknown version, or the folder exists and `force` is not set.
    """
    if version not in VERSIONS:
        raise UsageError(f"no schema {version!r} of the Explorer", rule=f"one of {', '.join(VERSIONS)}")
    tables, filled = _tables(p, version)
    place = Path(folder)
    _make_room(place, force=force)
    tables["Warning"] = _warnings(tables.get("Warning"), filled)
    tables["SchemaFields"] = _schema_fields(sorted(tables))
    for name, table in tables.items():
        table.write_parquet(place / f"{name}.parquet")
    return place


def _make_room(place: Path, *, force: bool) -> None:
    """An empty folder; only one that this function made is ever emptied."""
    if place.exists() and any(place.iterdir()):
        if not force or not (place / _MARK).exists():
            raise UsageError(f"{place} is not empty", fix="name another folder" + ("" if force else ", or set force"))
        shutil.rmtree(place)
    place.mkdir(parents=True, exist_ok=True)
    (place / _MARK).touch()


def _tables(p: Profile, version: str) -> tuple[dict[str, pl.DataFrame], list[str]]:
    """Every table that the profile can fill, and the required columns that it cannot."""
    given = {name: p.table(name) for name in p.names if name in TABLES and name not in (*_WIDE, "Summary")}
    if "Instruction" in given:
        given = theirs(p, given)
        given |= {name: _split(given["Instruction"], name) for name in _OTHER_NAMES}
    given |= derived(given)
    given["Summary"] = _summary(p)
    given["Metadata"] = pl.DataFrame([_metadata(p, version)])
    if p.has("NeffHeader"):
        given["NeffHeader"] = pl.DataFrame([dict(p.table("NeffHeader").select("key", "value").iter_rows())])
    filled: list[str] = []
    typed = {name: _typed(name, table, filled) for name, table in given.items() if table.height}
    return typed, filled


def _typed(name: str, table: pl.DataFrame, filled: list[str]) -> pl.DataFrame:
    """A table with exactly the schema's columns and types; required columns that it lacks are added to `filled`."""
    columns = []
    for field in TABLES[name]:
        column = _cast(field, table)
        unknown = table[field.name].null_count() if field.name in table.columns else table.height
        if field.required and unknown:
            where = f" in {unknown} of {table.height} rows" if unknown < table.height else ""
            filled.append(f"{name}.{field.name} is not known{where}: empty, 0 or false")
            column = column.fill_null(_empty(field))
        columns.append(column.alias(field.name))
    return table.select(columns)


def _cast(field: Field, table: pl.DataFrame) -> pl.Expr:
    """A column in the schema's type; floats become whole numbers by rounding."""
    if field.name not in table.columns:
        return pl.lit(None, field.dtype)
    column = pl.col(field.name)
    if field.dtype.is_integer() and table.schema[field.name].is_float():
        column = column.round()
    if field.dtype == pl.Boolean() and table.schema[field.name] == pl.String():
        return column.str.to_lowercase() == "true"
    return column.cast(field.dtype, strict=False)


def _empty(field: Field) -> pl.Expr:
    if field.dtype == pl.String():
        return pl.lit("")
    if field.dtype == pl.Boolean():
        return pl.lit(value=False)
    return pl.lit(0, field.dtype)


def _split(instructions: pl.DataFrame, name: str) -> pl.DataFrame:
    """A table that the schema keeps apart from Instruction: its columns, once for each key."""
    wanted = {field.name for field in TABLES[name]}
    names = {old: new for old, new in _OTHER_NAMES[name].items() if old in instructions.columns}
    rows = instructions.drop_nulls(_KEYS[name]).rename(names)
    rows = rows.select(column for column in rows.columns if column in wanted)
    return rows.unique(
        maintain_order=True, subset=[TABLES[name][0].name] if TABLES[name][0].name in rows.columns else None
    )


def _summary(p: Profile) -> pl.DataFrame:
    """The summary's numbers, one column each."""
    table = p.summary().table().select("metric", "value").drop_nulls()
    known = {field.name for field in TABLES["Summary"]}
    return pl.DataFrame([{metric: value for metric, value in table.iter_rows() if metric in known}])


def _metadata(p: Profile, version: str) -> dict[str, Any]:
    """The one row of Metadata: the profile's facts under the schema's names, the machine's from the hardware table."""
    facts: Mapping[str, str] = p.facts
    ends = [p.table(name)["end_ts"].max() for name in ("Instruction", "DmaPacket") if p.has(name)]
    known: dict[str, Any] = {field.name: facts[field.name] for field in TABLES["Metadata"] if field.name in facts}
    cores = p.table("Instruction")["pcore_idx"].n_unique() if p.has("Instruction") else 1
    computed = {
        "profile_schema_version": version,
        "num_physical_cores": cores,
        "vnc_enabled": cores > 1,
        "first_hw_timestamp": 0,
        "last_hw_timestamp": max((end for end in ends if isinstance(end, float)), default=0.0),
        "ticks_per_nanosec": 1,
        "is_simulation": p.origin.simulated,
        "neuron_device_idx": facts.get("rank"),
        "profile_name": facts.get("kernel", ""),
    }
    return {
        **_machine(facts.get("target", facts.get("instance_type", ""))),
        **computed,
        **known,
        "profile_schema_version": version,
    }


def _machine(target: str) -> dict[str, Any]:
    """What the schema says of the machine, where the hardware tables know it."""
    name = next((name for name in NAMES if target.startswith(name)), None)
    if name is None:
        return {}
    hw = load(name)
    return {
        "dma_ddr_bandwidth": hw.dma.engines * hw.dma.engine_gbps * 1e9,
        "num_dma_engines_per_neuroncore": hw.dma.engines,
        "hbm_ddr_bandwidth": hw.hbm.gbps * 1e9,
        "tensor_engine_num_rows": hw.tensor.rows,
        "tensor_engine_num_cols": hw.tensor.columns,
        "tensor_engine_clock_freq": hw.tensor.clock_ghz,
        "vector_engine_clock_freq": hw.vector.clock_ghz,
        "vector_engine_num_channels": hw.sbuf.partitions,
        "scalar_engine_clock_freq": hw.scalar.clock_ghz,
        "scalar_engine_num_channels": hw.sbuf.partitions,
        "gpsimd_engine_clock_freq": hw.gpsimd.clock_ghz,
        "gpsimd_engine_num_channels": hw.sbuf.partitions,
        "neuroncore_clock_freq": hw.scalar.clock_ghz,
        "instance_type": target,
    }


def _warnings(given: pl.DataFrame | None, filled: list[str]) -> pl.DataFrame:
    """The profile's warnings and one for each required column without a value."""
    fields = TABLES["Warning"]
    rows = [{"category": "nkilab", "message": message} for message in filled]
    added: list[str] = []
    table = _typed("Warning", pl.DataFrame(rows, schema={"category": pl.String, "message": pl.String}), added)
    parts = [part for part in (given, table) if part is not None]
    return pl.concat(parts) if parts else pl.DataFrame(schema={field.name: field.dtype for field in fields})


def _schema_fields(tables: list[str]) -> pl.DataFrame:
    """The schema of these tables as the schema's own table of fields."""
    rows = [
        {
            "table_name": table,
            "field_name": field.name,
            "field_type": described(field.dtype)[0],
            "field_format": described(field.dtype)[1],
            "field_required": field.required,
            "field_unit": field.unit or None,
        }
        for table in tables
        for field in TABLES[table]
    ]
    return _typed("SchemaFields", pl.DataFrame(rows), [])
