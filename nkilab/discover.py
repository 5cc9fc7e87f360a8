"""Find kernels and cases in files: `"file.py:kernel"`, `CASES` in that file or in its sibling `<stem>_cases.py`."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import linecache
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import nkilab
from nkilab.case import Case
from nkilab.errors import InputError, Location, NkilabError, UsageError
from nkilab.suggest import fix_for

_PACKAGE = Path(__file__).resolve().parent


def split(target: str) -> tuple[Path, str]:
    """`"file.py:kernel"` as path and name; the name is "" where none is given.

    Raises:
        UsageError: there is no such file, or it is not Python.
    """
    path_text, colon, name = target.rpartition(":")
    if not colon or name.endswith(".py") or "/" in name or "\\" in name:
        path_text, name = target, ""
    path = Path(path_text)
    if not path.is_file():
        raise UsageError(f"there is no file {path_text}", fix=_near_file(path) or "give a kernel as FILE.py:KERNEL")
    if path.suffix != ".py":
        raise UsageError(f"{path_text} is not a Python file", fix="give a kernel as FILE.py:KERNEL")
    return path.resolve(), name


def load_file(path: Path) -> ModuleType:
    """The module of a Python file, imported once and again when the file has changed since.

    A file of nkilab's own folders is the module `nkilab.<folder>.<stem>`, never a second copy of it. Any other is
    imported by its place in its package, with the package's parent folder last on `sys.path`.

    Raises:
        InputError: the file cannot be imported; says at which line and why.
    """
    name = _own_name(path)
    with _reporting(path):
        return importlib.import_module(name) if name else _import_users(path)


def kernel_named(target: str) -> Callable[..., Any]:
    """The kernel of `"file.py:kernel"`.

    Raises:
        UsageError: the file or the name does not exist; says what the file has.
    """
    path, name = split(target)
    module = load_file(path)
    found: Callable[..., Any] | None = getattr(module, name, None) if name else None
    if callable(found):
        return found
    names = functions_in(module)
    if not name:
        raise UsageError(f"{path.name} needs a kernel's name", values="it has " + ", ".join(names), fix=f"{path}:NAME")
    raise UsageError(f"{path.name} has no kernel {name!r}", fix=fix_for(name, names))


def functions_in(module: ModuleType) -> tuple[str, ...]:
    """Names of the public functions that a module defines itself, kernels first."""
    own = {
        name: value
        for name, value in vars(module).items()
        if callable(value) and not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
    }
    kernels = [name for name, value in own.items() if not isinstance(value, type(functions_in) | type)]
    return tuple(kernels or own)


def cases_in(path: Path) -> tuple[Case, ...]:
    """The cases of a kernel file: its own `CASES`, else those of `<stem>_cases.py` beside it; () where neither is.

    Raises:
        UsageError: `CASES` is not a sequence of Case.
    """
    for file in (path, path.with_name(f"{path.stem}_cases.py")):
        cases = getattr(load_file(file), "CASES", None) if file.is_file() else None
        if cases is None:
            continue
        if isinstance(cases, list | tuple) and all(isinstance(case, Case) for case in cases):
            return tuple(cases)
        raise UsageError(f"CASES in {file.name} must be a tuple of nkilab.Case", values=f"it is {type(cases).__name__}")
    return ()


def case_named(target: str) -> Case | None:
    """The case of `"file.py:name"`, None where the file has none of that name."""
    path, name = split(target)
    return next((case for case in cases_in(path) if case.name == name), None)


def _own_name(path: Path) -> str:
    """`nkilab.<folder>.<stem>` for a file of nkilab's own folders, else ""."""
    for entry in map(Path, nkilab.__path__):
        if not path.is_relative_to(entry):
            continue
        parts = path.relative_to(entry).with_suffix("").parts
        if entry == _PACKAGE or (len(parts) > 1 and (entry / parts[0] / "__init__.py").is_file()):
            return ".".join(("nkilab", *parts))
    return _twin_name(path)


def _twin_name(path: Path) -> str:
    """The installed module's name for the same file in a checkout that nkilab was not imported from, else "".

    Raises:
        UsageError: that checkout's file differs from the installed one, so that its name would mean two things.
    """
    checkout = path.parent.parent
    if not ((checkout / "nkilab" / "discover.py").is_file() and (checkout / "pyproject.toml").is_file()):
        return ""
    if importlib.util.find_spec(f"nkilab.{path.parent.name}") is None:
        return ""
    name = f"nkilab.{path.parent.name}.{path.stem}"
    spec = importlib.util.find_spec(name)
    if spec and spec.origin and Path(spec.origin).read_bytes() == path.read_bytes():
        return name
    raise UsageError(
        f"{path} belongs to a checkout of nkilab, but nkilab was imported from {_PACKAGE}",
        fix=f"run `python -m nkilab` in {checkout}, or install it with `pip install -e`",
    )


def _import_users(path: Path) -> ModuleType:
    root, name = path.parent, path.stem
    while (root / "__init__.py").is_file():
        root, name = root.parent, f"{root.name}.{name}"
    if str(root) not in sys.path:
        sys.path.append(str(root))
    importlib.invalidate_caches()
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None or Path(spec.origin).resolve() != path:
        # The name means another module here: keep that one, and give this file a name of its own.
        name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
        spec = importlib.util.spec_from_file_location(name, path)
    loaded, stamp = sys.modules.get(name), path.stat().st_mtime_ns
    if loaded is not None and getattr(loaded, "__nkilab_stamp__", stamp) == stamp:
        return loaded
    linecache.checkcache(str(path))
    if spec is None or spec.loader is None:
        raise ImportError(f"no loader for {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    module.__dict__["__nkilab_stamp__"] = stamp
    return module


@contextmanager
def _reporting(path: Path) -> Iterator[None]:
    """Turn what importing a file raises into an InputError at that file's line."""
    try:
        yield
    except NkilabError:
        raise
    except SyntaxError as error:
        where = Location(error.filename or str(path), error.lineno or 0)
        raise InputError(f"{path.name} is not valid Python: {error.msg}", where=where) from error
    except Exception as error:
        where = Location(str(path), line_in(path, error.__traceback__))
        raise InputError(f"cannot import {path.name}: {type(error).__name__}: {error}", where=where) from error


def line_in(path: Path, traceback: TracebackType | None) -> int:
    """The last line of `path` that a traceback passes through, 0 where it does not."""
    line = 0
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == str(path):
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line


def _near_file(path: Path) -> str:
    """A did-you-mean among the Python files of the same folder, "" where there is none."""
    if not path.parent.is_dir():
        return ""
    near = fix_for(path.name, [p.name for p in path.parent.glob("*.py")])
    return near if near.startswith("did") else ""
