"""Which source a number depends on: hashes of a kernel with what it imports, and of the simulator and its clock."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import nkilab
from nkilab.errors import InputError

# The folders whose code decides a modelled time.
CLOCKWORK = ("hardware", "simulator", "clock")
# nkilab's own folders that hold kernels and their references: users' code in every other respect.
_KERNELS = ("kernels", "reference")


def source_hash(file: Path) -> str:
    """Sixteen digits that name a kernel's file, its `<stem>_cases.py`, and every file of the user that they import."""
    return digest(closure(file))


def closure(file: Path) -> list[Path]:
    """The file, its cases and all that they import, but not installed packages or nkilab's own machinery; sorted."""
    found: set[Path] = set()
    waiting = [file.resolve(), file.resolve().with_name(f"{file.stem}_cases.py")]
    while waiting:
        path = waiting.pop()
        if path not in found and path.is_file():
            found.add(path)
            waiting += _imported_files(path)
    return sorted(found)


def digest(files: Iterable[Path]) -> str:
    """Sixteen hexadecimal digits of names and contents; the folders do not count, so that a moved checkout is the same."""
    total = hashlib.sha256()
    for path in files:
        total.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]


@cache
def clock_hash() -> str:
    """Sixteen digits that name the code which models time: simulator, clock and hardware, tables included."""
    folders = [found for name in CLOCKWORK if (found := _folder(name))]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in {".py", ".toml"}]
    return digest(sorted(files))


def _folder(name: str) -> Path | None:
    return next((Path(entry) / name for entry in nkilab.__path__ if (Path(entry) / name).is_dir()), None)


def _imported_files(path: Path) -> Iterator[Path]:
    """Files of the user that a file imports by name, in whatever place of it."""
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError as error:
        raise InputError(f"{path.name} is not valid Python: {error.msg}", values=f"line {error.lineno}") from error
    for node in ast.walk(tree):
        for name in _names(node, path):
            origin = _origin(name, path)
            if origin is not None and owner(origin) == "user":
                yield origin


def _names(node: ast.AST, path: Path) -> list[str]:
    """Modules that an import statement may mean: `from a import b` may mean module a.b too."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        package = _package(path)
        base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
    return [base, *(f"{base}.{alias.name}" for alias in node.names)]


def _package(path: Path) -> list[str]:
    """The package a file lies in, by the `__init__.py` above it."""
    parts: list[str] = []
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return parts


def _origin(name: str, path: Path) -> Path | None:
    """The file of a module as Python would find it from `path`, None for what is built in or cannot be found."""
    top, *rest = name.split(".")
    if top in sys.stdlib_module_names:
        return None
    root = path.parents[len(_package(path))]
    beside = root.joinpath(top, *rest)
    for candidate in (beside.with_suffix(".py"), beside / "__init__.py"):
        if candidate.is_file():
            return candidate
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):
        return None
    return Path(spec.origin).resolve() if spec and spec.origin and spec.origin.endswith(".py") else None


def owner(origin: Path) -> str:
    """Whose a source file is: `nkilab` (its machinery), `user` (nkilab's own kernels too), or `library`."""
    for entry in map(Path, nkilab.__path__):
        root = entry.resolve()
        if origin.is_relative_to(root) and (first := origin.relative_to(root).parts[0]) in _own():
            return "user" if first in _KERNELS else "nkilab"
    return "library" if {"site-packages", "dist-packages"} & set(origin.parts) or not origin.is_file() else "user"


@cache
def _own() -> frozenset[str]:
    """What lies in nkilab's own folders, by first part of the path."""
    inside = {path.name for path in Path(nkilab.__path__[0]).iterdir()}
    return frozenset(inside | {"nkilab", "profiler", "bench", *CLOCKWORK, *_KERNELS})
