"""`import nki`: the vendor's package where it is installed, else the simulator's.

`install()` puts a finder at the end of `sys.meta_path`, so a real package always wins. On PyPI the name `nki` belongs to
an unrelated placeholder; it is recognised by lacking `nki.isa` and named in an error rather than imported.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from nkilab.errors import UsageError

_SERVED = "nkilab.simulator.nki"
_ELSEWHERE = {
    "nki.isa.constants": "nkilab.simulator.constants",
    "nki.dtype": "nkilab.simulator.values.dtypes",
    "neuronxcc": "nkilab.simulator.neuronxcc",
    "neuronxcc.nki.isa.constants": "nkilab.simulator.constants",
    "neuronxcc.nki.dtype": "nkilab.simulator.values.dtypes",
}


_PACKAGES = ("nki", "nki.isa", "neuronxcc", "neuronxcc.nki", "neuronxcc.nki.isa")


def served(fullname: str) -> str:
    """The simulator's module for `nki.x`, or `neuronxcc.nki.x` (the old namespace); "" for other names."""
    if fullname in _ELSEWHERE:
        return _ELSEWHERE[fullname]
    for prefix in ("neuronxcc.nki", "nki"):
        if fullname == prefix or fullname.startswith(f"{prefix}."):
            return _SERVED + fullname.removeprefix(prefix)
    return ""


class DecoyError(UsageError, ImportError):
    """A package named `nki` is installed that is not AWS's."""

    code = "decoy-nki"


class _Alias(Loader):
    """Loads `nki.x` as the simulator's module of that name: one module under two names."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The simulator's module."""
        if spec.name == "neuronxcc":
            from nkilab.simulator.deprecated import deprecated

            deprecated("the namespace neuronxcc.nki", "nki")
        return importlib.import_module(served(spec.name))

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: the module ran when it was imported under its own name; put its own spec back."""
        own = sys.modules[module.__name__]
        module.__spec__ = ModuleSpec(own.__name__, None, is_package=hasattr(own, "__path__"))


class NkiFinder(MetaPathFinder):
    """Serves `nki`, `neuronxcc.nki` and their modules from the simulator; refuses the placeholder of the name nki."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Spec of `nki`, `neuronxcc` or a module in them; None for any other name, and where the real package is."""
        del target
        ours = served(fullname)
        if not ours:
            return None
        if "." not in fullname:
            found = PathFinder.find_spec(fullname, path)
            if found is not None and found.origin is not None:
                if fullname == "nki":
                    refuse_placeholder(found)
                return None
        try:
            known = find_spec(ours)
        except ModuleNotFoundError:
            return None
        if known is None:
            return None
        return ModuleSpec(fullname, _Alias(), is_package=fullname in _PACKAGES)


def refuse_placeholder(found: ModuleSpec) -> None:
    """Pass the vendor's package, which Python's own finders then take.

    Raises:
        DecoyError: it has no `isa` module.
    """
    folders = [Path(folder) for folder in found.submodule_search_locations or ()]
    if any((folder / "isa").is_dir() or list(folder.glob("isa.*")) for folder in folders):
        return
    raise DecoyError(
        f"the installed package nki at {found.origin} is not AWS's Neuron Kernel Interface",
        rule="PyPI's nki is an unrelated placeholder; the package index of AWS's is named in its Neuron setup guide",
        fix="pip uninstall nki, and nkilab's simulator answers to the name",
    )


def install() -> None:
    """Put the finder in place, once. Its order is first: a real package is looked for by the finder itself."""
    if not any(isinstance(finder, NkiFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, NkiFinder())


def uninstall() -> None:
    """Take the finder away again."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, NkiFinder)]


def is_real() -> bool:
    """Whether `import nki` gives the vendor's package."""
    found = PathFinder.find_spec("nki")
    return found is not None and found.origin is not None
