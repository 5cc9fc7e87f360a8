"""nkilab: simulate, check, time and profile AWS Trainium NKI kernels.

The names below are looked up when first used, so that `import nkilab` is quick. Importing nkilab also puts the finder
in place that lets `import nki` resolve to the simulator where the vendor's package is not installed.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from nkilab.version import VERSION as __version__

if TYPE_CHECKING:
    from nkilab.case import Case as Case
    from nkilab.errors import InputError as InputError
    from nkilab.errors import NkilabError as NkilabError
    from nkilab.errors import UsageError as UsageError

_PUBLIC = {
    "Case": "nkilab.case",
    "InputError": "nkilab.errors",
    "NkilabError": "nkilab.errors",
    "UsageError": "nkilab.errors",
}

__all__ = ["Case", "InputError", "NkilabError", "UsageError", "__version__"]


def __getattr__(name: str) -> object:
    """Import the module that holds a public name when the name is first used."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'nkilab' has no attribute {name!r}")
    value: object = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


# In a checkout the folders stand beside this one: let `nkilab.kernels` and the others be found there.
_root = Path(__file__).resolve().parent.parent
if (_root / "pyproject.toml").is_file() and str(_root) not in __path__:
    __path__.append(str(_root))

if find_spec("nkilab.finder") is not None:
    import_module("nkilab.finder").install()
