"""The form of every command's JSON is a contract: keys and types are compared with `golden/<command>.json`.

A wanted change: NKILAB_UPDATE_GOLDEN=1 python -m pytest tests/nkilab/test_envelopes.py, and read the difference.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from nkilab.command import main
from nkilab.command.app import COMMANDS
from nkilab.version import VERSION

GOLDEN = Path(__file__).parent / "golden"
RMSNORM = ("--axis", "n=128", "--axis", "d=512")


def form(value: Any) -> Any:
    """The form of a JSON value: keys of objects, types of leaves; of a list, that of its first element."""
    if isinstance(value, dict):
        return {key: form(item) for key, item in value.items()}
    if isinstance(value, list):
        return [form(item) for item in value[:1]]
    return {bool: "boolean", int: "number", float: "number", str: "string", type(None): "null"}[type(value)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A small saved run."""
    folder = tmp_path_factory.mktemp("saved") / "rmsnorm"
    assert main(["sim", f"{repository}/kernels/rmsnorm.py:rmsnorm", *RMSNORM, "--out", str(folder)]) == 0
    return folder


def arguments(command: str, saved: Path, repository: Path) -> tuple[str, ...]:
    kernel = f"{repository}/kernels/rmsnorm.py:rmsnorm"
    special = {"demo": (), "sim": (kernel, *RMSNORM, "--report"), "check": (kernel, *RMSNORM)}
    return special.get(command, (str(saved),))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_form_of_the_json_is_the_golden_one(
    command: str,
    saved: Path,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    status = main([command, *arguments(command, saved, repository), "--json"])
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
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(COMMANDS)
