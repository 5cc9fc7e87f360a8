"""The vendor's device JSON becomes the tables of the schema."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nkilab.errors import InputError
from nkilab.profiler import Profile
from nkilab.profiler.readers import device_json, jsontables, read
from tests.profiler import makers


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return read(makers.write(tmp_path_factory.mktemp("json") / "profile.json", makers.device_json()))


def test_it_says_where_it_comes_from(profile: Profile) -> None:
    assert profile.origin.kind == "device-json"
    assert profile.origin.producer == "2.28.23.0"
    assert any("whole nanoseconds" in note for note in profile.notes)


def test_instructions_keep_time_place_and_work(profile: Profile) -> None:
    rows = profile.table("Instruction")
    assert rows["start_ts"].to_list() == [0.0, 50.0, 140.0, 200.0, 260.0]
    assert rows["end_ts"].to_list() == [100.0, 150.0, 200.0, 260.0, 900.0]
    assert rows["engine"].to_list() == ["Tensor", "Tensor", "Tensor", "Vector", "Vector"]
    assert rows["timeline_track"].to_list()[0] == "TensorMatrix"
    assert rows["pcore_idx"].to_list() == [0, 0, 1, 0, 0]
    assert rows["id"].to_list()[1] == 10**18 + 50, "ids above 2^53 stay exact"
    assert rows["raw_flops"].to_list() == [2000, 1000, 0, None, None]
    assert rows["flops_transpose"].to_list() == [None, 1000, None, None, None]
    assert rows["bir_id"].to_list() == [None] * 5, "an empty text is unknown"


def test_source_locations_become_file_and_line(profile: Profile) -> None:
    rows = profile.table("Instruction")
    assert rows["file"].to_list() == ["/home/me/kernel.py"] * 4 + [None]
    assert rows["line"].to_list() == [12, 12, 12, 14, None]


def test_predecessors_become_flows(profile: Profile) -> None:
    assert profile.table("Flow").select("in_id", "out_id", "dependency_type").rows() == [
        (10**18, 10**18 + 200, "FLOW_DEPENDENCE")
    ]


def test_packets_queues_and_flags(profile: Profile) -> None:
    rows = profile.table("DmaPacket")
    assert rows["engine_idx"].to_list() == [64, 65, 64]
    assert rows["duplicate"].to_list() == [False] * 3
    assert rows["transfer_bytes"].sum() == 4096


def test_memory_use_is_split_by_memory(profile: Profile) -> None:
    assert profile.table("SbufUsage")["avg_util_percent"].to_list() == [0.5]
    assert profile.table("PsumUsage")["avg_util_percent"].to_list() == [0.25]
    assert "bank_0_usage" not in profile.table("SbufUsage").columns


def test_facts_go_by_the_explorers_names(profile: Profile) -> None:
    assert profile.fact("tensor_engine_clock_freq") == 2.0
    assert profile.facts["profile_name"] == "hand-made"


def test_unknown_tables_are_kept_and_said(profile: Profile) -> None:
    assert profile.table("cc_stream").height == 1
    assert any("cc_stream" in note for note in profile.notes)


def test_nodes_without_a_name_are_not_tensors(profile: Profile) -> None:
    assert profile.table("TensorInfo")["variable_name"].to_list() == ["x", "w", "y"]


def test_log_lines_before_and_behind_the_object_are_skipped(tmp_path: Path) -> None:
    path = makers.write(tmp_path / "out.txt", makers.device_json(), before='INFO {"level":1} reading\nWARN[0000] x\n')
    path.write_text(path.read_text() + "\nINFO done {}\n")
    assert read(path).table("Instruction").height == 5


def test_tables_read_in_blocks_equal_those_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        makers.instruction(10 * i, 10 * i + 5, "Tensor", "MATMUL", operands='a "quoted\\" [{x' * (i % 3))
        for i in range(500)
    ]
    rows[-1]["elements"] = 8
    path = makers.write(tmp_path / "p.json", makers.device_json(instruction=rows))
    whole = device_json.read(path)
    monkeypatch.setattr(jsontables, "PARSE_BLOCK", 1000)
    monkeypatch.setattr(jsontables, "SCAN_BLOCK", 97)
    blocks = device_json.read(path)
    assert whole.table("Instruction").height == 500
    assert whole.table("Instruction")["raw_flops"].to_list()[-1] == 16
    for name in whole.names:
        columns = whole.table(name).columns
        assert blocks.table(name).select(columns).equals(whole.table(name)), name


def test_a_file_made_with_the_wrong_neff_says_so(tmp_path: Path) -> None:
    p = read(makers.write(tmp_path / "p.json", {"profile_info": [{"profiler_version": "2.30"}]}))
    assert p.names == ("Metadata",)
    assert any("NEFF" in note for note in p.notes)
    assert p.doctor().table()["check"][0] == "no instructions"


HOSTILE = {
    "empty": (b"", "empty"),
    "text": (b"hello world\n", "not a profile"),
    "truncated in a row": (b'{"dma": [{"timestamp": 1}, {"timest', "truncated"),
    "truncated in a string": (b'{"dma": [{"op": "abc', "truncated"),
    "only a brace": (b"{", "truncated"),
    "deep": (b'{"dma": ' + b"[" * 100000, "deeper"),
    "deep objects": (b'{"dma":[' + b'{"a":' * 100000, "deeper"),
    "NaN": (b'{"dma": [{"timestamp": 1}, {"timestamp": NaN}], "metadata": [{}]}', "not valid JSON"),
    "beyond float64": (b'{"dma": [{"timestamp": 1e999}]}', "not valid JSON"),
    "beyond int64": (b'{"dma": [{"id": 123456789012345678901234567890}]}', r"DmaPacket|dma\.id"),
    "text for a number": (b'{"dma": [{"timestamp": "soon", "duration": 3}]}', "dma"),
    "a list for a number": (b'{"pending_dma": [{"timestamp": [1, 2]}], "dma": [{"id": 1}]}', "PendingDma.timestamp"),
    "rows that are numbers": (b'{"dma": [1, 2, 3]}', "none of the tables"),
    "another object": (b'{"a": [{"b": 1}]}', "none of the tables"),
    "a list": (b"[1, 2, 3]", "not a profile"),
    "zero bytes": (b"\x00" * 1000, "not a profile"),
    "brackets only": (b"{" + b"[]" * 5000 + b"}", "none of the tables"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_input_ends_in_one_typed_error(case: str, tmp_path: Path) -> None:
    data, word = HOSTILE[case]
    path = tmp_path / "profile.json"
    path.write_bytes(data)
    with pytest.raises(InputError, match=word) as raised:
        read(path)
    assert "\n" not in raised.value.what
    assert str(path) in f"{raised.value.what} {raised.value.values}"


def test_an_error_names_offset_and_field(tmp_path: Path) -> None:
    data = b'{"metadata": [{"x": 1}], "dma": [{"timestamp": 1, "duration": NaN}]}'
    path = tmp_path / "p.json"
    path.write_bytes(data)
    with pytest.raises(InputError) as raised:
        read(path)
    assert f"offset {data.index(b'NaN')}" in raised.value.values
    assert "dma.duration" in raised.value.values


def test_a_missing_path_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "absent.json")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_corruption_loads_or_raises_our_error(tmp_path: Path, data: st.DataObject) -> None:
    path = makers.write(tmp_path / "p.json", makers.device_json())
    good = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(good) - 1))
        good[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path.write_bytes(bytes(good))
    try:
        tables = read(path)
    except InputError:
        return
    assert all(isinstance(tables.table(name), pl.DataFrame) for name in tables.names)
