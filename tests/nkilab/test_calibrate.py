"""`nkilab calibrate`: from the instructions of a device profile to a table that `--hardware` takes."""

from __future__ import annotations

import json
from itertools import pairwise

import polars as pl
import pytest

from nkilab.command import main
from nkilab.command.calibrate_points import measured
from nkilab.command.calibrate_readings import Readings, readings_of
from nkilab.hardware import load
from nkilab.profiler import Origin, Profile

REDUCE = "op=MAX dim=X src=fp32@0x4820[1,1,1,1][512,1,1,1] dst=fp32@0x6820[1,1,1,1][1,1,1,1] channels=128"
EXP = "EXP bias_ptr=fp32@0x4810 src=fp32@0x2002000[1,1,1][512,1,1] dst=fp32@0x4820[1,1,1][512,1,1] channels=128"
ODD = "src=fp32@0x100[1][512] dst=fp32@0x900[1][512]"


def rows(engine: str, opcode: str, operands: str, length: float, interval: float, function: str | None = None):
    """Ten instructions of one kind, one after the other."""
    for index in range(10):
        start = 1000.0 + index * interval
        yield {
            "start_ts": start,
            "end_ts": start + length,
            "duration_ns": length,
            "engine": engine,
            "pcore_idx": 0,
            "id": index,
            "opcode": opcode,
            "operands": operands,
            "scalar_activation_fn": function,
        }


@pytest.fixture
def profile(tmp_path):
    """A device profile on which VectorE reduces at half the rate of the table."""
    kinds = (
        ("Vector", "TENSOR_REDUCE", REDUCE, 1219.0, 1125.0),
        ("Scalar", "ACTIVATE", EXP, 687.0, 570.0, "EXP"),
        ("Vector", "MYSTERY", ODD, 100.0, 90.0),
    )
    table = pl.DataFrame([row for kind in kinds for row in rows(*kind)])
    return Profile.build({"Instruction": table}, Origin("device-json")).save(tmp_path / "profile")


