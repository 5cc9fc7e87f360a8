"""Preflight against stand-ins: four cores on two devices, some of them slow, dead or wrong."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from nkilab.bench import vendor
from nkilab.bench.preflight import Check, Limits, judged, list_cores
from nkilab.bench.probe_cases import BATTERY
from nkilab.command import main
from nkilab.errors import InputError, UsageError
from nkilab.profiler import sample

from .conftest import Vendor

SMALL = {"matmul": {"m": 128, "k": 128, "n": 512}, "dma": {"n": 128, "d": 128}, "vector": {"d": 128}}


@pytest.fixture
def instance(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> Vendor:
    """A trn2 whose captures are samples written by nkilab: a fast one, and one that takes twice as long."""
    run = sample.demo()
    slow = dataclasses.replace(run, total=2 * run.total)
    paths = [vendor.folder / "fast_exec_2.ntff", vendor.folder / "slow_exec_2.ntff"]
    for path, of in zip(paths, (run, slow), strict=True):
        path.write_bytes(sample.ntff(of))
    neff = vendor.folder / "sample.neff"
    neff.write_bytes(sample.neff(run))
    monkeypatch.setattr("nkilab.bench.preflight.BATTERY", {"dma": BATTERY["dma"].bind(**SMALL["dma"])})
    monkeypatch.setenv("STANDIN_NTFF", ",".join(map(str, paths)))
    monkeypatch.setenv("STANDIN_NEFF", str(neff))
    return vendor


def checked(vendor: Vendor, capsys: pytest.CaptureFixture[str], *words: str, status: int) -> list[dict[str, Any]]:
    command = ["preflight", "--runner-python", vendor.python, "--over", "1000", "--json", *words]
    assert main(command) == status
    return json.loads(capsys.readouterr().out)["data"]["checks"]


def test_a_healthy_instance_passes(
    instance: Vendor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("nkilab.bench.preflight.BATTERY", {name: BATTERY[name].bind(**SMALL[name]) for name in BATTERY})
    checks = checked(instance, capsys, status=0)
    assert {c["verdict"] for c in checks} == {"ok"}
    assert [(c["probe"], c["core"]) for c in checks[:4]] == [("matmul", n) for n in range(4)]
    collectives = [(c["probe"], c["device"], c["value"]) for c in checks if c["unit"] == "GB/s"]
    assert collectives == [("allr", 0, 60.0), ("allr", 1, 60.0), ("allr between devices", None, 60.0)]
    expected = [c["expected"] for c in checks if c["unit"] == "GB/s"]
    assert expected[0] == expected[1] == pytest.approx(177.6, rel=0.01)
    assert all(c["guessed"] == (c["unit"] == "GB/s") for c in checks)
    # Compiled once for each probe, then captured on every core.
    log = instance.log()
    compiled = [entry["kernel"] for entry in log if entry["tool"] == "nki"]
    assert compiled == ["matmul_fully_blocked", "stream", "add_many"]
    captured = [entry["variables"]["NEURON_RT_VISIBLE_CORES"] for entry in log if entry["tool"] == "neuron-explorer"]
    assert captured == ["0", "1", "2", "3"] * 3
    ranks = [entry["variables"]["NEURON_RT_VISIBLE_CORES"] for entry in log if entry["tool"] == "nccom-test"]
    assert ranks == ["0,1", "2,3", "0,1,2,3"]
    assert log[0]["tool"] == "neuron-ls"


@pytest.mark.parametrize(
    ("variable", "verdict", "message"),
    [
        ("STANDIN_SLOW_CORES", "slow", "2.00 times as long as the median of its neighbours"),
        ("STANDIN_DEAD_CORES", "failed", "NRT_EXEC_HW_ERR_NC: core 2"),
        ("STANDIN_WRONG_CORES", "wrong-values", "elements differ"),
    ],
)
def test_a_bad_core_is_named(
    variable: str,
    verdict: str,
    message: str,
    instance: Vendor,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, "2")
    bad = [c for c in checked(instance, capsys, "--no-collectives", status=1) if c["verdict"] != "ok"]
    assert [(c["probe"], c["core"], c["device"]) for c in bad] == [("dma", 2, 1)]
    assert {c["verdict"] for c in bad} == {verdict}
    assert message in bad[0]["message"]


def test_a_dead_first_core_does_not_keep_the_others_from_being_checked(
    instance: Vendor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STANDIN_DEAD_CORES", "0")
    checks = checked(instance, capsys, "--no-collectives", status=1)
    assert {c["core"] for c in checks if c["verdict"] == "ok"} == {1, 2, 3}


def test_a_hanging_core_is_killed_named_and_not_waited_for_again(
    instance: Vendor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    probes = {"dma": BATTERY["dma"].bind(**SMALL["dma"]), "vector": BATTERY["vector"].bind(**SMALL["vector"])}
    monkeypatch.setattr("nkilab.bench.preflight.BATTERY", probes)
    monkeypatch.setenv("STANDIN_HANGING_CORES", "2")
    run, waited = vendor.run, []

    def impatient(command: vendor.Command, timeout_s: float) -> str:
        hangs = command.variables.get("NEURON_RT_VISIBLE_CORES") == "2"
        waited.extend([command.words[0]] if hangs else [])
        return run(command, 0.3 if hangs else timeout_s)

    monkeypatch.setattr("nkilab.bench.vendor.run", impatient)
    bad = [c for c in checked(instance, capsys, "--no-collectives", status=1) if c["verdict"] != "ok"]
    assert [(c["probe"], c["core"], c["verdict"]) for c in bad] == [("dma", 2, "failed"), ("vector", 2, "failed")]
    assert "no answer after 0.3 s" in bad[0]["message"]
    assert "not tried" in bad[1]["message"]
    assert waited == ["neuron-explorer"]


def test_what_a_killed_command_had_started_is_killed_too(tmp_path: Path) -> None:
    """Its children hold the streams open: waiting for those would never end."""
    command = vendor.Command(("sh", "-c", "echo begun; sleep 600 & sleep 600"), {}, tmp_path)
    with pytest.raises(vendor.VendorTimeoutError) as caught:
        vendor.run(command, 0.5)
    assert caught.value.code == "timed-out"
    assert "killed after 0.5 s" in (tmp_path / "sh.log").read_text()


def test_a_failing_collective_is_named(
    instance: Vendor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STANDIN_COLLECTIVES", "fail")
    bad = [c for c in checked(instance, capsys, status=1) if c["verdict"] != "ok"]
    assert [(c["probe"], c["device"]) for c in bad] == [("allr", 0), ("allr", 1), ("allr between devices", None)]
    assert "test failed" in bad[0]["message"]


def test_the_text_names_the_device(
    instance: Vendor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STANDIN_DEAD_CORES", "3")
    assert main(["preflight", "--runner-python", instance.python, "--over", "1000", "--no-collectives"]) == 1
    out = capsys.readouterr().out
    assert "device 1 core 3: dma failed" in out
    assert "4 cores, 1 of 4 checks did not pass" in out


def check(value: float, **fields: Any) -> Check:
    return Check(**{"probe": "p", "device": 0, "core": 0, "unit": "us", "value": value, **fields})


def test_slow_against_neighbours_and_against_the_table() -> None:
    limits = Limits(slack=0.1, over=1.5)
    assert [c.verdict for c in judged([check(t) for t in (10.0, 10.5, 12.0, 9.9)], limits)] == [
        "ok",
        "ok",
        "slow",
        "ok",
    ]
    assert [c.verdict for c in judged([check(10.0, expected=6.0)], limits)] == ["below-table"]
    rates = [check(rate, unit="GB/s") for rate in (50.0, 50.0, 40.0)]
    assert [c.verdict for c in judged(rates, limits)] == ["ok", "ok", "slow"]
    far = check(50.0, unit="GB/s", expected=100.0)
    assert [c.verdict for c in judged([far], limits)] == ["below-table"]
    assert [c.verdict for c in judged([dataclasses.replace(far, guessed=True)], limits)] == ["ok"]


def listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> list[Any]:
    monkeypatch.setattr("nkilab.bench.vendor.run", lambda _command, _timeout: text)
    return list_cores(tmp_path, 1.0)


def test_logical_cores_are_listed_as_their_physical_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = [
        {"neuron_device": 0, "nc_count": 4, "logical_neuroncore_config": 2, "neuroncore_ids": [0, 1, 2, 3]},
        {"neuron_device": 1, "nc_count": 4, "logical_neuroncore_config": 2, "neuroncore_ids": [4, 5, 6, 7]},
    ]
    cores = listed(monkeypatch, tmp_path, json.dumps(rows))
    assert [core.number for core in cores] == list(range(16))
    assert [core.device for core in cores] == [0] * 8 + [1] * 8


@pytest.mark.parametrize(("text", "error"), [("[]", UsageError), ("{", InputError), ('[{"x": 1}]', InputError)])
def test_an_answer_of_neuron_ls_without_devices(
    text: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(error):
        listed(monkeypatch, tmp_path, text)
