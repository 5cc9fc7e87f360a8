"""The form of the JSON of `bench`, `tune`, `compare` and `preflight`: keys and types are compared with `golden/<command>.json`.

A wanted change: NKILAB_UPDATE_GOLDEN=1 python -m pytest tests/bench/test_envelopes.py, and read the difference.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nkilab.bench.probe_cases import BATTERY
from nkilab.command import main

from .conftest import Vendor

GOLDEN = Path(__file__).parent / "golden"
TYPES = {bool: "boolean", int: "number", float: "number", str: "string", type(None): "null"}


def form(value: Any) -> Any:
    """Keys of objects, types of leaves; the elements of a list merged into one. Names that a user chooses do not count."""
    if isinstance(value, dict):
        free = {
            "environment",
            "fingerprint",
            "settings",
            "axes",
            "meta",
            "configuration",
            "space",
            "facts",
            "artifacts",
        }
        return {key: "by name" if key in free else form(item) for key, item in value.items()}
    if isinstance(value, list):
        return [functools.reduce(merged, map(form, value))] if value else []
    return TYPES[type(value)]


def merged(one: Any, other: Any) -> Any:
    """One form that describes both; "null|number" is a number that may be missing."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: merged(one.get(key, "absent"), other.get(key, "absent")) for key in {**one, **other}}
    if isinstance(one, list) and isinstance(other, list):
        return [merged(one[0], other[0])] if one and other else one or other
    if isinstance(one, str) and isinstance(other, str):
        return "|".join(sorted({*one.split("|"), *other.split("|")}))
    return one if other in ("null", "absent") else other


def held(command: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Compare the form of a command's JSON with its golden file."""
    capsys.readouterr()
    main([command, *words, "--json"])
    out, err = capsys.readouterr()
    assert err == ""
    found = form(json.loads(out))
    golden = GOLDEN / f"{command}.json"
    if os.environ.get("NKILAB_UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(golden.read_text())


def test_bench(write_kernel: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    """A point that passes and one that cannot run; the environment is this machine's."""
    write_kernel()
    held("bench", ["scale.py", "--meta", "tile=128,256", "--axis", "n=256"], capsys)


def test_tune(write_kernel: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    write_kernel()
    held("tune", ["scale.py", "--meta", "tile=64,128,256", "--axis", "n=256"], capsys)


def test_compare(write_kernel: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    write_kernel()
    for name, axes in (("old", "n=128,256"), ("new", "n=256,512")):
        main(["bench", "scale.py", "--axis", axes, "--name", name])
    held("compare", ["old", "new", "--fail-if", "removed"], capsys)


def test_preflight(vendor: Vendor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("nkilab.bench.preflight.BATTERY", {"dma": BATTERY["dma"].bind(n=128, d=128)})
    monkeypatch.setenv("STANDIN_DEAD_CORES", "1")
    held("preflight", ["--runner-python", vendor.python], capsys)
