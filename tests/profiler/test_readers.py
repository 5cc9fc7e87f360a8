"""A path is recognised by what it holds; what nkilab wrote reads back equal; folders with several profiles say so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from nkilab.errors import InputError, UsageError
from nkilab.profiler import Origin, Profile
from nkilab.profiler.readers import detect, read
from tests.profiler import makers

NODE = "n_" + "0123456789" * 4
METRICS = {"total_time": 3.5e-05, "hardware_flops": 1024000.0, "nki_version": "0.7", "dma_queue_count": 3}


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    return read(makers.write(tmp_path / "source.json", makers.device_json()))


def metrics(p: Profile) -> dict[str, float | str]:
    """The Summary table as a dictionary."""
    rows = p.table("Summary").select("metric", pl.coalesce(pl.col("value").cast(pl.String), "text")).rows()
    return {name: METRICS[name] if str(METRICS[name]) == text else float(text) for name, text in rows}


def test_a_saved_profile_reads_back_equal_and_lazily(profile: Profile, tmp_path: Path) -> None:
    folder = profile.with_tables({}, notes=("a note",)).save(tmp_path / "saved")
    (tmp_path / "source.json").unlink()
    again = read(folder)
    assert again.origin == profile.origin
    assert again.notes == (*profile.notes, "a note")
    assert again.names == profile.names
    assert not again.collected
    for name in profile.names:
        assert again.table(name).equals(profile.table(name)), name


def test_saving_twice_is_fine_and_into_a_foreign_folder_is_not(profile: Profile, tmp_path: Path) -> None:
    folder = profile.save(tmp_path / "saved")
    profile.save(folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        profile.save(tmp_path / "other")


def test_a_newer_schema_is_refused(profile: Profile, tmp_path: Path) -> None:
    folder = profile.save(tmp_path / "saved")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "schema_version": "99.0.0"}))
    with pytest.raises(InputError, match=r"99\.0\.0"):
        read(folder)


@pytest.mark.parametrize(
    "text",
    [
        '{"format": "nkilab.profile"',
        '{"format": "nkilab.profile", "tables": 3}',
        '{"format":"nkilab.profile","schema_version":"1","origin":{"kind":"x","path":"","producer":""},"notes":[],"tables":{"../../x":""}}',
    ],
)
def test_a_damaged_manifest_is_an_input_error(profile: Profile, tmp_path: Path, text: str) -> None:
    folder = profile.save(tmp_path / "saved")
    (folder / "manifest.json").write_text(text)
    with pytest.raises(InputError, match="manifest"):
        read(folder)


def test_a_missing_or_damaged_table_is_an_input_error(profile: Profile, tmp_path: Path) -> None:
    folder = profile.save(tmp_path / "saved")
    (folder / "Instruction.parquet").write_bytes(b"PAR1 not really PAR1")
    with pytest.raises(InputError, match="Parquet"):
        read(folder)
    (folder / "Instruction.parquet").unlink()
    with pytest.raises(InputError, match="no such file"):
        read(folder)


@pytest.mark.parametrize("before", ["", "$ neuron-profile view\n", 'INFO {"a": 1} reading\n'])
def test_summary_json(tmp_path: Path, before: str) -> None:
    p = read(makers.write(tmp_path / "s.out", {NODE: METRICS}, before))
    assert p.origin.kind == "summary"
    assert metrics(p) == METRICS
    assert p.summary()["total_time"] == 3.5e-05


def test_summary_text_with_a_prompt_and_go_numbers(tmp_path: Path) -> None:
    path = tmp_path / "s.txt"
    path.write_text(
        "ubuntu@ip:~$ neuron-profile view\nWARN[0000] NeuronCore buffer usage simulation is disabled\n"
        f"{NODE}\n    total_time      3.5e-05\n    hardware_flops  1.024e+06\n    nki_version     0.7.1 (beta)\n    dma_queue_count 3\nubuntu@ip:~$\n"
    )
    p = read(path)
    assert detect(path) == "summary-text"
    assert p.summary()["hardware_flops"] == 1024000
    assert p.summary()["nki_version"] == "0.7.1 (beta)"
    assert p.table("Summary").height == 4


def test_several_nodes_are_all_kept_and_the_first_is_shown(tmp_path: Path) -> None:
    second = {**METRICS, "total_time": 9.0}
    p = read(makers.write(tmp_path / "s.json", {NODE: METRICS, NODE[:-1] + "f": second}))
    assert p.table("Summary").height == 8
    assert p.summary()["total_time"] == 3.5e-05
    assert any("2 nodes" in note for note in p.notes)


@pytest.mark.parametrize(
    "text",
    [
        '{"n_1": {"a": NaN}}',
        '{"n_1": {"a": [1]}}',
        '{"n_1": {"a"',
        '{"n_1": {"a": 1' + "0" * 400 + "}}",
        '{"n_1": {"a": ' + "[" * 5000,
        '{"n_1": {}}',
        '{"a": {"b": 1}, "c": 2}',
    ],
)
def test_a_damaged_summary_is_an_input_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.json"
    path.write_text(text)
    with pytest.raises(InputError):
        read(path)


def explorer(folder: Path, version: str = "7.4.0") -> Path:
    """A small folder as the Explorer writes it."""
    folder.mkdir(parents=True)
    pl.DataFrame(
        {
            "start_ts": [0, 10], "end_ts": [10, 30], "duration_ns": [10, 20], "engine": ["tensor", "Vector"], "pcore_idx": [0, 0],
            "opcode": ["MATMUL", "COPY"], "id": [1, 2], "pc": [0, 1], "raw_flops": [200, None], "new_column": ["a", "b"],
            "nki_source_location": ["/k.py:7", None],
        }
    ).write_parquet(folder / "Instruction.parquet")  # fmt: skip
    pl.DataFrame(
        {
            "profile_schema_version": [version],
            "last_hw_timestamp": [40],
            "first_hw_timestamp": [0],
            "vnc_enabled": [True],
        }
    ).write_parquet(folder / "Metadata.parquet")
    pl.DataFrame(
        {"total_time": [4e-8], "hardware_flops": [200], "spill_save_bytes": pl.Series([None], dtype=pl.Int64)}
    ).write_parquet(folder / "Summary.parquet")
    fields = {"table_name": ["Instruction", "CcOp"], "field_name": ["start_ts", "start_ts"]}
    pl.DataFrame(fields).write_parquet(folder / "SchemaFields.parquet")
    return folder


def test_explorer_folder(tmp_path: Path) -> None:
    p = read(explorer(tmp_path / "x@latest"))
    assert p.origin.kind == "parquet"
    rows = p.table("Instruction")
    assert rows["engine"].to_list() == ["Tensor", "Vector"]
    assert rows["new_column"].to_list() == ["a", "b"]
    assert rows["line"].to_list() == [7, None]
    assert p.summary()["total_time"] == 4e-8
    assert "spill_save_bytes" not in p.summary().table()["metric"]
    assert p.fact("last_hw_timestamp") == 40
    assert any("CcOp" in note for note in p.notes), "what the folder's own schema names and the folder lacks"


def test_a_later_explorer_schema_is_read_by_names_with_a_note(tmp_path: Path) -> None:
    p = read(explorer(tmp_path / "data" / "profiles" / "global" / "x@latest", "12.0.1").parents[3])
    assert any("12.0.1" in note for note in p.notes)
    assert p.engines().table().height > 0


def test_the_only_profile_in_a_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "run" / "deep").mkdir(parents=True)
    (tmp_path / "run" / "notes.txt").write_text("nothing")
    makers.write(tmp_path / "run" / "deep" / "p.bin", makers.device_json())
    assert read(tmp_path / "run").origin.path.endswith("p.bin")


def test_several_profiles_in_a_folder_are_listed(profile: Profile, tmp_path: Path) -> None:
    profile.save(tmp_path / "saved")
    with pytest.raises(UsageError) as raised:
        read(tmp_path)
    assert "2 profiles" in raised.value.what
    assert str(tmp_path / "source.json") in raised.value.fix
    assert str(tmp_path / "saved") in raised.value.fix


def test_an_empty_folder_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without any profile"):
        read(tmp_path)


def test_a_parquet_file_and_a_neff_say_what_to_give_instead(tmp_path: Path) -> None:
    folder = explorer(tmp_path / "x")
    with pytest.raises(InputError, match="give the folder"):
        read(folder / "Instruction.parquet")
    (tmp_path / "k.neff").write_bytes((2).to_bytes(8, "little") + bytes(2000))
    with pytest.raises(InputError, match="neff="):
        read(tmp_path / "k.neff")


def test_neff_belongs_to_an_ntff(tmp_path: Path) -> None:
    path = makers.write(tmp_path / "p.json", makers.device_json())
    with pytest.raises(UsageError, match="neff="):
        read(path, neff="x.neff")


def test_links_are_not_followed_when_looking_for_profiles(tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    makers.write(tmp_path / "away" / "p.json", makers.device_json())
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "away")
    with pytest.raises(InputError, match="without any profile"):
        read(tmp_path / "here")
    shutil.copy(tmp_path / "away" / "p.json", tmp_path / "here" / "p.json")
    assert read(tmp_path / "here").origin == Origin("device-json", str(tmp_path / "here" / "p.json"), "2.28.23.0")
