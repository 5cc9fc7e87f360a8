"""The `nki` package as kernels import it, served under that name where the vendor's package is not installed."""

from ..jit import Kernel, jit, simulate
from ..values import dtypes as dtype
from . import collectives, compiler, isa, language, typing

__version__ = "0.7.0"

__all__ = ["Kernel", "collectives", "compiler", "dtype", "isa", "jit", "language", "simulate", "typing"]
