"""What an installation brings: one package, whole, that works outside and inside a clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SIMULATE = """
import numpy as np, nkilab, importlib.util, sys
from nkilab.kernels.matmul import matmul_tiled
a, b = np.ones((128, 128), np.float32), np.ones((128, 512), np.float32)
run = nkilab.simulate(matmul_tiled, a, b)
assert (run.outputs == 128).all() and run.body_us > 0
run.report(sys.argv[1])
assert importlib.util.find_spec("kernels") is None
print(nkilab.__file__)
"""

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files, in a folder of their own, so that building leaves nothing in the checkout."""
    target = tmp_path_factory.mktemp("clone")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    return target


@pytest.fixture(scope="module")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", out, ".", cwd=clone)
    (found,) = out.glob("*.whl")
    return found


def environment(folder: Path, *install: str | Path) -> tuple[Path, Path, set[str]]:
    """An environment with one thing installed, that finds its dependencies in ours.

    Returns its Python, its site-packages, and the names that the installation added there.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    before = {path.name for path in site.iterdir()}
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-build-isolation")
    ours = sysconfig.get_path("purelib")
    run(*pip, *install, cwd=folder, PYTHONPATH=ours)
    added = {path.name for path in site.iterdir()} - before
    (site / "dependencies.pth").write_text(ours + "\n")
    return python, site, added


def test_a_wheel_adds_nkilab_and_nothing_else(wheel: Path, tmp_path: Path) -> None:
    python, site, added = environment(tmp_path / "env", wheel)
    assert {name for name in added if not name.endswith(".dist-info")} == {"nkilab"}
    assert len(added) == 2
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    imported = run(python, "-c", SIMULATE, "report.html", cwd=elsewhere).strip()
    assert Path(imported).is_relative_to(site)
    assert (elsewhere / "report.html").stat().st_size > 10_000
    assert "nkilab" in run(python.with_name("nkilab"), "--version", cwd=elsewhere)


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_the_clone_s_root_works_after_either_installation(kind: str, wheel: Path, clone: Path, tmp_path: Path) -> None:
    what = (wheel,) if kind == "wheel" else ("--editable", clone)
    python, _, _ = environment(tmp_path / "env", *what)
    assert "nkilab" in run(python, "-m", "nkilab", "--version", cwd=clone)
    assert "pass" in run(python, "-m", "nkilab", "check", "kernels/rmsnorm.py", "--axis", "n=128", cwd=clone)
    assert "passed" in run(
        python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/project/test_imports.py", cwd=clone
    )
