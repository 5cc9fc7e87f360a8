"""A newcomer's first profile: `nkilab.sample()`, `nkilab sample`; one of several by `--select`; the vendor's tool by a flag."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import nkilab
from nkilab.command import main


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("PATH", str(tmp_path))


def test_the_sample_opens() -> None:
    path = nkilab.sample()
    assert path.parent == Path("nkilab-out") / "sample"
    p = nkilab.load(path, source_root=path.parent)
    assert p.lines().attributed == 1.0
    assert p.has("Source", "text")
    assert nkilab.sample("elsewhere").parent == Path("elsewhere")


def test_the_command_writes_it_and_never_over_something_silently(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)["data"]["profile"]
    assert nkilab.load(first).has("Instruction")
    assert main(["sample", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"]["profile"] != first
    assert main(["sample", "nkilab-out/sample"]) == 2
    assert main(["sample", "nkilab-out/sample", "--force"]) == 0


def test_one_of_several_is_selected(capsys: pytest.CaptureFixture[str]) -> None:
    one = nkilab.sample("captures")
    (one.parent / "softmax_matmul_exec_7.ntff").write_bytes(one.read_bytes())
    assert main(["engines", "captures"]) == 2
    assert "--select" in capsys.readouterr().err
    assert main(["engines", "captures", "--select", "exec=7"]) == 0
    assert nkilab.load("captures", select="exec=7").facts["execution"] == "7"


def test_a_saved_run_is_selected_as_a_run(capsys: pytest.CaptureFixture[str], repository: Path) -> None:
    kernel = f"{repository}/kernels/rmsnorm.py:rmsnorm"
    assert main(["sim", kernel, "--axis", "n=128", "--axis", "d=512", "--out", "runs/one"]) == 0
    nkilab.sample("runs/two")
    capsys.readouterr()
    assert isinstance(nkilab.load("runs", select="one"), nkilab.Run)
    assert isinstance(nkilab.load("runs", select="two"), nkilab.Profile)


def test_the_vendors_tool_is_asked_for_by_a_flag_only(capsys: pytest.CaptureFixture[str]) -> None:
    path = nkilab.sample()
    assert main(["summary", str(path)]) == 0
    assert main(["summary", str(path), "--with-vendor-tool"]) == 2
    assert "neuron-explorer" in capsys.readouterr().err


def test_doctor_fails_where_something_is_wrong(tmp_path: Path) -> None:
    path = nkilab.sample()
    assert main(["doctor", str(path)]) == 0
    lost = {
        "warnings": [{"category": "", "message": "Notification from block NC were dropped"}],
        "metadata": [{"a": 1}],
    }
    (tmp_path / "lost.json").write_text(json.dumps(lost))
    assert main(["doctor", "lost.json"]) == 1
