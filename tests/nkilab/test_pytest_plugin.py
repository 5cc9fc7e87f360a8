"""The pytest plugin in a project of its own: `case` runs CASES, findings and differences fail, `--nki-target` is heard."""

from __future__ import annotations

import subprocess
import sys

import pytest

KERNEL = """
import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import nkilab

@nki.jit
def double(x):
    tile = nl.load(x)
    nisa.tensor_scalar(tile, tile, nl.multiply, 2.0)
    out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
    nl.store(out, tile)
    return out

@nki.jit
def forgetful(x):
    out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
    nl.store(out[0:4], nl.load(x)[0:4])
    return out

@nki.jit
def newest(x):
    tile = nl.load(x)
    nisa.exponential(tile, tile)
    out = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
    nl.store(out, tile)
    return out

def inputs(axes, rng):
    return (rng.standard_normal((8, axes["n"]), dtype=np.float32),)

def case(kernel, reference):
    return nkilab.Case(kernel=kernel, inputs=inputs, reference=reference, axes={"n": 16})
"""
CASES = {
    "right": "CASES = (case(double, lambda x: x * 2),)",
    "wrong": "CASES = (case(double, lambda x: x * 3),)",
    "unwritten": "CASES = (case(forgetful, lambda x: x),)",
    "newest": "CASES = (case(newest, lambda x: np.exp(x)),)",
}


@pytest.fixture
def run(tmp_path, repository):
    def start(name, *options, test="def test_case(case):\n    assert case.run.body_us > 0\n"):
        (tmp_path / "kernel.py").write_text(KERNEL + CASES[name])
        (tmp_path / "test_kernel.py").write_text(f"from kernel import *\n{test}")
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "nkilab.pytest_plugin",
            "-p",
            "no:cacheprovider",
            *options,
        ]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(repository)}, check=False
        )

    return start


def test_a_case_that_equals_its_reference_passes(run):
    done = run("right")
    assert "1 passed" in done.stdout, done.stdout
    assert run("right", "-vv").stdout.count("test_case[double]") == 1


def test_a_difference_fails(run):
    done = run("wrong")
    assert "1 error" in done.stdout
    assert "double differs from its reference" in done.stdout


def test_a_finding_fails_and_is_shown(run):
    done = run("unwritten")
    assert "1 error" in done.stdout
    assert "[unwritten-output]" in done.stdout
    assert "kernel.py:18" in done.stdout


@pytest.mark.parametrize(("target", "outcome"), [("trn3", "1 passed"), ("trn2", "1 error")])
def test_the_target_is_that_of_the_option(run, target, outcome):
    assert outcome in run("newest", "--nki-target", target).stdout


def test_a_marker_names_the_file_of_the_cases(run):
    test = "import pytest\nCASES = ()\n@pytest.mark.nki_cases('kernel.py')\ndef test_case(case):\n    assert case.comparison.passed\n"
    assert "1 passed" in run("right", "--strict-markers", test=test).stdout


def test_a_test_may_give_case_values_of_its_own(run):
    test = "import pytest\n@pytest.mark.parametrize('case', [1, 2])\ndef test_mine(case):\n    assert case in (1, 2)\n"
    assert "2 passed" in run("right", test=test).stdout


def test_kernels_that_are_called_in_a_test_hear_the_target_too(run):
    test = "def test_mine():\n    assert newest(np.zeros((8, 4), np.float32)).all()\n"
    assert "1 passed" in run("right", "--nki-target", "trn3", test=test).stdout
