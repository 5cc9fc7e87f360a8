"""Arrows between the folders point one way (docs/contracts.md), and the folders import no more libraries than they say."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Folder: other folders of nkilab, and libraries, that its files may import. nkilab.errors may be imported by all.
ALLOWED: dict[str, tuple[set[str], set[str]]] = {
    "hardware": (set(), set()),
    "simulator": ({"hardware"}, {"numpy", "ml_dtypes"}),
    "clock": ({"hardware"}, {"numpy"}),
    "profiler": ({"hardware"}, {"numpy", "polars", "plotly", "rich"}),
    "reference": (set(), {"numpy", "ml_dtypes"}),
    "kernels": ({"kernels"}, {"nki"}),
}
# Optional libraries: the one file that imports each, only when it is used.
OPTIONAL = {
    "simulator/torch_arrays.py": {"torch"},
    "profiler/views/widget.py": {"anywidget", "traitlets"},
}
CASES = ({"", "arrays", "case", "kernels", "reference"}, {"numpy", "ml_dtypes"})


@dataclass(frozen=True)
class Import:
    """One imported module, absolute, with the place of the statement."""

    module: str
    file: Path
    line: int

    @property
    def place(self) -> str:
        return f"{self.file.relative_to(ROOT) if self.file.is_relative_to(ROOT) else self.file}:{self.line}"


def imports(file: Path, package: str) -> Iterator[Import]:
    """Every import in a file, those under `if TYPE_CHECKING` and in functions too; relative ones made absolute."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, file, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            # `from nkilab import hardware` names a folder, not an attribute.
            names = [f"nkilab.{a.name}" for a in node.names] if module == "nkilab" else [module]
            yield from (Import(name, file, node.lineno) for name in names)


def files_of(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py"))


def package_of(file: Path) -> str:
    return ".".join(("nkilab", *file.relative_to(ROOT).parent.parts))


def trespasses(folder: str, found: Import) -> bool:
    folders, libraries = ALLOWED[folder]
    if found.file.name.endswith("_cases.py"):
        folders, libraries = CASES
    top, *rest = found.module.split(".")
    if top != "nkilab":
        optional = OPTIONAL.get(found.place.partition(":")[0], set())
        return top not in sys.stdlib_module_names and top not in libraries | optional
    other = rest[0] if rest else ""
    front = other and not (ROOT / other).is_dir() and "" in folders  # a public name of nkilab, as in `nkilab.Case`
    return not (other in folders or other in {folder, "errors"} or front)


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_folder_imports_only_what_its_arrows_allow(folder: str) -> None:
    files = files_of(folder)
    assert files, f"{folder}/ has no Python files"
    wrong = [
        f"{found.place} imports {found.module}"
        for file in files
        for found in imports(file, package_of(file))
        if trespasses(folder, found)
    ]
    assert wrong == []


def test_errors_is_a_leaf() -> None:
    modules = {found.module.split(".")[0] for found in imports(ROOT / "nkilab/errors.py", "nkilab")}
    assert modules <= set(sys.stdlib_module_names)


def test_every_folder_with_code_has_its_arrows() -> None:
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders - {"nkilab", "bench"} == set(ALLOWED)


def test_nothing_imports_a_folder_as_a_top_level_package() -> None:
    folders = set(ALLOWED) | {"bench"}
    wrong = [
        f"{found.place} imports {found.module}"
        for folder in (*folders, "nkilab", "tests")
        for file in files_of(folder)
        for found in imports(file, package_of(file))
        if found.module.split(".")[0] in folders
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("folder", "line"),
    [
        ("clock", "from nkilab.simulator import execute"),
        ("simulator", "import polars"),
        ("profiler", "import nkilab.run"),
        ("profiler", "from nkilab import clock"),
        ("hardware", "from ..clock import time"),
        ("kernels", "import numpy"),
        ("kernels", "import nkilab"),
    ],
)
def test_the_check_sees_a_trespass(folder: str, line: str, tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text(f"def f():\n    {line}\n")
    assert [trespasses(folder, found) for found in imports(file, f"nkilab.{folder}")] == [True]


@pytest.mark.parametrize("line", ["import nkilab", "from nkilab.reference import matmul", "import numpy as np"])
def test_cases_may_import_what_kernels_may_not(line: str, tmp_path: Path) -> None:
    file = tmp_path / "x_cases.py"
    file.write_text(f"{line}\n")
    assert [trespasses("kernels", found) for found in imports(file, "nkilab.kernels")] == [False]
