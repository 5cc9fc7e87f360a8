"""Profiles written as the Explorer's files: every table with exactly the documented columns and types, and read back."""

from __future__ import annotations

import polars as pl
import pytest

import nkilab
from nkilab.errors import UsageError
from nkilab.kernels import matmul_cases
from nkilab.profiler.explorer_schema import TABLES


@pytest.fixture(scope="module")
def profile():
    return nkilab.simulate(matmul_cases.CASES[0]).profile


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


def test_an_unknown_version_and_a_full_folder_are_refused(profile, folder, tmp_path) -> None:
    with pytest.raises(UsageError, match="no schema"):
        profile.to_explorer(tmp_path / "x", "6.0.0")
    with pytest.raises(UsageError, match="not empty"):
        profile.to_explorer(folder)
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(UsageError, match="not empty"):
        profile.to_explorer(tmp_path, force=True)
    assert (tmp_path / "mine").read_text() == "keep"
