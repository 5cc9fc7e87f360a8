"""What the simulator has of each operation of NKI, read off the code: status, engines, generations, documentation."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import dataclass
from types import ModuleType

from . import isa as _instructions
from .instruction import Instruction
from .levels import ADDED, REMOVED
from .nki import collectives, isa, language
from .tested import TESTS

GENERATIONS = {2: "trn1", 3: "trn2", 4: "trn3"}
_PAGES = "https://awsdocs-neuron.readthedocs-hosted.com/en/latest/nki/api/generated/"
_ORDER = "floats are added rank by rank in the order of the list"
_ASSUMES = {
    "all_reduce": _ORDER,
    "reduce_scatter": _ORDER,
    "get_nc_sub_version": "the first revision of each generation (0)",
}
_MODULES = {"nki.isa": isa, "nki.collectives": collectives, "nki.language": language}


@dataclass(frozen=True, slots=True)
class Operation:
    """One function of NKI.

    Attributes:
        name: full name.
        status: `supported`, `untested` (the documentation leaves its values open) or `unsupported`.
        tests: tests that compare every element of its results with NumPy (and torch, where that has it) written from its
            page; `nki.language` is made of instructions, and has none of its own here.
        confidence: `documented` where its values follow from the page, `assumed` where the page leaves something open.
        assumes: what is open, and how it is decided here.
        engines: engines that may run it, best first; empty for DMA and for functions that are no instruction.
        dma: whether DMA engines move its data.
        generations: targets that have it.
        since: API level that added it, "" for 0.6 and older.
        documentation: its page in the vendor's reference.
    """

    name: str
    status: str
    tests: tuple[str, ...]
    confidence: str
    assumes: str
    engines: tuple[str, ...]
    dma: bool
    generations: tuple[str, ...]
    since: str
    documentation: str


def operations(nki: str = "0.7") -> tuple[Operation, ...]:
    """Every function of `nki.isa`, `nki.collectives` and `nki.language` at an API level, by module and name."""
    known = _descriptions()
    found = []
    for prefix, module in _MODULES.items():
        for name in sorted(public_functions(module)):
            later, gone = name in ADDED.get(prefix, ()), name in REMOVED.get(prefix, ())
            if (later and nki == "0.6") or (gone and nki != "0.6"):
                continue
            what = known.get(name) if prefix == "nki.isa" else None
            missing = getattr(getattr(module, name), "nkilab_missing", False)
            found.append(_operation(prefix, name, what, missing=missing, since="0.7" if later else ""))
    return tuple(found)


def public_functions(module: ModuleType) -> tuple[str, ...]:
    """Names of the functions that a module of `nki` offers to kernels."""
    return tuple(
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and inspect.isfunction(value) and "simulator" in value.__module__
    )


def _operation(prefix: str, name: str, what: Instruction | None, *, missing: bool, since: str) -> Operation:
    status = "unsupported" if missing else "supported" if what is None else what.confidence
    first = 2 if what is None else what.since
    engines = () if what is None else what.engines
    assumes = _ASSUMES.get(name, "") if what is None else what.assumes
    return Operation(
        name=f"{prefix}.{name}",
        status=status,
        tests=TESTS.get(f"{prefix}.{name}", ()),
        confidence="assumed" if assumes else "documented",
        assumes=assumes,
        engines=engines,
        dma=what is not None and not engines,
        generations=tuple(label for number, label in GENERATIONS.items() if number >= first),
        since=since,
        documentation=f"{_PAGES}{prefix}.{name}.html",
    )


def _descriptions() -> dict[str, Instruction]:
    """The description of every instruction, by the name of its function."""
    found: dict[str, Instruction] = {}
    for entry in pkgutil.iter_modules(_instructions.__path__):
        module = importlib.import_module(f"{_instructions.__name__}.{entry.name}")
        found |= {value.api: value for value in vars(module).values() if isinstance(value, Instruction)}
    return found
