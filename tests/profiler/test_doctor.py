"""Each check of `doctor` fires on a profile with its fault, at its level, and is silent on the twin without it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from nkilab.profiler import Origin, Profile, sample
from nkilab.profiler.readers import read
from tests.profiler import makers

Tables = dict[str, list[makers.Row] | None]


def checks(p: Profile) -> dict[str, str]:
    """Checks that found something, with their level."""
    return dict(p.doctor().table().select("check", "level").iter_rows())


def fix(p: Profile, check: str) -> str:
    """What a check says to do."""
    return str(p.doctor().table().filter(check=check)["fix"][0])


def json_profile(tmp_path: Path, **tables: list[makers.Row] | None) -> Profile:
    return read(makers.write(tmp_path / "p.json", makers.device_json(**tables)))


def noted(*notes: str, kind: str = "ntff", **tables: pl.DataFrame) -> Profile:
    """A profile whose reader noted something."""
    return Profile.build({"Warning": pl.DataFrame({"message": ["m"]}), **tables}, Origin(kind), notes)


def test_a_sound_profile_has_nothing_missing_but_what_it_lacks(tmp_path: Path) -> None:
    found = checks(json_profile(tmp_path))
    notes = {"source text": "note", "producer": "note", "reader": "note"}
    assert found == {"DGE notifications": "missing", **notes}


MATMUL = makers.instruction(0, 9, "Tensor", "MATMUL")
COUNTED = makers.instruction(0, 9, "Tensor", "MATMUL", elements=1000)
LINE = {"nki_source_location": "/home/me/kernel.py:12"}
PACKET = makers.packet(0, 9, "input", 4)
LONG = {"last_hw_timestamp": 1000}
ZERO = {"mfu_estimated_percent": 0.0, "total_time": 1e-6, "tensor_engine_active_time_percent": 0.2}
LATE = {"predecessors": [{"id": 10**18 + 500, "type": "FLOW_DEPENDENCE"}]}

# Check: tables with the fault, tables of the twin, level.
CASES: dict[str, tuple[str, Tables, Tables, str]] = {
    "lost": ("dropped records", {"warnings": [{"category": "x", "message": "Notification from block NC of type INSTRUCTION were dropped"}]}, {}, "wrong"),
    "no line": ("source lines", {"instruction": [MATMUL]}, {"instruction": [MATMUL | LINE]}, "missing"),
    "some lines": ("source lines", {"instruction": [MATMUL, makers.instruction(20, 29, "Tensor", "MATMUL", **LINE)]}, {"instruction": [MATMUL | LINE]}, "note"),
    "no FLOPs": ("FLOPs", {"instruction": [MATMUL]}, {"instruction": [COUNTED]}, "missing"),
    "FLOPs all 0": ("FLOPs", {"instruction": [makers.instruction(0, 9, "Tensor", "MATMUL", elements=0)]}, {"instruction": [COUNTED]}, "missing"),
    "MFU of 0": ("FLOPs", {"summary": [ZERO]}, {"summary": [ZERO | {"mfu_estimated_percent": 0.1}]}, "missing"),
    "MFU of 0, idle": ("FLOPs", {"summary": [ZERO]}, {"summary": [ZERO | {"tensor_engine_active_time_percent": 0.0}]}, "missing"),
    "no instructions": ("no instructions", {"instruction": None}, {}, "wrong"),
    "marked twice": ("duplicate packets", {"dma": [PACKET | {"duplicate": "yes"}]}, {"dma": [PACKET]}, "suspect"),
    "equal twice": ("duplicate packets", {"dma": [PACKET, PACKET]}, {"dma": [PACKET, PACKET | {"crc": 8}]}, "suspect"),
    "beyond the end": ("clocks", {"instruction": [makers.instruction(0, 5000, "Tensor", "MATMUL")]}, {}, "suspect"),
    "backwards": ("clocks", {"instruction": [makers.instruction(90, 40, "Tensor", "MATMUL")]}, {}, "wrong"),
    "effect before cause": ("clocks", {"instruction": [makers.instruction(0, 9, "Vector", "COPY", **LATE), makers.instruction(500, 600, "Tensor", "MATMUL")]}, {"instruction": [makers.instruction(0, 550, "Vector", "COPY", **LATE), makers.instruction(500, 600, "Tensor", "MATMUL")]}, "suspect"),
    "unknown opcode": ("unknown opcodes", {"instruction": [makers.instruction(0, 9, "Tensor", "OPCODE_0x41")]}, {}, "note"),
    "newer NTFF": ("version", {"metadata": [LONG | {"ntff_version": 9}]}, {"metadata": [LONG | {"ntff_version": 6}]}, "suspect"),
    "newer schema": ("version", {"metadata": [LONG | {"profile_schema_version": "13.0.0"}]}, {"metadata": [LONG | {"profile_schema_version": "12.0.1"}]}, "suspect"),
    "newer trace": ("version", {"metadata": [LONG | {"trace_format": "4"}]}, {"metadata": [LONG | {"trace_format": "3"}]}, "suspect"),
    "first": ("first execution", {"metadata": [LONG | {"execution_index": 1}]}, {"metadata": [LONG | {"execution_index": 2}]}, "suspect"),
    "first by name": ("first execution", {"profile_info": [{"ntff_filename": "/a/b_exec_1.ntff"}]}, {"profile_info": [{"ntff_filename": "/a/b_exec_12.ntff"}]}, "suspect"),
    "stale counter": ("wait counters", {"instruction": [MATMUL, makers.instruction(20, 29, "Tensor", "B", evt_wait_time=29860)]}, {"instruction": [MATMUL, makers.instruction(20, 29, "Tensor", "B", evt_wait_time=10)]}, "note"),
    "DGE off": ("DGE notifications", {}, {"dma": [makers.packet(0, 9, "hardware_dynamic", 4) | {"variable": "w"}]}, "missing"),
    "sources away": ("source text", {"instruction": [MATMUL | LINE]}, {"instruction": [MATMUL]}, "note"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_check_fires_on_its_fault_and_not_on_the_twin(case: str, tmp_path: Path) -> None:
    check, fault, twin, level = CASES[case]
    assert checks(json_profile(tmp_path, **fault)).get(check) == level
    assert checks(json_profile(tmp_path, **twin)).get(check) != level


NOTES = {
    "wrong NEFF": ("wrong", "3 instructions differ from the NEFF's program: it may be the NEFF of another compilation"),
    "damaged NEFF": ("suspect", "the NEFF does not have the checksum that its header states: it may be damaged"),
    "no NEFF": ("missing", "no NEFF with uuid 01 beside the NTFF"),
    "clocks": ("suspect", "version 4 has one clock per engine: times of different engines agree to about 0.5 us"),
}


@pytest.mark.parametrize("check", NOTES)
def test_what_a_reader_noted_gets_its_level(check: str) -> None:
    level, note = NOTES[check]
    assert checks(noted(note))[check] == level
    assert check not in checks(noted("another note"))


def test_readers_say_these_notes(tmp_path: Path) -> None:
    """The words by which the checks above know a note are those that the NTFF reader writes."""
    path = sample.write(tmp_path, version=4)
    assert checks(read(path))["clocks"] == "suspect"
    neff = tmp_path / "softmax_matmul.neff"
    neff.write_bytes(neff.read_bytes() + b"\0")
    data = bytearray(neff.read_bytes())
    data[172] ^= 1  # the checksum in the header
    neff.write_bytes(bytes(data))
    assert checks(read(path))["damaged NEFF"] == "suspect"
    neff.unlink()
    found = checks(read(path))
    assert found["no NEFF"] == "missing"
    assert "source lines" not in found, "there are none because there is no NEFF: said once"


def test_lost_records_of_an_ntff_are_told_from_the_ends_of_a_trace() -> None:
    tail = "DMA records have no partner (cut off at the ends of the trace, or dropped) and are left out"
    assert checks(noted(f"90 instruction and 0 {tail}"))["dropped records"] == "wrong"
    assert "dropped records" not in checks(noted(f"1 instruction and 1 {tail}"))


def test_source_lines_name_the_variables_of_old_and_new_compilers(tmp_path: Path) -> None:
    said = fix(json_profile(tmp_path, instruction=[MATMUL]), "source lines")
    assert "NKI_DEBUG_INFO=True" in said
    assert "NEURON_FRAMEWORK_DEBUG=1" in said
    assert "compile again" in said


def test_paths_of_the_build_host_are_remapped_by_a_source_root(tmp_path: Path) -> None:
    before = json_profile(tmp_path, instruction=[MATMUL | LINE])
    assert "--source-root" in fix(before, "source text")
    assert "/home/me/kernel.py" in str(before.doctor())
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "kernel.py").write_text("kernel\n")
    assert "source text" not in checks(read(tmp_path / "p.json", source_root=tmp_path / "here"))


def test_an_empty_profile_is_wrong() -> None:
    assert checks(Profile.build({}, Origin("parquet")))["empty"] == "wrong"


def test_the_worst_stands_first_and_says_what_to_do(tmp_path: Path) -> None:
    found = json_profile(tmp_path, **CASES["lost"][1]).doctor()
    assert found.table()["level"][0] == "wrong"
    assert found.table()["fix"][0]
    assert found.wrong
    assert not found.healthy


def test_a_simulation_says_that_it_is_one() -> None:
    shares = pl.DataFrame({"cost_class": ["calibrated", "guessed"], "share": [0.9, 0.1]})
    rows = noted(kind="simulated", CostClass=shares).doctor().table()
    assert "90% calibrated, 10% guessed" in rows.filter(check="modelled")["what"].item()
