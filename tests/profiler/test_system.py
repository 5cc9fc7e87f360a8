"""`system`: executions as unions over cores, gaps between them, the host beside them."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from nkilab.profiler import Origin, Profile
from nkilab.profiler.errors import NotInProfileError
from nkilab.profiler.readers import read

ZERO = 1_773_237_645_742_008_195  # unix ns: beyond what float64 holds exactly


def event(name: str, start: int, end: int, core: int | None = None, execution: int = 1) -> dict[str, object]:
    """One event, times after ZERO."""
    source = "device" if core is not None else "runtime"
    extra = json.dumps({"exec_id": str(execution)})
    times = {"start_ts": ZERO + start, "end_ts": ZERO + end, "duration_ns": end - start}
    return {
        "name": name,
        **times,
        "trace_event_source": source,
        "nc_idx": 0,
        "worker_gid": 0,
        "pcore_idx": core,
        "extra_attributes_json": extra,
    }


def test_executions_gaps_and_host() -> None:
    events = [
        event("nrt_execute", 0, 1000), event("nrt_execute", 1500, 3000), event("nrt_load", 0, 100),
        event("nc_exec_running", 200, 700, core=4), event("nc_exec_running", 190, 300, core=5),
        event("nc_exec_running", 2000, 2600, core=4, execution=2),
    ]  # fmt: skip
    cpu = pl.DataFrame(
        {"timestamp": [ZERO + 250, ZERO + 250, ZERO + 5000], "util_percent": [20.0, 40.0, 90.0], "cpu_id": [0, 1, 0]}
    )
    p = Profile.build({"SystemProfileEvents": pl.DataFrame(events), "CpuUsage": cpu}, Origin("inspect"))
    found = p.system()
    columns = ("exec_id", "at_ns", "device_ns", "cores", "gap_ns", "cpu")
    assert found.table().select(columns).rows() == [
        ("1", 190, 510, 2, None, pytest.approx(0.3)),
        ("2", 2000, 600, 1, 1300, None),
    ]
    assert found.calls.row(0) == ("nrt_execute", 2, 2500, 1500)
    assert found.host["cpu_highest"].item() == pytest.approx(0.9)
    assert found.host["memory_bytes"].item() is None
    assert "2 executions" in str(found)


def test_without_events_it_says_what_to_open() -> None:
    with pytest.raises(NotInProfileError, match="host or runtime"):
        Profile.build({}, Origin("folder")).system()


def test_a_real_inspect_folder(shared_profiles: Path) -> None:
    found = read(shared_profiles / "trn2-inspect").system()
    (execution,) = found.table().to_dicts()
    assert execution["cores"] == 2
    assert 982_590 <= execution["device_ns"] <= 982_590 + 14_763, "the union of both cores"
    assert found.calls["name"][0] == "nrt_load"
    assert json.dumps(found.to_json())
