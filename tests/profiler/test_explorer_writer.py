"""Profiles written as the Explorer's files: every table with exactly the documented columns and types, and read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import nkilab
from nkilab.discover import kernel_named
from nkilab.errors import UsageError
from nkilab.kernels import matmul_cases
from nkilab.profiler.explorer_schema import TABLES

KERNELS = Path(__file__).with_name("written_kernels.py")


@pytest.fixture(scope="module", params=["matmul", "two_cores", "two_ranks"])
def profile(request):
    if request.param == "matmul":
        return nkilab.simulate(matmul_cases.CASES[0]).profile
    kernel = kernel_named(f"{KERNELS}:{request.param}")
    ranks = 2 if request.param == "two_ranks" else 1
    x = np.ones((128, 512), np.float32)
    return nkilab.simulate(kernel if ranks == 2 else kernel[2], x, sim=nkilab.Sim(target="trn2", ranks=ranks)).profile


@pytest.fixture(scope="module")
def folder(profile, tmp_path_factory):
    return profile.to_explorer(tmp_path_factory.mktemp("explorer") / "out")


def test_every_table_has_the_documented_columns_and_types(folder) -> None:
    files = sorted(folder.glob("*.parquet"))
    assert {"Instruction", "DmaPacket", "Metadata", "Summary", "SchemaFields"} <= {file.stem for file in files}
    for file in files:
        found = pl.read_parquet_schema(file)
        assert list(found.items()) == [(field.name, field.dtype) for field in TABLES[file.stem]], file.stem


def test_what_the_schema_requires_is_never_null_and_what_stands_in_is_named(folder) -> None:
    warned = set(pl.read_parquet(folder / "Warning.parquet")["message"].to_list())
    for file in folder.glob("*.parquet"):
        table = pl.read_parquet(file)
        for field in TABLES[file.stem]:
            assert not (field.required and table[field.name].null_count()), f"{file.stem}.{field.name}"
    assert "DmaPacket.crc is not known: empty, 0 or false" in warned
    assert not any(message.startswith("DmaPacket.transfer_bytes") for message in warned)


def test_it_says_that_it_is_a_simulation_and_of_which_version(folder) -> None:
    row = pl.read_parquet(folder / "Metadata.parquet").to_dicts()[0]
    assert (row["is_simulation"], row["profile_schema_version"]) == (True, "7.4.0")


def test_read_back_it_gives_the_same_numbers_to_the_nanosecond(profile, folder) -> None:
    again = nkilab.load(folder)
    for name in ("Instruction", "DmaPacket"):
        before, after = profile.table(name), again.table(name)
        assert after.height == before.height > 0
        assert (after["start_ts"] - before["start_ts"]).abs().max() <= 0.5
    assert again.table("Instruction")["opcode"].to_list() == profile.table("Instruction")["opcode"].to_list()


def test_numbers_of_rows_and_opcodes_hold_together(folder) -> None:
    """Ids point at rows, spans do not run backwards, and sums by opcode are those of the instructions."""
    tables = {file.stem: pl.read_parquet(file) for file in folder.glob("*.parquet")}
    for name, table in tables.items():
        if "duration_ns" in table.columns:
            assert (table["end_ts"] >= table["start_ts"]).all(), name
    rows, names = tables["Instruction"], tables["KernelInstructions"]["kernel_instruction_name"]
    assert set(rows["kernel_instruction_name"]) == set(names)
    assert names.is_unique().all()
    assert set(rows["id"]) == set(tables["AssemblyInstruction"]["instruction_id"])
    assert set(tables["DmaPacket"]["packet_aggregation_id"]) <= set(tables["DmaPacketAggregated"]["id"])
    ends = {name: set(tables[name]["id"]) for name in ("Instruction", "DmaPacketAggregated")}
    known = {(table, row) for table, ids in ends.items() for row in ids}
    flows = tables["Flow"]
    assert {
        *zip(flows["in_table"], flows["in_id"], strict=True),
        *zip(flows["out_table"], flows["out_id"], strict=True),
    } <= known
    sums = tables["OpcodeSummary"]
    assert sums["instruction_count"].sum() == rows.height
    assert abs(sums["instruction_time_ns"].sum() - rows["duration_ns"].sum()) <= rows.height
    assert (sums["active_time_ns"] <= sums["instruction_time_ns"] + 1).all()
    assert tables["HbmUsage"]["total_transfer_bytes"].max() <= tables["DmaPacketAggregated"]["transfer_bytes"].sum()


def test_shares_of_throttle_and_opcodes_are_shares(folder) -> None:
    throttle, opcodes = (pl.read_parquet(folder / f"{name}.parquet") for name in ("ThrottleSummary", "OpcodeSummary"))
    for column in ("throttle_active_time_percent", "max_achievable_util_with_throttling_percent"):
        assert throttle[column].is_between(0, 1).all()
    assert throttle["max_achievable_util_with_throttling_percent"].min() >= 0.5, "the cold clock is half of it"
    assert opcodes["active_time_percent"].is_between(0, 1).all()


def test_lines_are_those_of_the_profile(profile, folder) -> None:
    before, after = profile.lines().rows, nkilab.load(folder).lines().rows
    assert before.height == after.height > 0
    assert before.select("file", "line", "instructions").rows() == after.select("file", "line", "instructions").rows()


def test_barriers_and_collectives_have_tables_where_there_are_any(profile, folder) -> None:
    kernel = profile.facts["kernel"]
    there = {file.stem for file in folder.glob("*.parquet")}
    assert {"CoreBarriers", "CcOp"} & there == {"two_cores": {"CoreBarriers"}, "two_ranks": {"CcOp"}}.get(kernel, set())
    if kernel == "two_cores":
        rows = pl.read_parquet(folder / "CoreBarriers.parquet").sort("pcore_idx")
        assert rows["pcore_idx"].to_list() == [0, 1]
        assert rows["end_ts"].n_unique() == 1, "both go on together"
        assert rows["duration_ns"][1] > rows["duration_ns"][0], "the core without work waits longer"
    if kernel == "two_ranks":
        assert pl.read_parquet(folder / "CcOp.parquet")["algorithm"].to_list() == ["single-step mesh"]


def test_an_unknown_version_and_a_full_folder_are_refused(profile, folder, tmp_path) -> None:
    with pytest.raises(UsageError, match="no schema"):
        profile.to_explorer(tmp_path / "x", "6.0.0")
    with pytest.raises(UsageError, match="not empty"):
        profile.to_explorer(folder)
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(UsageError, match="not empty"):
        profile.to_explorer(tmp_path, force=True)
    assert (tmp_path / "mine").read_text() == "keep"
