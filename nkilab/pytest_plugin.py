"""The pytest plugin: the finder for `import nki`, the option `--nki-target`, and the fixture `case`.

A test that takes `case` runs once for each of the `CASES` of its module, or of the file that
`@pytest.mark.nki_cases("kernel.py")` names, on the simulator: it fails where outputs differ from the reference or where
the checks find something.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import nkilab

if TYPE_CHECKING:
    from nkilab.case import Case, Comparison
    from nkilab.run import Run

_VARIABLE = "NEURON_PLATFORM_TARGET_OVERRIDE"
_TARGETS = ("trn1", "trn2", "trn3", "inf2")


@dataclass(frozen=True, slots=True)
class Tested:
    """A case that ran without findings and equals its reference: the case, its run, and the comparison (None: no reference)."""

    case: Case
    run: Run
    comparison: Comparison | None


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--nki-target`."""
    group = parser.getgroup("nkilab")
    group.addoption("--nki-target", choices=_TARGETS, default=None, help="generation that kernels are simulated on")


def pytest_configure(config: pytest.Config) -> None:
    """Make the target that of every kernel called in the session, and know the marker."""
    config.addinivalue_line("markers", "nki_cases(path): the kernel file whose CASES the fixture `case` runs")
    target = config.getoption("--nki-target")
    if target:
        before = os.environ.get(_VARIABLE)
        os.environ[_VARIABLE] = target
        config.add_cleanup(lambda: _restore(before))


def _restore(before: str | None) -> None:
    os.environ.pop(_VARIABLE, None)
    if before is not None:
        os.environ[_VARIABLE] = before


def pytest_report_header() -> str:
    """The line that pytest prints about nkilab."""
    target = os.environ.get(_VARIABLE) or "trn2"
    return f"nkilab {nkilab.__version__}: `import nki` is the vendor's package where installed, else the simulator ({target})"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each case, where a test takes the fixture `case` and does not give it values itself."""
    given = (mark.args[0] for mark in metafunc.definition.iter_markers("parametrize") if mark.args)
    if "case" not in metafunc.fixturenames or any("case" in _names(names) for names in given):
        return
    definitions = metafunc._arg2fixturedefs.get("case", ())  # noqa: SLF001 (which fixture a name means is nowhere public)
    if not definitions or definitions[-1].func.__module__ != __name__:
        return
    cases = _cases(metafunc)
    metafunc.parametrize("case", cases, ids=[case.name for case in cases], indirect=True)


def _names(names: Any) -> list[str]:
    return [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)


def _cases(metafunc: pytest.Metafunc) -> tuple[Case, ...]:
    mark = next(metafunc.definition.iter_markers("nki_cases"), None)
    if mark is None:
        return tuple(getattr(metafunc.module, "CASES", ()))
    from nkilab.discover import cases_in

    path = Path(metafunc.definition.path).parent / str(mark.args[0])
    return cases_in(path.resolve())


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Tested:
    """One of the module's `CASES`, simulated on `--nki-target` and compared with its reference."""
    __tracebackhide__ = True
    given = getattr(request, "param", None)
    if given is None:
        pytest.fail("there are no CASES in this module, and no @pytest.mark.nki_cases(path)", pytrace=False)
    from nkilab.errors import NkilabError
    from nkilab.simulation import simulate_case
    from nkilab.simulator import Sim

    try:
        run, comparison = simulate_case(given, Sim(on_finding="raise"))
    except NkilabError as error:
        pytest.fail(str(error), pytrace=False)
    if comparison is not None and not comparison.passed:
        pytest.fail(f"{given.name} differs from its reference: {comparison.message or comparison}", pytrace=False)
    return Tested(given, run, comparison)
