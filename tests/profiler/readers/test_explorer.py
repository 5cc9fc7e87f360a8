"""The Explorer's Parquet: every column of schema 7.4.0, split tables, other names and units, several executions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from nkilab.errors import InputError
from nkilab.profiler import Profile
from nkilab.profiler.readers import read
from nkilab.profiler.schema import TABLES

KINDS: dict[str, pl.DataType] = {
    "integer (int64)": pl.Int64(), "integer (int32)": pl.Int32(), "number (float)": pl.Float32(), "number (double)": pl.Float64(),
    "boolean": pl.Boolean(), "array of string": pl.List(pl.String), "array of integer (int64)": pl.List(pl.Int64),
}  # fmt: skip


@pytest.fixture(scope="module")
def schema(shared_profiles: Path) -> dict[str, Any]:
    """The vendor's schema 7.4.0."""
    text = (shared_profiles.parent / "spec" / "explorer-schema-7.4.0.json").read_text()
    return {name: fields for name, fields in json.loads(text).items() if name != "_about"}


def whole(schema: dict[str, Any], folder: Path) -> Path:
    """A folder with every table and column that the schema has, three rows each."""
    folder.mkdir()
    values: dict[Any, list[Any]] = {pl.Boolean(): [True, False, True], pl.List(pl.String): [["4"], [], ["5", "6"]], pl.List(pl.Int64): [[4], [], [5, 6]]}  # fmt: skip
    for name, fields in schema.items():
        columns = {}
        for field, facts in fields.items():
            dtype = KINDS.get(facts["type"], pl.String())
            text = ["tensor", "Vector", "scalar"] if "engine" in field else ["a", "b", "c"]
            numbers = [10, 20, 30] if field == "end_ts" else [1, 2, 3]
            columns[field] = pl.Series(values.get(dtype, text if dtype == pl.String() else numbers), dtype=dtype)
        pl.DataFrame(columns).write_parquet(folder / f"{name}.parquet")
    return folder


def test_every_table_of_7_4_0_is_read_without_a_loss(schema: dict[str, Any], tmp_path: Path) -> None:
    p = read(whole(schema, tmp_path / "x"))
    known = 0
    for name, fields in schema.items():
        rows = p.table(name)
        if name in {"Metadata", "NeffHeader", "Summary", "SystemProfileMetadata"}:
            continue
        assert rows.height == 3, name
        assert set(fields) <= set(rows.columns), name
        for field in fields:
            as_text = (name, field) in {("Throttle", "type"), ("CpuUsage", "cpu_id")}
            assert rows[field].null_count() <= (3 if as_text else 1), f"{name}.{field}"
        known += name in TABLES
    assert known > 20
    assert p.table("Throttle")["type_name"].to_list() == ["a", "b", "c"]
    assert p.table("SystemProfileEvents")["flow_ids"].to_list() == [["4"], [], ["5", "6"]]
    assert p.table("SystemProfileEvents")["flow_id"].to_list() == [4, None, 5]
    assert p.table("Instruction")["engine"].to_list() == ["Tensor", "Vector", "Scalar"]
    assert p.facts["num_physical_cores"] == "1"
    assert p.table("Instruction")["file"].to_list() == ["a", "b", "c"], "from KernelInstructions"


def instructions(**more: list[Any]) -> pl.DataFrame:
    return pl.DataFrame(
        {"start_ts": [0, 10], "end_ts": [10, 30], "duration_ns": [10, 20], "engine": ["Tensor", "Vector"], "id": [1, 2],
         "opcode": ["MATMUL", "COPY"], "pc": [0, 1], "pcore_idx": [0, 0], "kernel_instruction_name": ["I-1", "I-2"], **more}
    )  # fmt: skip


def folder(path: Path, version: str = "7.4.0", **tables: pl.DataFrame) -> Profile:
    path.mkdir()
    metadata = pl.DataFrame({"profile_schema_version": [version], "first_hw_timestamp": [0], "last_hw_timestamp": [40]})
    for name, frame in {"Metadata": metadata, "Instruction": instructions(), **tables}.items():
        frame.write_parquet(path / f"{name}.parquet")
    return read(path)


