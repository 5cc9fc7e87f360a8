"""The form of every command's JSON is a contract: keys and types are compared with `golden/<command>.json`.

A wanted change: NKILAB_UPDATE_GOLDEN=1 python -m pytest tests/nkilab/test_envelopes.py, and read the difference.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from nkilab.command import main
from nkilab.command.app import COMMANDS
from nkilab.profiler import Origin, Profile
from nkilab.version import VERSION

GOLDEN = Path(__file__).parent / "golden"
RMSNORM = ("--axis", "n=128", "--axis", "d=512")
ELSEWHERE = {"tune", "compare", "preflight", "calibrate"}  # tests/bench/test_envelopes.py, test_calibrate.py


def form(value: Any) -> Any:
    """The form of a JSON value: keys of objects, types of leaves; the elements of a list merged into one."""
    if isinstance(value, dict):
        # What a machine is differs from machine to machine: of a fingerprint only the keys are a contract.
        return {key: sorted(item) if key == "fingerprint" else form(item) for key, item in value.items()}
    if isinstance(value, list):
        return [functools.reduce(merged, map(form, value))] if value else []
    return {bool: "boolean", int: "number", float: "number", str: "string", type(None): "null"}[type(value)]


def merged(one: Any, other: Any) -> Any:
    """One form that describes both; "null|number" is a number that may be missing."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: merged(one.get(key, "absent"), other.get(key, "absent")) for key in {**one, **other}}
    if isinstance(one, list) and isinstance(other, list):
        return [merged(one[0], other[0])] if one and other else one or other
    if isinstance(one, str) and isinstance(other, str):
        return "|".join(sorted({*one.split("|"), *other.split("|")}))
    return one if other in ("null", "absent") else other


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A small saved run."""
    folder = tmp_path_factory.mktemp("saved") / "rmsnorm"
    assert main(["sim", f"{repository}/kernels/rmsnorm.py:rmsnorm", *RMSNORM, "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def collective(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A profile of one collective operation, made by hand."""
    operation = {
        "start_ts": 100.0,
        "end_ts": 300.0,
        "duration_ns": 200.0,
        "operation": "allreduce",
        "algorithm": "ring",
        "op_id": 1,
        "stream_id": 0,
        "input_size": 4096,
        "output_size": 4096,
    }
    profile = Profile.build({"CcOp": pl.DataFrame([operation])}, Origin("device-json"))
    return profile.save(tmp_path_factory.mktemp("collective") / "profile")


@pytest.fixture
def arguments(
    command: str, saved: Path, collective: Path, repository: Path, request: pytest.FixtureRequest
) -> tuple[str, ...]:
    """What a command is asked about."""
    kernel = f"{repository}/kernels/rmsnorm.py:rmsnorm"
    if command == "system":
        return (str(request.getfixturevalue("shared_profiles") / "trn2-inspect"),)
    special = {
        "bench": (kernel, *RMSNORM),
        "demo": (),
        "sample": (),
        "ops": ("matmul",),
        "stubs": (),
        "sim": (kernel, *RMSNORM, "--report"),
        "check": (kernel, *RMSNORM),
        "diff": (str(saved), str(saved)),
        "collectives": (str(collective),),
    }
    return special.get(command, (str(saved),))


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ELSEWHERE])
def test_the_form_of_the_json_is_the_golden_one(
    command: str,
    arguments: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    status = main([command, *arguments, "--json"])
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    document = json.loads(out)
    assert document["schema"] == f"nkilab.{command}/1"
    assert document["nkilab"] == VERSION
    golden = GOLDEN / f"{command}.json"
    if os.environ.get("NKILAB_UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(json.dumps(form(document), indent=1) + "\n")
    assert form(document) == json.loads(golden.read_text())


def test_every_golden_file_is_of_a_command() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(COMMANDS) - ELSEWHERE
