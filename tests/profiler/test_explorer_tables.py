"""What simulated runs write as the Explorer's files: every row makes sense by itself, among the others, and read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import nkilab
from nkilab.discover import kernel_named
from nkilab.hardware import load
from nkilab.kernels import allgather_matmul_cases, flash_attention_cases, matmul_cases
from nkilab.profiler import Profile

KERNELS = Path(__file__).with_name("written_kernels.py")
RUNS = ("matmul", "attention", "spilling", "two_cores", "ranks")
_REFERENCES = (
    ("DmaPacket", "packet_aggregation_id", "DmaPacketAggregated", "id"),
    ("AssemblyInstruction", "instruction_id", "Instruction", "id"),
    ("Instruction", "kernel_instruction_name", "KernelInstructions", "kernel_instruction_name"),
    ("KernelInstructions", "stack_frame_id", "KernelStackFrames", "stack_frame_id"),
    ("KernelInstructions", "iteration_variables_id", "KernelIterationVariables", "iteration_variable_id"),
    ("KernelStackFrames", "parent_stack_frame_id", "KernelStackFrames", "stack_frame_id"),
    ("KernelIterationVariables", "parent_iteration_variable_id", "KernelIterationVariables", "iteration_variable_id"),
    ("DmaPacketAggregated", "queue_idx", "DmaQueuesInfo", "idx"),
    ("DmaPacket", "engine_idx", "DmaQueuesInfo", "engine_idx"),
    ("DmaPacketAggregated", "semaphore_id", "SemaphoreUpdate", "id"),
    ("StackFrame", "file_location_id", "StackFrameFileLocation", "id"),
    ("StackFrameFileLocation", "file_name_id", "StackFrameFileName", "id"),
    ("StackFrameFileLocation", "function_name_id", "StackFrameFunctionName", "id"),
)
_KINDS = {"integer": pl.Int64, "number": pl.Float64, "string": pl.String, "boolean": pl.Boolean}
_WIDTHS = {"(int32)": pl.Int32, "(float)": pl.Float32}


@pytest.fixture(scope="module", params=RUNS)
def profile(request) -> Profile:
    """The profile of a run; of several ranks that of the second."""
    if request.param == "ranks":
        sim = nkilab.Sim(values=False, ranks=4)
        return nkilab.simulate(allgather_matmul_cases.CASES[0], sim=sim).ranks[1].profile
    cases = {"matmul": matmul_cases.CASES[0], "attention": flash_attention_cases.CASES[0]}
    if request.param in cases:
        return nkilab.simulate(cases[request.param], sim=nkilab.Sim(values=False)).profile
    kernel = kernel_named(f"{KERNELS}:{request.param}")
    rows, columns = (32 * 128, 8192) if request.param == "spilling" else (128, 512)
    sim = nkilab.Sim(target="trn2", values=False, on_finding="collect")
    x = np.zeros((rows, columns), np.float32)
    return nkilab.simulate(kernel[2] if request.param == "two_cores" else kernel, x, sim=sim).profile


@pytest.fixture(scope="module")
def folder(profile, tmp_path_factory) -> Path:
    return profile.to_explorer(tmp_path_factory.mktemp("explorer") / "out", "7.4.0")


@pytest.fixture(scope="module")
def tables(folder) -> dict[str, pl.DataFrame]:
    return {file.stem: pl.read_parquet(file) for file in folder.glob("*.parquet")}


def _type(words: str) -> Any:
    """The polars type of a type in the schema's words."""
    kind, _, width = words.partition(" ")
    return _WIDTHS.get(width, pl.Float64 if width == "(double)" else _KINDS[kind])


def test_columns_types_and_what_is_required_are_those_of_the_documented_schema(tables, shared_profiles) -> None:
    schema = json.loads((shared_profiles.parent / "spec" / "explorer-schema-7.4.0.json").read_text())
    for name, table in tables.items():
        assert dict(table.schema) == {column: _type(field["type"]) for column, field in schema[name].items()}, name
        for column, field in schema[name].items():
            assert not field["required"] or not table[column].null_count(), f"{name}.{column}"
        assert table.height, name
    fields = tables["SchemaFields"]
    said = {(row["table_name"], row["field_name"]): row for row in fields.iter_rows(named=True)}
    for (name, column), row in said.items():
        given = schema[name][column]
        words = f"{row['field_type']} ({row['field_format']})" if row["field_format"] else row["field_type"]
        assert given["type"].startswith(words), f"{name}.{column}"
        assert (row["field_required"], row["field_unit"]) == (given["required"], given["unit"])


def test_it_says_that_it_is_a_simulation(tables) -> None:
    (row,) = tables["Metadata"].to_dicts()
    assert (row["is_simulation"], row["profile_schema_version"]) == (True, "7.4.0")


def test_no_time_runs_backwards(tables) -> None:
    for name, table in tables.items():
        if {"start_ts", "end_ts", "duration_ns"} <= set(table.columns):
            assert (table["end_ts"] >= table["start_ts"]).all(), name
            assert ((table["end_ts"] - table["start_ts"] - table["duration_ns"]).abs() <= 1).all(), name
        for column, dtype in table.schema.items():
            if dtype.is_numeric() and (column.endswith(("_ns", "_bytes")) or "_ts" in column or column == "timestamp"):
                assert (table[column].drop_nulls() >= 0).all(), f"{name}.{column}"