def test_lines_and_compiler_opcodes_from_tables_of_their_own(tmp_path: Path) -> None:
    kernel = pl.DataFrame({"kernel_instruction_name": ["I-1", "I-1", "I-3"], "file_path": ["k.py", "other.py", "k.py"], "line_number": [7, 8, 9]})  # fmt: skip
    assembly = pl.DataFrame({"instruction_id": [2], "compiler_opcode": ["PSEUDO"], "compiler_pc": [3], "compiler_operands": [""]})  # fmt: skip
    p = folder(tmp_path / "x", KernelInstructions=kernel, AssemblyInstruction=assembly)
    rows = p.table("Instruction")
    assert rows.select("file", "line", "compiler_opcode").rows() == [("k.py", 7, None), (None, None, "PSEUDO")]
    assert any("come from KernelInstructions" in note for note in p.notes)


@pytest.mark.parametrize("names", [("Instruction_0", "Instruction_1"), ("Instruction", "Instruction-part-2"), ("Instruction.00", "Instruction.01")])  # fmt: skip
def test_a_table_in_parts_is_one(names: tuple[str, str], tmp_path: Path) -> None:
    for name, rows in zip(names, (instructions()[:1], instructions(extra=[None, "x"])[1:]), strict=True):
        rows.write_parquet(tmp_path / f"{name}.parquet")
    rows = read(tmp_path).table("Instruction")
    assert rows["opcode"].to_list() == ["MATMUL", "COPY"]
    assert rows["extra"].to_list() == [None, "x"]


def test_a_table_as_a_folder_of_parts(tmp_path: Path) -> None:
    (tmp_path / "Instruction.parquet").mkdir()
    for part in range(2):
        instructions()[part : part + 1].write_parquet(tmp_path / "Instruction.parquet" / f"part-{part}.parquet")
    assert read(tmp_path).table("Instruction").height == 2


def test_other_names_are_mapped_with_a_note_and_unknown_ones_kept(tmp_path: Path) -> None:
    renamed = instructions(novel=[1, 2]).rename({"start_ts": "start_timestamp", "engine": "subgroup", "duration_ns": "duration"})  # fmt: skip
    p = folder(tmp_path / "x", "12.0.1", Instruction=renamed.drop("end_ts"))
    rows = p.table("Instruction")
    assert rows.select("start_ts", "end_ts", "duration_ns", "engine").equals(
        folder(tmp_path / "y").table("Instruction").select("start_ts", "end_ts", "duration_ns", "engine")
    )
    assert rows["novel"].to_list() == [1, 2]
    assert any("start_timestamp is read as start_ts" in note for note in p.notes)
    assert any("12.0.1" in note for note in p.notes)


def test_units_are_the_ones_that_the_folder_states(tmp_path: Path) -> None:
    fields = {"table_name": ["Instruction"] * 3, "field_name": ["start_ts", "end_ts", "duration_ns"]}
    stated = pl.DataFrame({**fields, "field_unit": ["picoseconds"] * 3})
    rows = folder(tmp_path / "x", "12.0.1", SchemaFields=stated).table("Instruction")
    assert rows["end_ts"].to_list() == [0.01, 0.03]
    same = pl.DataFrame({**fields, "field_unit": ["nanoseconds"] * 3})
    assert folder(tmp_path / "y", SchemaFields=same).table("Instruction")["end_ts"].to_list() == [10, 30]


def test_several_executions_say_how_to_cut_one_out(tmp_path: Path) -> None:
    info = {"execution_index": [1, 2], "execution_start_ts": [0, 20_000], "execution_end_ts": [10_000, 40_000]}
    p = folder(tmp_path / "x", ExecutionInfo=pl.DataFrame(info))
    assert any("20 to 40 us" in note for note in p.notes)
    one = folder(tmp_path / "y", ExecutionInfo=pl.DataFrame(info)[:1])
    assert not any("executions" in note for note in one.notes)


def test_a_damaged_part_is_an_input_error(tmp_path: Path) -> None:
    instructions().write_parquet(tmp_path / "Instruction_0.parquet")
    (tmp_path / "Instruction_1.parquet").write_bytes(b"PAR1" + bytes(40) + b"PAR1")
    with pytest.raises(InputError, match="Instruction_1"):
        read(tmp_path)
