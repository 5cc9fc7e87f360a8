"""The timeline's JSON says what the profile says, and says what the profile lacks."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from nkilab.profiler import Origin, Profile
from nkilab.profiler.views import theme
from nkilab.profiler.views.timeline import pack, timeline
from tests.profiler.views import synthetic
from tests.profiler.views.test_encode import read_integers

MEASURED = Origin("ntff", "run.ntff")


def words(field: dict[str, object]) -> list[str | None]:
    return [None if code < 0 else field["words"][code] for code in read_integers(field["codes"])]  # type: ignore[index,arg-type]


def only(**columns: object) -> Profile:
    """A measured profile of instructions with these columns."""
    return Profile.build({"Instruction": pl.DataFrame(columns)}, MEASURED)


def test_the_keys_are_the_documented_ones(repository: Path) -> None:
    data = timeline(synthetic.profile(80), "title")
    documented = (repository / "docs" / "timeline-json.md").read_text(encoding="utf-8")
    assert list(data) == [
        "schema",
        "title",
        "modelled",
        "time",
        "classes",
        "tracks",
        "spans",
        "details",
        "flows",
        "lines",
        "sources",
        "notes",
    ]
    assert all(f"| `{key}` |" in documented for key in data)
    assert data["schema"] == "nkilab.timeline/1"


def test_spans_hold_every_instruction_with_its_time_name_and_line() -> None:
    profile = synthetic.profile(80, jitter=True)
    data = timeline(profile)
    executed = profile.table("Instruction")
    tracks = {track["name"]: track for track in data["tracks"] if track["group"] == "Core 0"}
    start, duration, lines = (read_integers(data["spans"][name]) for name in ("start", "duration", "line"))
    names = words(data["spans"]["name"])
    numbers = read_integers(data["lines"]["line"])
    for engine in ("Tensor", "Vector", "Scalar", "GpSimd", "Sync"):
        rows = executed.filter(pl.col("engine") == engine).sort("start_ts")
        here = slice(tracks[engine]["first"], tracks[engine]["first"] + tracks[engine]["count"])
        assert [t / 1e3 for t in start[here]] == pytest.approx(rows["start_ts"].to_list())
        assert [t / 1e3 for t in duration[here]] == pytest.approx(rows["duration_ns"].to_list())
        assert names[here] == rows["opcode"].to_list()
        assert [numbers[line] for line in lines[here]] == rows["line"].to_list()


def test_spans_that_touch_do_not_overlap_by_rounding() -> None:
    third = 1000.0 / 3
    data = timeline(
        only(start_ts=[0.0, third, 2 * third], end_ts=[third, 2 * third, 1000.0], engine="Tensor", opcode="MATMUL")
    )
    start, duration = read_integers(data["spans"]["start"]), read_integers(data["spans"]["duration"])
    assert [a + d for a, d in zip(start, duration, strict=True)][:-1] == start[1:]


def test_dma_transfers_carry_the_line_that_issued_them() -> None:
    data = timeline(synthetic.profile(80))
    queue = next(track for track in data["tracks"] if track["name"] == "qGpSimdOut")
    lines, numbers = read_integers(data["spans"]["line"]), read_integers(data["lines"]["line"])
    assert queue["group"] == "DMA queues, core 0"
    assert {numbers[lines[row]] for row in range(queue["first"], queue["first"] + queue["count"])} == {24}


def test_dependences_point_from_the_producer_to_the_one_that_waits() -> None:
    profile = only(
        start_ts=[0.0, 10.0], end_ts=[5.0, 15.0], engine=["Vector", "Tensor"], opcode=["COPY", "MATMUL"], id=[11, 22]
    )
    flow = pl.DataFrame(
        {
            "in_id": [11, 99],
            "out_id": [22, 22],
            "in_table": "instruction",
            "out_table": "instruction",
            "dependency_type": "FLOW_DEPENDENCE",
        }
    )
    data = timeline(profile.with_tables({"Flow": flow}))
    names = words(data["spans"]["name"])
    (to,), (offset,) = read_integers(data["flows"]["to"]), read_integers(data["flows"]["offset"])
    assert (names[to + offset], names[to]) == ("COPY", "MATMUL")
    assert data["flows"]["count"] == 1, "a dependence on a row that is not here is left out"


def test_waits_and_weight_loads_have_classes_of_their_own() -> None:
    data = timeline(
        only(
            start_ts=[0.0, 1.0, 2.0],
            end_ts=[1.0, 2.0, 3.0],
            engine="Tensor",
            opcode=["EVENT_SEMAPHORE", "LDWEIGHTS", "MATMUL"],
        )
    )
    assert [theme.SHADES[k].name for k in read_integers(data["spans"]["class"])] == [
        "Waiting",
        "Tensor: weights and transposes",
        "Tensor",
    ]


def test_stacks_and_loop_values_are_written_innermost_first() -> None:
    profile = only(
        start_ts=[0.0], end_ts=[1.0], engine="Tensor", opcode="MATMUL", stack_frame_id=[2], iteration_variable_id=[8]
    )
    frames = pl.DataFrame(
        {
            "stack_frame_id": [1, 2],
            "fully_qualified_function_name": ["main", "tile"],
            "parent_stack_frame_id": [None, 1],
            "file_path": "k.py",
            "line_number": [9, 3],
        }
    )
    loops = pl.DataFrame(
        {
            "iteration_variable_id": [7, 8],
            "variable_name": ["m", "n"],
            "variable_value": [4, 5],
            "parent_iteration_variable_id": [None, 7],
        }
    )
    data = timeline(profile.with_tables({"KernelStackFrames": frames, "KernelIterationVariables": loops}))
    details = {detail["name"]: words(detail["values"]) for detail in data["details"]}
    assert details == {"stack": ["tile k.py:3 ← main k.py:9"], "iteration": ["n=5, m=4"]}


def test_times_per_line_are_those_of_the_analysis() -> None:
    from nkilab.profiler.analyses.lines import lines

    profile = synthetic.profile(80)
    data = timeline(profile)
    rows = {row["line"]: row for row in lines(profile).rows.iter_rows(named=True)}
    tensor = next(part for part in data["lines"]["times"] if part["class"] == theme.index("Tensor"))
    import base64

    import numpy as np

    ns = np.frombuffer(base64.b64decode(tensor["ns"]["floats"]), "<f4")
    assert dict(zip(read_integers(data["lines"]["line"]), ns.tolist(), strict=True)) == pytest.approx(
        {line: rows[line]["tensor_ns"] for line in rows}
    )


def test_what_is_missing_is_said_and_not_drawn_as_nothing() -> None:
    data = timeline(only(start_ts=[0.0], end_ts=[1.0], engine="Tensor", opcode="MATMUL"))
    said = " ".join(data["notes"])
    assert "No source lines" in said
    assert "No dependences" in said
    assert "No DMA transfers" in said
    assert [track["name"] for track in data["tracks"]] == ["Tensor"]


def test_a_whole_profile_has_no_notes() -> None:
    assert timeline(synthetic.profile(80))["notes"] == []


def test_too_many_packets_are_left_out_and_said() -> None:
    packets = pl.DataFrame({"start_ts": [0.0, 1.0], "end_ts": [1.0, 2.0], "engine_idx": [64, 65], "queue_name": "q"})
    profile = synthetic.profile(80).with_tables({"DmaPacket": packets})
    assert any(track["group"].startswith("DMA engines") for track in timeline(profile)["tracks"])
    fewer = timeline(profile, most_packets=1)
    assert not any(track["group"].startswith("DMA engines") for track in fewer["tracks"])
    assert any("2 DMA packets are more" in note for note in fewer["notes"])


def test_a_host_profile_is_drawn_from_its_first_event() -> None:
    unix = 1_700_000_000_000_000_000
    tables = {
        "SystemProfileEvents": pl.DataFrame(
            {
                "name": ["nrt_load", "nrt_execute"],
                "start_ts": [unix, unix + 500],
                "end_ts": [unix + 400, unix + 900],
                "trace_event_source": "nrt",
                "thread_id": 7,
            }
        ),
        "CpuUsage": pl.DataFrame(
            {"timestamp": [unix + 100, unix + 100], "util_percent": [10.0, 30.0], "cpu_id": [0, 1]}
        ),
    }
    data = timeline(Profile.build(tables, Origin("inspect")))
    assert [t / 1e3 for t in read_integers(data["spans"]["start"])] == [0, 500]
    assert {track["name"] for track in data["tracks"]} == {"nrt 7", "CPU"}


def test_an_empty_profile_gives_an_empty_timeline() -> None:
    data = timeline(Profile.build({}, MEASURED))
    assert data["tracks"] == []
    assert data["spans"]["count"] == 0


def test_packing_is_the_json_and_the_same_each_time() -> None:
    data = timeline(synthetic.profile(80))
    assert json.loads(gzip.decompress(pack(data))) == json.loads(json.dumps(data))
    assert pack(data) == pack(data)


def test_a_real_profile_is_drawn_whole(shared_profiles: Path) -> None:
    from nkilab.profiler.readers import read

    profile = read(shared_profiles / "trn2-attention" / "fused_bf16_s512" / "profile.json")
    data = timeline(profile)
    drawn = {
        group: sum(t["count"] for t in data["tracks"] if t["kind"] == "spans" and t["group"].startswith(group))
        for group in ("Core", "DMA engines")
    }
    duplicates = profile.table("DmaPacket")["duplicate"].sum()
    assert drawn["Core"] == profile.table("Instruction").height + profile.table("Throttle").height
    assert drawn["DMA engines"] == profile.table("DmaPacket").height - duplicates
    assert data["time"]["end"] == pytest.approx(36351, abs=1)
