"""`nkilab diff --fail-if` as a gate: exit status, and the sentence that says what is broken."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import nkilab
from nkilab.command import main


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> tuple[str, str]:
    """A slow and a fast run of the same product, saved."""
    folder = tmp_path_factory.mktemp("runs")
    zeros, every_load = np.zeros((512, 512), np.float32), nkilab.Policy(repeats=0.0)
    for name in ("tiled", "fully_blocked"):
        kernel = f"{repository}/kernels/matmul.py:matmul_{name}"
        nkilab.simulate(kernel, zeros, zeros.copy(), sim=nkilab.Sim(values=False, policy=every_load)).save(
            folder / name
        )
    return str(folder / "tiled"), str(folder / "fully_blocked")


def test_a_faster_run_passes(saved: tuple[str, str]) -> None:
    assert main(["diff", *saved, "--fail-if", "total_us>+5%"]) == 0


def test_a_slower_run_fails_and_says_by_how_much(saved: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    slow, fast = saved
    rules = ("--fail-if", "total_us>+5%", "--fail-if", "hbm_read_bytes>1")
    assert main(["diff", fast, slow, *rules]) == 1
    assert "breaks total_us>+5%" in capsys.readouterr().out
    assert main(["diff", fast, slow, *rules, "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["data"]["broken"]) == 2


def test_an_unknown_metric_is_a_usage_error(saved: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", *saved, "--fail-if", "speed>1"]) == 2
    assert "Traceback" not in capsys.readouterr().err
