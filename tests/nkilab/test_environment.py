"""`nkilab doctor` without a profile: each fault of a machine is named, and its twin without the fault is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from nkilab import environment as module
from nkilab.command import main
from nkilab.environment import environment

REQUIREMENTS = ["numpy>=2.0", 'anywidget>=0.9; extra == "notebook"', "torch>=2.5; extra == 'torch'", 'nki>=0.6 ; extra == "trn"']  # fmt: skip
INSTALLED = {"numpy": "2.1.3", "anywidget": "0.9.13", "torch": "2.5.1+cpu", "nki": "0.7.1"}


def found() -> dict[str, str]:
    """Checks and levels."""
    return dict(environment().table().select("check", "level").iter_rows())


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Versions of packages that the test may change."""
    versions = dict(INSTALLED)
    monkeypatch.setattr(module, "_requirements", lambda: REQUIREMENTS)
    monkeypatch.setattr(module, "version_of", versions.get)
    return versions


def package(folder: Path, *modules: str) -> None:
    """An importable package `nki` in `folder`."""
    (folder / "nki").mkdir(parents=True)
    for name in ("__init__", *modules):
        (folder / "nki" / f"{name}.py").write_text("")


def test_a_decoy_nki_is_wrong_and_the_real_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found()["nki"] == "note"
    package(tmp_path / "decoy")
    package(tmp_path / "real", "isa")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(tmp_path / "decoy"))
        assert found()["decoy nki"] == "wrong"
        assert "pip uninstall nki" in str(environment())
        assert main(["doctor"]) == 1
    monkeypatch.syspath_prepend(str(tmp_path / "real"))
    assert "decoy nki" not in found()
    assert "vendor's package" in str(environment())
    assert main(["doctor"]) == 0


@pytest.mark.parametrize(
    ("version", "level"), [((3, 10), "wrong"), ((3, 11), "note"), ((3, 14), "note"), ((3, 15), "suspect")]
)
def test_python(version: tuple[int, int], level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.sys, "version_info", (*version, 0))
    assert found()["Python"] == level


def test_nothing_is_said_of_what_is_installed(installed: dict[str, str]) -> None:
    assert installed == INSTALLED
    assert {"placeholder", "old package", "extra notebook", "extra torch"}.isdisjoint(found())
    assert "numpy 2.1.3" in str(environment())


def test_an_extra_that_is_missing(installed: dict[str, str]) -> None:
    del installed["torch"]
    assert found()["extra torch"] == "note"
    assert "extra notebook" not in found()
    assert "pip install 'nkilab[torch]'" in str(environment())


def test_an_old_package(installed: dict[str, str]) -> None:
    installed["numpy"] = "1.26.4"
    assert found()["old package"] == "suspect"


def test_a_placeholder_of_the_vendors_package_is_known_by_its_version(installed: dict[str, str]) -> None:
    installed["nki"] = "0.0.1"
    assert found()["placeholder"] == "wrong"


def test_tools_of_the_vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "not needed" in str(environment())
    tool = tmp_path / "neuron-explorer"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    assert "neuron-explorer at" in str(environment())


@pytest.mark.parametrize(("value", "level"), [("trn3", "note"), ("gen9", "wrong"), ("", None)])
def test_the_target_of_the_environment(value: str, level: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module.TARGET, value)
    assert found().get("target") == level


def test_a_clone_that_was_not_installed_knows_its_requirements() -> None:
    names = [text.partition(">")[0] for text in module._requirements()]
    assert "numpy" in names
    assert any("extra" in text and text.startswith("torch") for text in module._requirements())
