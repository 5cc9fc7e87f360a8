"""The table of operations and the stubs, both read off the code."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nkilab.simulator.coverage import operations
from nkilab.simulator.levels import ADDED
from nkilab.simulator.stubs import stubs
from tests.simulator.tables import LEVELS, stored

FOLDER = Path(__file__).parent


@pytest.mark.parametrize("level", LEVELS)
def test_the_table_has_the_reference_s_functions(level):
    table = stored(level)
    named = {name for name in table["functions"] if name.count(".") == 2} - set(table.get("removed", ()))
    listed = {each.name for each in operations(level)}
    assert named <= listed
    assert {name for name in listed - named if not name.endswith(".range")} == set()


def test_every_isa_function_is_supported():
    assert {each.status for each in operations() if each.name.startswith("nki.isa.")} == {"supported"}


def test_engines_and_generations_are_those_of_the_checks():
    found = {each.name: each for each in operations()}
    assert found["nki.isa.nc_matmul_mx"].generations == ("trn3",)
    assert found["nki.isa.range_select"].generations == ("trn2", "trn3")
    assert found["nki.isa.memset"].engines == ("vector", "gpsimd")
    assert found["nki.isa.dma_copy"].dma
    assert found["nki.isa.scalar_load"].since == "0.7"


def test_every_instruction_and_collective_names_its_tests_and_what_it_assumes():
    found = {each.name: each for each in operations()}
    listed = [each for name, each in found.items() if not name.startswith("nki.language.")]
    assert [each.name for each in listed if not each.tests] == []
    assert {each.confidence for each in listed} == {"documented", "assumed"}
    assert all(bool(each.assumes) == (each.confidence == "assumed") for each in listed)
    assert found["nki.isa.nc_transpose"].confidence == "documented"
    assert "XORWOW" in found["nki.isa.rng"].assumes


def test_the_tests_that_it_names_are_there(repository):
    for each in operations():
        for test in each.tests:
            path, _, name = test.partition("::")
            assert f"def {name.partition('[')[0]}(" in (repository / path).read_text()


@pytest.mark.parametrize("level", LEVELS)
def test_stubs_are_python_with_every_name_of_the_level(level):
    files = stubs(level)
    for path, text in files.items():
        ast.parse(text, path)
    for module, path in (("nki.isa", "nki/isa/__init__.pyi"), ("nki.language", "nki/language.pyi")):
        defined = set(re.findall(r"^(?:def|class) (\w+)|^(\w+):", files[path], re.MULTILINE))
        names = {one or other for one, other in defined}
        table = stored(level)
        wanted = {
            n.rpartition(".")[2] for kind in ("functions", "members") for n in table[kind] if n.startswith(module + ".")
        }
        hidden = set(ADDED[module]) if level == "0.6" else set()
        gone = {name.rpartition(".")[2] for name in table.get("removed", ())}
        assert wanted - names - gone - {"_TileSize"} == set()
        assert names & hidden == set()


KERNEL = """
import nki
import nki.isa as nisa
import nki.language as nl
from nki.isa.constants import engine

@nki.jit
def kernel(x: nl.NkiTensor) -> nl.NkiTensor:
    tile = nl.ndarray(x.shape, nl.float32)
    nisa.dma_copy(dst=tile, src=x[0:4], engine=engine.sync)
    nisa.dma_copi(tile, x)
    return nl.add(tile, tile)
"""


def test_a_type_checker_reads_them(tmp_path):
    pytest.importorskip("mypy")
    for path, text in stubs().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "kernel.py").write_text(KERNEL)
    command = [sys.executable, "-m", "mypy", "--config-file=", f"--cache-dir={tmp_path}/cache", "kernel.py"]
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(tmp_path)},
        check=False,
    )
    lines = [line for line in run.stdout.splitlines() if "error" in line]
    assert len(lines) == 2, run.stdout
    assert lines[0].startswith("kernel.py:11: error: Module has no attribute")
