"""The `nki` package as kernels import it, served under that name where the vendor's package is not installed."""

from ..jit import Kernel, jit, simulate
from ..missing import unknown_name as _unknown_name
from ..values import dtypes as dtype
from . import collectives, compiler, isa, language, typing

__version__ = "0.7.0"

__all__ = ["Kernel", "collectives", "compiler", "dtype", "isa", "jit", "language", "simulate", "typing"]


def __getattr__(name: str) -> object:
    raise _unknown_name("nki", name, __all__)
