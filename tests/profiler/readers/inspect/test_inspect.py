"""Inspect folders: events paired, device executions, CPU and memory; empty and missing files."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from nkilab.errors import InputError
from nkilab.profiler.profile import Profile
from nkilab.profiler.readers import inspect
from tests.profiler.readers.fuzz.targets import made_inspect

START = 1_700_000_000_000_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in made_inspect().items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.fixture(scope="module")
def real(shared_profiles: Path) -> Profile:
    return inspect.read(shared_profiles / "trn2-inspect")


def test_starts_and_stops_are_paired_by_tracking_id(folder: Path) -> None:
    rows = inspect.read(folder).table("SystemProfileEvents").filter(trace_event_source="runtime")
    assert rows.select("name", "start_ts", "duration_ns").rows() == [
        ("nrt_execute", START, 1000),
        ("nrt_execute", START + 5000, 1000),
    ]
    assert rows["process_id"].to_list() == [77, 77]
    assert [json.loads(text)["exec_id"] for text in rows["extra_attributes_json"]] == ["0", "1"]


def test_a_device_execution_lasts_as_long_as_the_device_says(folder: Path) -> None:
    rows = inspect.read(folder).table("SystemProfileEvents").filter(trace_event_source="device")
    assert rows.select("name", "duration_ns", "pcore_idx", "nc_idx").rows() == [("nc_exec_running", 880, 4, 0)] * 2


def test_cpu_and_memory(folder: Path) -> None:
    profile = inspect.read(folder)
    assert profile.table("CpuUsage").select("util_percent", "cpu_id").rows() == [(float(n), n % 4) for n in range(8)]
    memory = profile.table("HostMemUsage")
    assert memory["used_bytes"].to_list() == [1 << 30] * 4
    assert memory["used_percent"].to_list() == [6.25] * 4


def test_a_framework_trace_joins_in_unix_nanoseconds(folder: Path) -> None:
    rows = inspect.read(folder).table("SystemProfileEvents").filter(trace_event_source="framework")
    assert rows.select("name", "start_ts", "end_ts", "thread_id").rows() == [("aten::mm", 1505, 3505, 2)]


def test_a_framework_trace_that_counts_from_the_epoch(folder: Path) -> None:
    (folder / "trace.json").write_text('{"traceEvents": [{"ph": "X", "name": "a", "ts": 1700000000000000, "dur": 2}]}')
    rows = inspect.read(folder).table("SystemProfileEvents").filter(trace_event_source="framework")
    assert rows.select("start_ts", "end_ts").rows() == [(1_700_000_000_000_000_000, 1_700_000_000_000_002_000)]


def test_a_framework_trace_without_events_is_said(folder: Path) -> None:
    (folder / "trace.json").write_text('{"traceEvents": "x"}')
    assert any("no complete event" in note for note in inspect.read(folder).notes)


@pytest.mark.parametrize("name", ["ntrace.pb", "cpu_util.pb", "host_mem.pb", "trace.json"])
def test_an_empty_file_is_a_run_without_such_events(folder: Path, name: str) -> None:
    whole = set(inspect.read(folder).names)
    (folder / name).write_bytes(b"")
    rest = inspect.read(folder)
    assert whole - set(rest.names) <= {"CpuUsage", "HostMemUsage"}
    if name == "ntrace.pb":
        assert any("no runtime events" in note for note in rest.notes)


def test_without_trace_info_events_are_shown_by_number(folder: Path) -> None:
    (folder / "trace_info.pb").unlink()
    profile = inspect.read(folder)
    assert "event_3" in profile.table("SystemProfileEvents")["name"]
    assert any("shown by number" in note for note in profile.notes)


def test_a_start_without_a_stop_has_no_end(folder: Path) -> None:
    data = (folder / "ntrace.pb").read_bytes()
    last = 0
    at = 0
    while at < len(data):
        last, at = at, at + 4 + int.from_bytes(data[at : at + 4], "little")
    (folder / "ntrace.pb").write_bytes(data[:last])
    profile = inspect.read(folder)
    assert profile.table("SystemProfileEvents").filter(name="nrt_execute")["duration_ns"].to_list() == [1000, None]
    assert any("1 starts or stops" in note for note in profile.notes)


def test_a_stop_without_a_start_is_no_event(folder: Path) -> None:
    data = (folder / "ntrace.pb").read_bytes()
    starts = [0]
    while starts[-1] < len(data):
        starts.append(starts[-1] + 4 + int.from_bytes(data[starts[-1] : starts[-1] + 4], "little"))
    (folder / "ntrace.pb").write_bytes(data[starts[-2] :])
    profile = inspect.read(folder)
    assert "nrt_execute" not in profile.rows("SystemProfileEvents")["name"]
    assert any("1 starts or stops" in note for note in profile.notes)


def test_a_record_beyond_the_end_says_where(folder: Path) -> None:
    data = (folder / "cpu_util.pb").read_bytes()
    (folder / "cpu_util.pb").write_bytes(data[:-1])
    with pytest.raises(InputError, match=r"cpu_util\.pb: a record of"):
        inspect.read(folder)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not an inspect folder"):
        inspect.read(tmp_path)


def test_real_events_are_all_paired(real: Profile) -> None:
    rows = real.table("SystemProfileEvents")
    assert 2 * rows.filter(pl.col("name") != "timestamp_sync_point").height + 2 == 1676
    assert rows["end_ts"].null_count() == 0
    assert not any("partner" in note for note in real.notes)
    assert rows["name"].str.starts_with("event_").sum() == 0


def test_real_device_executions(real: Profile) -> None:
    rows = real.table("SystemProfileEvents").filter(name="nc_exec_running").sort("pcore_idx")
    assert rows.select("pcore_idx", "duration_ns").rows() == [(4, 982_590), (5, 14_763)]
    execute = real.table("SystemProfileEvents").filter(name="nrt_execute").row(0, named=True)
    assert execute["start_ts"] < rows["start_ts"].min() < rows["end_ts"].max() < execute["end_ts"]


def test_real_cpu_and_memory_series(real: Profile) -> None:
    cpu, memory = real.table("CpuUsage"), real.table("HostMemUsage")
    assert (cpu.height, cpu["cpu_id"].n_unique(), memory.height) == (7200, 12, 600)
    assert 0 <= cpu["util_percent"].min() < cpu["util_percent"].max() <= 100  # type: ignore[operator]
    assert memory["used_percent"].is_between(0, 100).all()
    assert real.facts["instance_type"] == "trn2.3xlarge"
