"""What is missing or suspect on this machine: the decoy `nki`, versions, extras, the vendor's tools."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from nkilab.errors import UsageError
from nkilab.finder import DecoyError, refuse_placeholder
from nkilab.profiler.analyses.doctor_row import Row

if TYPE_CHECKING:
    from nkilab.profiler.analyses.doctor import Doctor

OLDEST, NEWEST = (3, 11), (3, 14)
TOOLS = ("neuron-explorer", "neuron-profile", "neuronx-cc", "neuron-ls")
TARGET = "NEURON_PLATFORM_TARGET_OVERRIDE"
EXTRAS = {
    "notebook": "notebooks and the timeline widget",
    "torch": "torch tensors in and out",
    "cluster": "tuning on a dask cluster",
}
_REQUIREMENT = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?\s*(?:>=\s*([0-9.]+))?[^;]*(?:;(.*))?")
_EXTRA = re.compile(r"""extra\s*==\s*["']([a-z]+)["']""")


def environment() -> Doctor:
    """Every check of this machine, worst first."""
    from nkilab.profiler.analyses.doctor import Doctor

    return Doctor.of([*_python(sys.version_info[:2]), *_nki(), *_packages(_requirements()), *_tools(), *_target()])


def _python(version: tuple[int, ...]) -> Iterator[Row]:
    """Python's version."""
    said = ".".join(map(str, version))
    if not OLDEST <= version <= NEWEST:
        level = "wrong" if version < OLDEST else "suspect"
        yield Row(level, "Python", f"Python {said}; nkilab is tested on 3.11 to 3.14", "make a venv with one of these")
    else:
        yield Row("note", "Python", f"Python {said}", "")


def _nki() -> Iterator[Row]:
    """What `import nki` gives: the vendor's package, the simulator, or the placeholder of that name."""
    found = PathFinder.find_spec("nki")
    if found is None or found.origin is None:
        yield Row("note", "nki", "import nki gives nkilab's simulator: the vendor's package is not installed", "")
        return
    try:
        refuse_placeholder(found)
    except DecoyError as error:
        yield Row("wrong", "decoy nki", f"{error.what}: {error.rule}", error.fix)
        return
    said = f"import nki gives the vendor's package {version_of('nki') or 'of unknown version'} at {found.origin}"
    yield Row("note", "nki", f"{said}; nkilab.simulate uses the simulator all the same", "")


def version_of(package: str) -> str | None:
    """The installed version of a package, None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _requirements() -> list[str]:
    """What nkilab asks for: the installed metadata, else the checkout's pyproject.toml."""
    try:
        return metadata.requires("nkilab") or []
    except metadata.PackageNotFoundError:
        pass
    try:
        project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    except (OSError, KeyError, ValueError):
        return []
    extras = project.get("optional-dependencies", {})
    return [*project.get("dependencies", []), *(f'{one}; extra == "{name}"' for name in extras for one in extras[name])]


def _packages(requirements: Iterable[str]) -> Iterator[Row]:
    """Packages that are older than they must be, and extras that are not installed."""
    base: list[str] = []
    lacking: dict[str, list[str]] = {}
    for text in requirements:
        match = _REQUIREMENT.match(text)
        name, least, marker = match.groups() if match else ("", None, None)
        extra = _EXTRA.search(marker or "")
        have = version_of(name) if name else None
        if have and least and _numbers(have) < _numbers(least):
            level, check = ("wrong", "placeholder") if extra and extra[1] == "trn" else ("suspect", "old package")
            yield Row(level, check, f"{name} {have}, nkilab needs {least}", _index(name, extra and extra[1]))
        elif have is None and extra and extra[1] in EXTRAS:
            lacking.setdefault(extra[1], []).append(name)
        elif have and not extra:
            base.append(f"{name} {have}")
    if base:
        yield Row("note", "packages", ", ".join(base), "")
    for extra_name, names in lacking.items():
        what = f"{EXTRAS[extra_name]} need {', '.join(names)}"
        yield Row("note", f"extra {extra_name}", what, f"pip install 'nkilab[{extra_name}]'")


def _index(name: str, extra: str | None) -> str:
    """How to get a package that is new enough; the vendor's are not on PyPI, placeholders of their names are."""
    if extra == "trn":
        return f"pip uninstall {name}, and install it from the index that AWS's Neuron setup guide names"
    return f"pip install --upgrade {name}"


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with."""
    leading = re.match(r"[0-9.]*", version)
    return tuple(int(part) for part in (leading[0] if leading else "").split(".") if part)


def _tools() -> Iterator[Row]:
    """The vendor's tools; nothing here needs them."""
    found = [f"{name} at {path}" for name in TOOLS if (path := shutil.which(name))]
    if found:
        yield Row("note", "vendor's tools", ", ".join(found), "")
    else:
        what = f"none of {', '.join(TOOLS)} is on PATH: not needed to simulate or to read profiles"
        yield Row("note", "vendor's tools", what, "--with-vendor-tool, bench on trn and preflight need them")


def _target() -> Iterator[Row]:
    """The generation that the environment asks for."""
    from nkilab.hardware import load

    wanted = os.environ.get(TARGET)
    if not wanted:
        return
    try:
        yield Row("note", "target", f"{TARGET}={wanted}: kernels are simulated for {load(wanted).name}", "")
    except UsageError as error:
        yield Row("wrong", "target", f"{TARGET}={wanted}: {error.what}", error.fix or "trn1, trn2 or trn3")
