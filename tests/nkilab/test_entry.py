"""Ways in: `python -m nkilab script.py`, the pytest plugin, `%load_ext nkilab`; each lets `import nki` be found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import nkilab

KERNEL = """
import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np


@nki.jit
def copy(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    tile = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=x)
    nisa.dma_copy(dst=out, src=tile)
    return out


X = np.arange(128 * 4, dtype=np.float32).reshape(128, 4)
"""


def run(folder: Path, root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(root), "NKI_SIMULATOR": "1"}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_a_script_that_imports_nki_first_runs_unmodified(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "helper.py").write_text("WORD = 'equal'\n")
    (tmp_path / "script.py").write_text(
        KERNEL + "import sys, helper\nprint(helper.WORD, (copy(X) == X).all(), __name__, sys.argv[1:])\n"
    )
    done = run(tmp_path, repository, "-m", "nkilab", "script.py", "--flag", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "equal True __main__ ['--flag', '3']\n"


def test_a_script_that_imports_nkilab_first_needs_no_more(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "script.py").write_text("import nkilab\n" + KERNEL + "print((copy(X) == X).all())\n")
    done = run(tmp_path, repository, "script.py")
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_a_script_s_exit_status_is_the_command_s(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "script.py").write_text("import sys\nsys.exit(7)\n")
    assert run(tmp_path, repository, "-m", "nkilab", "script.py").returncode == 7
    missing = run(tmp_path, repository, "-m", "nkilab", "missing.py")
    assert (missing.returncode, missing.stderr) == (2, "nkilab: there is no script missing.py\n")


def test_the_pytest_plugin_finds_nki_before_tests_are_collected(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "test_copy.py").write_text(KERNEL + "def test_copy():\n    assert (copy(X) == X).all()\n")
    done = run(tmp_path, repository, "-m", "pytest", "-q", "-p", "nkilab.pytest_plugin", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_load_ext_is_there() -> None:
    nkilab.load_ipython_extension(None)


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        _ = nkilab.simulat
