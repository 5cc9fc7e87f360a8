"""`nkilab calibrate`: from the instructions of a device profile to a table that `--hardware` takes."""

from __future__ import annotations

import json

import polars as pl
import pytest

from nkilab.command import main
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


def test_a_simulation_is_not_a_measurement(tmp_path, capsys) -> None:
    table = pl.DataFrame(list(rows("Vector", "TENSOR_REDUCE", REDUCE, 685.0, 592.0)))
    folder = Profile.build({"Instruction": table}, Origin("simulated")).save(tmp_path / "run")
    status, document = run(capsys, "calibrate", str(folder), "-o", str(tmp_path / "my.toml"))
    assert status == 2
    assert "is a simulation" in document["error"]["what"]
    assert not (tmp_path / "my.toml").exists()