def test_numbers_that_refer_to_other_tables_have_a_row_there(tables) -> None:
    seen = 0
    for name, column, other, key in _REFERENCES:
        if name in tables and column in tables[name].columns:
            referring = set(tables[name][column].drop_nulls().cast(pl.String))
            assert referring <= set(tables[other][key].cast(pl.String)), f"{name}.{column}"
            seen += bool(referring)
    assert seen >= 9
    frames = {*tables["StackFrame"]["id"], "0"}
    assert set(tables["StackFrame"]["parent_frame_id"]) <= frames
    assert set(tables["Instruction"]["stack_frame_ids"].drop_nulls().str.strip_chars("[]")) <= frames
    for name in ("Instruction", "DmaPacket", "DmaPacketAggregated"):
        assert tables[name]["id"].is_unique().all(), name
    assert tables["DmaPacket"].select("packet_aggregation_id", "packet_idx").is_unique().all()


def test_the_gap_of_a_dependence_is_from_one_row_s_end_to_the_other_s_start(tables) -> None:
    rows = pl.concat(
        tables[name].select("id", "start_ts", "end_ts", table=pl.lit(name))
        for name in ("Instruction", "DmaPacketAggregated")
    )
    flows = tables["Flow"]
    both = flows.join(rows, left_on=["in_table", "in_id"], right_on=["table", "id"])
    both = both.join(rows, left_on=["out_table", "out_id"], right_on=["table", "id"], suffix="_out")
    assert both.height == flows.height > 0
    assert ((both["start_ts_out"] - both["end_ts"] - both["gap_time"]).abs() <= 1).all()
    assert (flows["gap_time"] >= 0).all()
    assert set(flows["dependency_type"]) <= {"FLOW_DEPENDENCE", "ANTI_DEPENDENCE", "OUTPUT_DEPENDENCE"}


def test_waits_fill_gaps_and_every_transfer_moves_its_queue_s_semaphore(tables) -> None:
    rows = tables["Instruction"].sort("pcore_idx", "engine", "start_ts", "id")
    before = pl.col("end_ts").cum_max().shift(1).over("pcore_idx", "engine").fill_null(0)
    gap = rows.select((pl.col("start_ts") - before).clip(0)).to_series()
    assert (rows["evt_wait_time_ns"] <= gap + 2).all()
    assert (rows["evt_wait_time_ns"] > 0).any()
    updates = tables["SemaphoreUpdate"].sort("timestamp", "value")
    steps = updates.select((pl.col("value") - pl.col("value").shift(1).over("pcore_idx", "id").fill_null(0)) == 1)
    assert steps.to_series().all(), "each semaphore counts by one"
    assert updates.filter(update_source="AXI").height == tables["DmaPacketAggregated"].height
    triggers = tables["Instruction"].drop_nulls("dma_trigger_start_ts").sort("dma_trigger_start_ts")
    moved = tables["DmaPacketAggregated"].sort("start_ts")
    assert triggers["dma_trigger_start_ts"].to_list() == moved["start_ts"].to_list()
    assert triggers["start_ts"].sort().to_list() == moved["trigger"].sort().to_list()


def test_a_barrier_is_an_instruction_of_each_core_that_waits_until_both_are_there(profile, tables) -> None:
    assert ("CoreBarriers" in tables) == (profile.facts["kernel"] == "two_cores")
    if "CoreBarriers" in tables:
        parts = tables["CoreBarriers"].with_columns(pl.col("engine_name").str.to_lowercase())
        rows = parts.join(
            tables["Instruction"],
            left_on=["pcore_idx", "engine_name", "compiler_pc", "compiler_operands"],
            right_on=["pcore_idx", "engine", "compiler_pc", "operands"],
        ).sort("pcore_idx")
        assert rows["opcode"].n_unique() == 1
        first, second = rows["evt_wait_time_ns"]
        assert second > first, "the core without work waits longer"


def test_places_in_sbuf_lie_within_it_and_do_not_overlap(profile, tables) -> None:
    places = tables["SbufAllocation"]
    assert set(places["partition"]) <= {0, 32, 64, 96}
    assert places["end_address"].max() < load("trn2").sbuf.partition_bytes
    assert set(places["op_source_type"]) <= {"instruction", "dma"}
    assert places.filter(op_source_type="dma")["queue_name"].null_count() == 0
    assert places.filter(op_source_type="instruction")["opcode"].null_count() == 0
    here = places.filter(partition=0).with_row_index("n")
    pairs = here.join(here, on="pcore_idx", suffix="_b").filter(
        (pl.col("n") < pl.col("n_b"))
        & (pl.col("start_address") <= pl.col("end_address_b"))
        & (pl.col("start_address_b") <= pl.col("end_address"))
        & (pl.col("start_ts") + 1 < pl.col("end_ts_b"))
        & (pl.col("start_ts_b") + 1 < pl.col("end_ts"))
    )
    assert pairs.is_empty()


def test_read_back_instructions_and_transfers_are_those_of_the_profile(profile, folder) -> None:
    again = nkilab.load(folder)
    for name in ("Instruction", "DmaPacket", "DmaPacketAggregated"):
        before, after = profile.table(name), again.table(name)
        assert before.height == after.height > 0
        ours = {"cost_class", "ready_ts", "instruction_id", "packets", "is_cc_dma", "duplicate", "function"}
        for column in set(before.columns) - ours:
            old, new = before[column], after[column]
            if column == "semaphore_id" and name == "DmaPacket":
                continue
            if old.dtype.is_float():
                close = (old - new).abs() <= (old.abs() * 1e-6 + 1.0)
                assert close.all(ignore_nulls=True), f"{name}.{column}"
                assert old.null_count() == new.null_count(), f"{name}.{column}"
            elif old.null_count() == 0:
                assert old.to_list() == new.to_list(), f"{name}.{column}"
