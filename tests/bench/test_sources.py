"""Which sources a number depends on."""

from __future__ import annotations

from pathlib import Path

import pytest

from nkilab.bench.environment import differences, fingerprint, git_state
from nkilab.bench.measure import measure
from nkilab.bench.point import Point, Settings
from nkilab.bench.sources import clock_hash, closure, owner, source_hash
from nkilab.errors import InputError, UsageError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A package of a user: a kernel, its cases, a helper that imports another, and a file that nobody imports."""
    folder = tmp_path / "pack"
    folder.mkdir()
    files = {
        "__init__": "",
        "kernel": "import numpy\nimport nki\nfrom . import helper\n",
        "kernel_cases": "import nkilab\nfrom pack.kernel import x\n",
        "helper": "def f():\n    from pack.deep import y\n",
        "deep": "import os\nfrom pack import helper\n",
        "other": "",
    }
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_a_kernel_s_sources_are_its_cases_and_what_both_import(project: Path) -> None:
    names = [path.name for path in closure(project / "kernel.py")]
    assert names == ["__init__.py", "deep.py", "helper.py", "kernel.py", "kernel_cases.py"]


@pytest.mark.parametrize(("name", "counts"), [("deep", True), ("kernel_cases", True), ("other", False)])
def test_the_hash_follows_the_sources_that_count(project: Path, name: str, counts: bool) -> None:
    before = source_hash(project / "kernel.py")
    with (project / f"{name}.py").open("a") as file:
        file.write("# changed\n")
    assert (source_hash(project / "kernel.py") != before) is counts


def test_a_moved_checkout_is_the_same(project: Path, tmp_path: Path) -> None:
    before = source_hash(project / "kernel.py")
    moved = project.rename(tmp_path / "elsewhere").parent / "elsewhere"
    moved.rename(project)
    assert source_hash(project / "kernel.py") == before


def test_our_own_kernels_depend_on_their_references_but_not_on_the_machinery(repository: Path) -> None:
    files = closure(repository / "kernels/matmul.py")
    assert {path.parent.name for path in files} <= {"kernels", "reference"}
    assert repository / "reference/matmul.py" in files


@pytest.mark.parametrize(
    ("path", "whose"),
    [
        ("kernels/matmul.py", "user"),
        ("reference/matmul.py", "user"),
        ("clock/timing.py", "nkilab"),
        ("bench/gate.py", "nkilab"),
    ],
)
def test_whose_a_file_is(path: str, whose: str, repository: Path) -> None:
    assert owner(repository / path) == whose
    assert owner(Path(pytest.__file__).resolve()) == "library"


def test_a_file_that_is_no_python_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def f(:\n")
    with pytest.raises(InputError, match=r"broken\.py"):
        source_hash(tmp_path / "broken.py")


def test_a_worker_with_other_files_refuses(project: Path) -> None:
    (project / "kernel_cases.py").unlink()
    (project / "kernel.py").write_text(
        "import nkilab\n\n\ndef k(x):\n    return x\n\n\n"
        "CASES = (nkilab.Case(kernel=k, inputs=lambda axes, rng: (1,), reference=k),)\n"
    )
    with pytest.raises(UsageError, match="not the file that was asked for"):
        measure(Point(file=str(project / "kernel.py"), case="k", source="0" * 16), Settings())


def test_fingerprints_name_the_clock_and_differ_where_they_should(tmp_path: Path) -> None:
    facts = fingerprint("h1", tmp_path)
    assert (facts["clock"], facts["hardware"], facts["git"]) == (clock_hash(), "h1", None)
    other = {**facts, "driver": "2.30", "git": {"commit": "x"}}
    assert differences(facts, other) == {"driver": (facts["driver"], "2.30")}


def test_the_git_state_of_a_checkout(repository: Path) -> None:
    state = git_state(repository / "kernels")
    if state is None:
        pytest.skip("the tests do not run in a git checkout")
    assert len(state["commit"]) == 40
    assert isinstance(state["dirty"], bool)
