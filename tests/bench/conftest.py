"""What the tests of measuring share: kernel files outside of the project, and stand-ins for the vendor's tools."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
STANDINS = Path(__file__).with_name("standins")
TRACE = "trn2-attention/fused_bf16_s512"

SCALE = '''
"""A kernel of a user: twice its input."""

from __future__ import annotations

import numpy as np
import nki
import nki.isa as nisa
import nki.language as nl

import nkilab


@nki.jit
def scale(x, tile=128, factor=2.0):
    result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    for n in range(0, x.shape[0], tile):
        rows = nl.ndarray((tile, x.shape[1]), dtype=x.dtype, buffer=nl.sbuf)
        nisa.dma_copy(dst=rows, src=x[n : n + tile, :])
        nisa.tensor_scalar(dst=rows, data=rows, op0=nl.multiply, operand0=factor)
        nisa.dma_copy(dst=result[n : n + tile, :], src=rows)
    return result


def inputs(axes, rng):
    return (rng.standard_normal((axes["n"], axes["d"]), dtype=np.float32).astype(nkilab.dtype(axes["dtype"])),)


CASES = (
    nkilab.Case(
        kernel=scale,
        inputs=inputs,
        reference=lambda x: (x.astype(np.float32) * 2).astype(x.dtype),
        axes={"n": 256, "d": 64, "dtype": "float32"},
        meta={"tile": 128},
        flops=lambda axes: axes["n"] * axes["d"],
    ),
)
'''


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the current one, plain output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


@pytest.fixture
def write_kernel(elsewhere: Path) -> Callable[..., Path]:
    """Write a kernel file outside of the project, `scale.py` unless a text is given, with replacements in it."""

    def write(name: str = "scale.py", text: str = SCALE, **changes: str) -> Path:
        for old, new in changes.get("changes", {}).items() if isinstance(changes.get("changes"), dict) else ():
            assert old in text
            text = text.replace(old, new)
        path = elsewhere / name
        path.write_text(text)
        return path

    return write


@dataclass(frozen=True)
class Vendor:
    """Stand-ins in place: `python` has nki, nrtpy and spike, the tools are on PATH; `log` tells what they saw."""

    python: str
    folder: Path
    ntff: Path
    neff: Path

    def log(self) -> list[dict[str, Any]]:
        path = self.folder / "log.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def calls(self) -> list[str]:
        """Tool and event of everything that was called, in order."""
        return [" ".join(filter(None, (entry["tool"], entry.get("event")))) for entry in self.log()]


@pytest.fixture
def vendor(elsewhere: Path, shared_profiles: Path, monkeypatch: pytest.MonkeyPatch) -> Vendor:
    """Stand-ins for the vendor's tools that hand out a real NEFF and NTFF."""
    folder = elsewhere / "vendor"
    tools = folder / "bin"
    tools.mkdir(parents=True)
    for name in ("neuron-explorer", "neuron-ls", "nccom-test"):
        launcher = tools / name
        launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STANDINS / "tools.py"}" {name} "$@"\n')
        launcher.chmod(0o755)
    python = tools / "vendor-python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{STANDINS}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    ntff = shared_profiles / TRACE / "fused_exec_2.ntff"
    neff = shared_profiles / TRACE / "fused.neff"
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STANDIN_LOG", str(folder / "log.jsonl"))
    monkeypatch.setenv("STANDIN_NTFF", str(ntff))
    monkeypatch.setenv("STANDIN_NEFF", str(neff))
    return Vendor(str(python), folder, ntff, neff)
