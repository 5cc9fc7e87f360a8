"""The Perfetto export: tracks, spans, source arguments, counters and arrows in the trace-event format."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from nkilab.errors import UsageError
from nkilab.profiler import Origin, Profile
from nkilab.profiler.readers import read
from nkilab.profiler.views.perfetto import events, to_perfetto
from tests.profiler.rings import ring
from tests.profiler.views import synthetic
from tests.profiler.views.test_report import hostile_profile


def test_every_instruction_and_transfer_is_a_span_with_its_line() -> None:
    profile = synthetic.profile(80)
    found = [e for e in events(profile) if e["ph"] == "X" and e["name"] == "ACTIVATE"]
    want = profile.table("Instruction").filter(pl.col("opcode") == "ACTIVATE")
    assert [e["ts"] for e in found] == pytest.approx((want["start_ts"] / 1e3).to_list())
    assert [e["dur"] for e in found] == pytest.approx((want["duration_ns"] / 1e3).to_list())
    assert found[0]["args"]["file"] == synthetic.FILE
    assert found[0]["args"]["line"] == 22
    assert len([e for e in events(profile) if e["ph"] == "X"]) == sum(
        profile.table(t).height for t in ("Instruction", "DmaPacketAggregated", "Throttle")
    )


def test_spans_of_one_thread_never_overlap() -> None:
    last: dict[int, float] = {}
    spans = sorted((e for e in events(synthetic.profile(400, jitter=True)) if e["ph"] == "X"), key=lambda e: e["ts"])
    for span in spans:
        assert span["ts"] >= last.get(span["tid"], 0.0) - 1e-9
        last[span["tid"]] = span["ts"] + span["dur"]
    assert len(last) > 8


def test_tracks_have_names() -> None:
    named = list(events(synthetic.profile(80)))
    threads = {e["args"]["name"] for e in named if e["name"] == "thread_name"}
    assert {"Tensor", "Vector", "qSyncIo", "qSyncIo (2)", "Tensor clock"} <= threads
    assert {"Core 0", "DMA queues, core 0", "Memory"} <= {
        e["args"]["name"] for e in named if e["name"] == "process_name"
    }


def test_each_dependence_is_an_arrow_from_producer_to_consumer() -> None:
    rows = pl.DataFrame(
        {
            "start_ts": [0.0, 10.0],
            "end_ts": [5.0, 15.0],
            "engine": ["Vector", "Tensor"],
            "opcode": ["COPY", "MATMUL"],
            "id": [1, 2],
        }
    )
    flow = pl.DataFrame(
        {
            "in_id": [1],
            "out_id": [2],
            "in_table": "Instruction",
            "out_table": "Instruction",
            "dependency_type": "FLOW_DEPENDENCE",
        }
    )
    found = list(events(Profile.build({"Instruction": rows, "Flow": flow}, Origin("ntff"))))
    tid = {e["name"]: e["tid"] for e in found if e["ph"] == "X"}
    (start,) = [e for e in found if e["ph"] == "s"]
    (end,) = [e for e in found if e["ph"] == "f"]
    assert (start["tid"], end["tid"]) == (tid["COPY"], tid["MATMUL"])
    assert start["id"] == end["id"]


def test_the_file_is_json_compressed_when_named_so_and_never_replaced_silently(tmp_path: Path) -> None:
    profile = synthetic.profile(80)
    plain = to_perfetto(profile, tmp_path / "new" / "t.json")
    packed = to_perfetto(profile, tmp_path / "t.json.gz")
    assert json.loads(plain.read_bytes()) == json.loads(gzip.decompress(packed.read_bytes()))
    with pytest.raises(UsageError, match="exists"):
        to_perfetto(profile, plain)
    to_perfetto(profile, plain, force=True)


def test_an_empty_profile_gives_an_empty_trace() -> None:
    assert list(events(Profile.build({}, Origin("summary")))) == []


# Phase: the keys that the Trace Event Format asks for, beside ph, name and pid.
REQUIRED = {
    "X": {"ts", "dur", "tid", "cat"},
    "C": {"ts", "args"},
    "M": {"args"},
    "s": {"ts", "tid", "id", "cat"},
    "f": {"ts", "tid", "id", "cat", "bp"},
}
METADATA = {"process_name", "process_sort_index", "thread_name", "thread_sort_index"}


@pytest.mark.parametrize(
    "profile", [synthetic.profile(400), hostile_profile(), ring(4, {1: 1.5}).merged()], ids=["run", "hostile", "ranks"]
)
def test_every_event_has_what_the_trace_event_format_asks_for(profile: Profile) -> None:
    found = list(events(profile))
    spans, open_arrows = {}, set()
    for event in found:
        assert event.keys() >= {"ph", "name", "pid"} | REQUIRED[event["ph"]], event
        assert all(isinstance(event[key], int) for key in ("pid", "tid", "id") if key in event)
        assert all(isinstance(event[key], float) and event[key] >= 0 for key in ("ts", "dur") if key in event)
        if event["ph"] == "M":
            assert event["name"] in METADATA
        if event["ph"] == "X":
            spans[event["pid"], event["tid"], event["ts"]] = event
        if event["ph"] == "C":
            assert all(isinstance(value, float) for value in event["args"].values())
    for event in found:
        if event["ph"] in "sf":
            assert (event["pid"], event["tid"], event["ts"]) in spans, "an arrow ends in a span"
            open_arrows ^= {event["id"]}
    assert not open_arrows, "every arrow has a start and a finish"
    assert json.dumps(found, allow_nan=False)


def test_a_real_trace_is_in_order_on_every_track_and_every_arrow_goes_forward(shared_profiles: Path) -> None:
    found = list(events(read(shared_profiles / "trn2-nki-source" / "moe_tkg")))
    reached: dict[tuple[int, int], float] = {}
    for span in (event for event in found if event["ph"] == "X"):
        track = (span["pid"], span["tid"])
        assert span["dur"] >= 0
        assert span["ts"] >= reached.get(track, 0.0) - 1e-9, "spans of a track follow each other"
        reached[track] = span["ts"] + span["dur"]
    begun = {event["id"]: event["ts"] for event in found if event["ph"] == "s"}
    ended = {event["id"]: event["ts"] for event in found if event["ph"] == "f"}
    assert begun.keys() == ended.keys()
    assert len(begun) > 10_000
    assert all(ended[number] >= at for number, at in begun.items()), (
        "Perfetto drops an arrow that ends before it begins"
    )
