"""nkilab: simulate, check, time and profile AWS Trainium NKI kernels.

The names below are looked up when first used, so that `import nkilab` is quick. Importing nkilab also puts the finder
in place that lets `import nki` resolve to the simulator where the vendor's package is not installed.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from nkilab.version import VERSION

__version__ = VERSION

if TYPE_CHECKING:
    from nkilab.arrays import Array as Array
    from nkilab.arrays import dtype as dtype
    from nkilab.case import Case as Case
    from nkilab.errors import InputError as InputError
    from nkilab.errors import NkilabError as NkilabError
    from nkilab.errors import UsageError as UsageError
    from nkilab.hardware import Policy as Policy
    from nkilab.profiler import Profile as Profile
    from nkilab.profiler.fleet import Fleet as Fleet
    from nkilab.profiler.fleet import load_ranks as load_ranks
    from nkilab.profiler.sample import sample as sample
    from nkilab.run import Run as Run
    from nkilab.run import load as load
    from nkilab.simulation import simulate as simulate
    from nkilab.simulator import Finding as Finding
    from nkilab.simulator import KernelError as KernelError
    from nkilab.simulator import Sim as Sim
    from nkilab.simulator import per_rank as per_rank

_PUBLIC = {
    "Array": "nkilab.arrays",
    "Case": "nkilab.case",
    "Finding": "nkilab.simulator",
    "Fleet": "nkilab.profiler.fleet",
    "InputError": "nkilab.errors",
    "KernelError": "nkilab.simulator",
    "NkilabError": "nkilab.errors",
    "Policy": "nkilab.hardware",
    "Profile": "nkilab.profiler",
    "Run": "nkilab.run",
    "Sim": "nkilab.simulator",
    "UsageError": "nkilab.errors",
    "dtype": "nkilab.arrays",
    "load": "nkilab.run",
    "load_ranks": "nkilab.profiler.fleet",
    "sample": "nkilab.profiler.sample",
    "per_rank": "nkilab.simulator",
    "simulate": "nkilab.simulation",
}

__all__ = [
    "Array",
    "Case",
    "Finding",
    "Fleet",
    "InputError",
    "KernelError",
    "NkilabError",
    "Policy",
    "Profile",
    "Run",
    "Sim",
    "UsageError",
    "__version__",
    "dtype",
    "load",
    "load_ranks",
    "per_rank",
    "sample",
    "simulate",
]


def __getattr__(name: str) -> object:
    """Import the module that holds a public name when the name is first used."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'nkilab' has no attribute {name!r}")
    value: object = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(_shell: object) -> None:
    """`%load_ext nkilab`: importing this module has put the finder for `import nki` in place."""


# In a checkout the folders stand beside this one: let `nkilab.kernels` and the others be found there.
_root = Path(__file__).resolve().parent.parent
if (_root / "pyproject.toml").is_file() and str(_root) not in __path__:
    __path__.append(str(_root))

if find_spec("nkilab.finder") is not None:
    import_module("nkilab.finder").install()
