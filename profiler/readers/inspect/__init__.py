"""An inspect folder: the system trace of a process (runtime and device events, host load, framework trace)."""

from __future__ import annotations

from .reader import read

__all__ = ["read"]
