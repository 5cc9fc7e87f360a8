"""NEFF, the compiled program: identity, tensors, semaphores and debug information, read in memory."""

from __future__ import annotations

from .find import find_neff
from .program import Neff, read

__all__ = ["Neff", "find_neff", "read"]
