"""What a user names as the kernel to measure: a file, a case in it, or a case of nkilab's own kernels."""

from __future__ import annotations

from pathlib import Path

import nkilab
from nkilab.case import Case
from nkilab.discover import cases_in, split
from nkilab.errors import UsageError
from nkilab.suggest import fix_for


def targets(text: str) -> tuple[Path, tuple[Case, ...]]:
    """`FILE.py` (all its cases), `FILE.py:CASE`, or the bare name of a case or file of nkilab's own kernels.

    Raises:
        UsageError: no such file or case, or a file without CASES.
    """
    if ".py" not in text and not Path(text).exists():
        return _own(text)
    path, name = split(text)
    cases = cases_in(path)
    if not cases:
        raise UsageError(f"{path.name} has no CASES", fix=f"write CASES in it, or in {path.stem}_cases.py beside it")
    chosen = tuple(case for case in cases if name in {"", case.name})
    if not chosen:
        raise UsageError(f"{path.name} has no case {name!r}", fix=fix_for(name, [case.name for case in cases]))
    return path, chosen


def _own(name: str) -> tuple[Path, tuple[Case, ...]]:
    """A case of nkilab's own kernels by its name, first in the file of that name; or all cases of that file."""
    files = own_files()
    if name in files:
        cases = cases_in(files[name])
        return files[name], tuple(case for case in cases if case.name == name) or cases
    known: list[str] = list(files)
    for path in files.values():
        cases = cases_in(path)
        known += [case.name for case in cases]
        found = tuple(case for case in cases if case.name == name)
        if found:
            return path, found
    raise UsageError(f"there is no kernel {name!r}", fix=f"{fix_for(name, set(known))}; or give FILE.py[:CASE]")


def own_files() -> dict[str, Path]:
    """The kernel files of nkilab itself that have cases, by stem."""
    folders = [Path(entry) / "kernels" for entry in nkilab.__path__]
    found = (path for folder in folders for path in sorted(folder.glob("*_cases.py")))
    stems = {path.stem.removesuffix("_cases"): path for path in found}
    return {stem: path.with_name(f"{stem}.py").resolve() for stem, path in stems.items()}
