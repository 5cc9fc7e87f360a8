"""The interactive timeline: JSON from a profile, and the ES module and style that draw it."""

from __future__ import annotations

from .assets import script, style
from .data import pack, timeline

__all__ = ["pack", "script", "style", "timeline"]
