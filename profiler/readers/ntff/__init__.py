"""NTFF, the binary device trace of Neuron (versions 4, 5 and 6), with its NEFF."""

from __future__ import annotations

from .header import refusal
from .names import CaptureName, group, parse
from .reader import read

__all__ = ["CaptureName", "group", "parse", "read", "refusal"]
