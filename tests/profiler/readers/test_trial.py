"""Damaged pages of a Parquet file end another process, or are refused by it; this one says which file, column and offset."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from nkilab.errors import InputError
from nkilab.profiler.readers import parquet, read, trial
from nkilab.profiler.readers.wire import Source

START = b"\x90\x03"  # 200 values, as the header of a data page has it


@pytest.fixture
def table(tmp_path: Path) -> Path:
    frame = pl.DataFrame({"engine": ["Tensor"] * 200, "start_ts": [0.0, None, 2.0, None] * 50})
    path = tmp_path / "Instruction.parquet"
    frame.write_parquet(path, compression="uncompressed", statistics=False)
    return path


def offset(path: Path, column: str) -> int:
    return dict(parquet.check(Source(path.read_bytes(), str(path))))[column]


def damage(path: Path, at: int, new: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[at : at + len(new)] = new
    path.write_bytes(content)


def test_a_sound_file_passes(table: Path) -> None:
    trial.tried(table)
    assert trial.Trial().ask(table) == ""


def test_a_page_that_ends_the_decoders_process_leaves_this_one_alone(table: Path) -> None:
    """Fewer than no values: polars asks for 2**61 bytes and aborts. The next file is tried by a new process."""
    other = trial.Trial()
    sound = table.read_bytes()
    at = sound.index(START, offset(table, "start_ts"))
    damage(table, at, b"\x8f\x03")
    assert other.ask(table) == "its pages cannot be decoded"
    assert other.ask(table, ["engine"]) == ""
    with pytest.raises(InputError, match="a page of -200 values"):
        trial.tried(table)
    table.write_bytes(sound)
    assert other.ask(table) == ""
    other.close()


def test_a_page_on_which_the_decoder_panics_is_our_error_alone(table: Path, capfd: pytest.CaptureFixture[str]) -> None:
    start = offset(table, "start_ts")
    damage(table, start + 24, b"\xff" * 8 + b"\x7f")
    with pytest.raises(InputError) as refused:
        read(table.parent)
    assert f"{table}, offset {start}, field column start_ts" in refused.value.values
    assert capfd.readouterr() == ("", "")


def test_where_no_process_can_be_started_the_frame_is_still_checked(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for executable in (str(table.parent / "no python"), "", "/bin/false"):
        monkeypatch.setattr(trial.sys, "executable", executable)
        assert trial.Trial().ask(table) == ""


@pytest.mark.parametrize(
    "columns", [{"x": [[1, 2], []]}, {"x": [{"a": 1}, None]}, {"a b\n": [1]}, {"": ["é"]}, {"x": []}]
)
def test_any_kind_of_column_can_be_tried(columns: dict[str, list[object]], tmp_path: Path) -> None:
    path = tmp_path / "odd \n né.parquet"
    pl.DataFrame(columns).write_parquet(path)
    trial.tried(path)
