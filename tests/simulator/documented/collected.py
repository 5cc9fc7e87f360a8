"""Which test compares which operation of NKI with its page, read off the marks. `make tested` writes simulator/tested.py."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nkilab  # noqa: F401 (so that `import nki` finds the simulator)

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[2]
TABLE = ROOT / "simulator" / "tested.py"
_HEAD = '''"""The tests that compare each operation of NKI with its page: read off the tests' marks (`make tested`), for `nkilab ops`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

TESTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
'''


def marked() -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Operation, test and test function, for every mark `operation`."""
    for path in sorted(set(FOLDER.glob("test_*.py")) - {FOLDER / "test_conformance.py"}):
        module = importlib.import_module(f"tests.simulator.documented.{path.stem}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            for mark in getattr(function, "pytestmark", ()):
                if mark.name == "operation":
                    yield mark.args[0], f"{path.relative_to(ROOT).as_posix()}::{name}", function
                if mark.name == "parametrize":
                    for each in mark.args[1]:
                        for inner in getattr(each, "marks", ()):
                            yield inner.args[0], f"{path.relative_to(ROOT).as_posix()}::{name}[{each.id}]", function


def table() -> dict[str, tuple[str, ...]]:
    """The tests of every operation that has one."""
    found: dict[str, list[str]] = {}
    for operation, test, _ in marked():
        found.setdefault(operation, []).append(test)
    return {operation: tuple(sorted(found[operation])) for operation in sorted(found)}


def text() -> str:
    """The table as simulator/tested.py holds it."""
    lines = []
    for operation, tests in table().items():
        lines += [f'        "{operation}": (\n', *(f'            "{test}",\n' for test in tests), "        ),\n"]
    return _HEAD + "".join(lines) + '    }\n)\n"""Tests by the operation\'s full name."""\n'


if __name__ == "__main__":
    TABLE.write_text(text())