def run(capsys, *arguments: str):
    status = main([*arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_it_fits_what_was_measured_and_says_what_was_not(profile, tmp_path, capsys) -> None:
    status, document = run(capsys, "calibrate", str(profile), "-o", str(tmp_path / "my.toml"))
    assert (status, document["schema"]) == (0, "nkilab.calibrate/1")
    data = document["data"]
    fitted = {number["key"]: number for number in data["fitted"]}
    assert fitted["vector.cycles.reduce"]["after"] == pytest.approx(2.0, rel=0.1)
    assert "vector.cycles.scan" in data["unfitted"]
    assert data["unused_opcodes"] == {"MYSTERY": 10}
    assert data["error_after"] < 0.02 < data["error_before"]
    assert set(data) == {
        "hardware", "target", "points", "error_before", "error_after", "fitted", "unfitted", "unused_opcodes",
    }  # fmt: skip


def test_the_table_it_writes_is_one_that_sim_takes(profile, tmp_path, capsys, repository) -> None:
    file = tmp_path / "my.toml"
    assert main(["calibrate", str(profile), "-o", str(file)]) == 0
    assert load(str(file)).source("vector.cycles.reduce").cls == "calibrated"
    capsys.readouterr()
    kernel = f"{repository}/kernels/rmsnorm.py:rmsnorm"
    small = ("--axis", "n=128", "--axis", "d=512", "--out", str(tmp_path / "out"))
    status, document = run(capsys, "sim", kernel, *small, "--hardware", str(file), "--ladder")
    assert status == 0
    steps = document["data"]["ladder"]["steps"]
    assert {step["free"] for step in steps} == {"DMA", "overhead", "TensorE", "VectorE", "ScalarE", "GpSimdE"}
    assert [step["saved_ns"] for step in steps] == sorted((step["saved_ns"] for step in steps), reverse=True)


def launch(issue: float = 700.0) -> Profile:
    """Ten DMAs on Sync, each followed after 1.5 us by two packets of 1 KiB and read by VectorE, which ScalarE follows."""
    instructions, packets, flows = [], [], []

    def row(engine: str, opcode: str, start: float, length: float) -> int:
        place = {"start_ts": start, "end_ts": start + length, "duration_ns": length, "engine": engine, "pcore_idx": 0}
        instructions.append({**place, "id": len(instructions), "opcode": opcode, "operands": ""})
        return len(instructions) - 1

    for index in range(10):
        start = 12000.0 + 10000.0 * index
        row("Sync", "DMA_DIRECT2D", start, issue)
        for part in range(2):
            first = start + 1500.0 + 56.0 * part
            packet = {"start_ts": first, "end_ts": first + 60.0, "duration_ns": 60.0, "transfer_bytes": 1024}
            packets.append({**packet, "pcore_idx": 0, "engine_idx": 64, "queue_name": "Q2-E64"})
        ids = [row("Vector", "A", start + 3000.0, 100.0), row("Vector", "B", start + 3150.0, 100.0)]
        ids.append(row("Scalar", "C", start + 3300.0, 100.0))
        flows += [{"in_id": a, "out_id": b} for a, b in pairwise(ids)]
    tables = {
        "Instruction": pl.DataFrame(instructions),
        "DmaPacket": pl.DataFrame(packets).with_columns(
            queue_type=pl.lit("hardware_dynamic"), duplicate=pl.lit(value=False)
        ),
        "Flow": pl.DataFrame(flows).with_columns(in_table=pl.lit("Instruction"), out_table=pl.lit("Instruction")),
        "Summary": pl.DataFrame({"metric": ["total_time"], "value": [110e-6]}),
    }
    return Profile.build(tables, Origin("device-json"))


def test_dma_handover_and_launch_numbers_are_read_off(tmp_path, capsys) -> None:
    file = tmp_path / "my.toml"
    status, document = run(capsys, "calibrate", str(launch().save(tmp_path / "profile")), "-o", str(file))
    assert status == 0
    assert {number["key"] for number in document["data"]["fitted"]} == {
        "dma.sync_issue_ns", "dma.hardware_latency_ns", "dma.element_overlap_ns", "dma.element_bytes", "dma.element_ns",
        "handover.same_engine_ns", "handover.wait_ns", "launch.prologue_ns", "launch.tail_ns",
    }  # fmt: skip
    table = load(str(file))
    assert (table.dma.sync_issue_ns, table.dma.hardware_latency_ns, table.dma.element_overlap_ns) == (
        700.0,
        1500.0,
        4.0,
    )
    assert dict(zip(table.dma.element_bytes, table.dma.element_ns, strict=True))[1024] == 60.0
    assert table.handover.same_engine_ns == 50.0
    assert table.handover.signal_ns + table.handover.wait_ns == 50.0
    assert table.launch.prologue_ns == 12000.0
    assert table.launch.tail_ns == pytest.approx(110e3 - 103616.0)
    assert table.source("dma.sync_issue_ns").cls == "calibrated"


def test_few_observations_change_nothing() -> None:
    changes, read = Readings({"dma.sync_issue_ns": [900.0] * 7}, {512: [1.0] * 7}).changes(load("trn2"))
    assert (changes, read) == ({}, ())


@pytest.mark.slow
def test_real_profiles_give_the_numbers_of_the_table(shared_profiles) -> None:
    """trn2's table, found again from the launches behind it: each number within a tenth."""
    paths = sorted((shared_profiles / "trn2-attention").glob("*/profile.json"))
    _, read = readings_of([measured(path) for path in paths]).changes(load("trn2"))
    found = {number.key: number.after / number.before for number in read if isinstance(number.before, float)}
    assert len(found) >= 10
    assert {key: round(ratio, 2) for key, ratio in found.items() if not 0.88 < ratio < 1.12} == {
        "dma.software_row_ns": 0.77
    }


def test_a_simulation_is_not_a_measurement(tmp_path, capsys) -> None:
    table = pl.DataFrame(list(rows("Vector", "TENSOR_REDUCE", REDUCE, 685.0, 592.0)))
    folder = Profile.build({"Instruction": table}, Origin("simulated")).save(tmp_path / "run")
    status, document = run(capsys, "calibrate", str(folder), "-o", str(tmp_path / "my.toml"))
    assert status == 2
    assert "is a simulation" in document["error"]["what"]
    assert not (tmp_path / "my.toml").exists()
