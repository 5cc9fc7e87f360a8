"""`import nki`: the simulator's where the vendor's package is not, the vendor's where it is, the placeholder named."""

from __future__ import annotations

import os
import subprocess
import sys

import nki
import nki.isa
import nki.language
import pytest

import nkilab.simulator.nki as ours
from nkilab import finder


@pytest.fixture
def run(tmp_path, repository):
    """Run Python in a fresh process, with `tmp_path` first on its path."""

    def start(code, *, before="import nkilab\n", **environment):
        script = tmp_path / "script.py"
        script.write_text(before + code)
        path = os.pathsep.join([str(tmp_path), str(repository)])
        return subprocess.run(
            [sys.executable, str(script)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": path, **environment},
            check=False,
        )

    return start


def test_nki_is_the_simulators_and_one_module_under_both_names():
    assert nki is ours
    assert nki.isa is ours.isa
    assert nki.language.ndarray is ours.language.ndarray
    assert sys.modules["nki.isa"] is ours.isa


def test_names_that_nki_does_not_have_are_not_served():
    with pytest.raises(ModuleNotFoundError, match=r"nki\.nothing"):
        import nki.nothing  # noqa: F401


def test_installing_twice_keeps_one_finder():
    finder.install()
    finder.install()
    assert sum(isinstance(each, finder.NkiFinder) for each in sys.meta_path) == 1


KERNEL = """
import numpy as np
import nki, nki.language as nl
@nki.jit
def kernel(x):
    out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    nl.store(out, nl.load(x))
    return out
print(kernel(np.ones((2, 2), np.float32)).sum())
"""


def test_a_script_that_imports_nkilab_first_runs_kernels(run):
    done = run(KERNEL, NKI_SIMULATOR="1")
    assert (done.returncode, done.stdout.strip()) == (0, "4.0"), done.stderr


def test_a_real_package_wins(run, tmp_path):
    package = tmp_path / "nki"
    package.mkdir()
    (package / "__init__.py").write_text("REAL = True\n")
    (package / "isa.py").write_text("")
    done = run("import nki, nki.isa\nfrom nkilab import finder\nprint(nki.REAL, finder.is_real())\n")
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_the_placeholder_of_that_name_is_named(run, tmp_path):
    package = tmp_path / "nki"
    package.mkdir()
    (package / "__init__.py").write_text("")
    done = run("import nki\n")
    assert done.returncode == 1
    assert "is not AWS's Neuron Kernel Interface" in done.stderr
    assert "pip uninstall nki" in done.stderr
