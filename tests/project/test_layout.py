"""The root folders are one package: listed for installation, imported under one name, small files, documented names."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import nkilab
from nkilab.discover import load_file

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = tuple(sorted(path.parent.name for path in ROOT.glob("*/__init__.py")))
MOST_LINES = 500
LONGEST_FUNCTION = 80


def sources() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def module_name(folder: Path) -> str:
    parts = folder.relative_to(ROOT).parts
    return ".".join(parts if parts[0] == "nkilab" else ("nkilab", *parts))


def test_the_list_of_packages_is_the_folders() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    with_code = {module_name(path.parent) for path in sources()}
    assert set(settings["packages"]) == with_code
    assert settings["package-dir"] == {module_name(ROOT / folder): folder for folder in FOLDERS}


def test_every_folder_with_code_is_a_regular_package() -> None:
    assert [folder for folder in {path.parent for path in sources()} if not (folder / "__init__.py").is_file()] == []


def test_a_kernel_loaded_by_its_path_is_the_package_s_module() -> None:
    by_path = load_file(ROOT / "kernels" / "matmul.py")
    assert by_path is importlib.import_module("nkilab.kernels.matmul")


def test_no_folder_is_imported_at_the_top_level() -> None:
    code = (
        "import sys, nkilab; from nkilab.discover import cases_in; from pathlib import Path;"
        "cases_in(Path('kernels/matmul.py').resolve()); cases_in(Path('kernels/rmsnorm.py').resolve());"
        "print(*sorted(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert {"nkilab.kernels.matmul", "nkilab.reference.rmsnorm"} <= loaded
    assert loaded & set(FOLDERS) == {"nkilab"}


def test_importing_nkilab_imports_no_heavy_library() -> None:
    code = "import sys, nkilab; print(*sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"polars", "plotly", "torch", "typer", "rich", "numpy"} & set(run.stdout.split())


def test_every_public_name_is_there() -> None:
    assert [name for name in nkilab.__all__ if getattr(nkilab, name, None) is None] == []


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_files_and_functions_stay_small() -> None:
    wrong = []
    for path in sources():
        text = path.read_text()
        if text.count("\n") > MOST_LINES:
            wrong.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in functions(ast.parse(text)):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > LONGEST_FUNCTION:
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines")
    assert wrong == []


def test_public_functions_classes_and_modules_are_documented() -> None:
    wrong = []
    for path in sources():
        tree = ast.parse(path.read_text())
        if not ast.get_docstring(tree):
            wrong.append(f"{path.relative_to(ROOT)}: the module")
        wrong += [
            f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and not ast.get_docstring(node)
        ]
    assert wrong == []
