"""The interactive timeline: JSON from a profile, and the ES module and style that draw it."""

from __future__ import annotations

from .assets import script, style
from .data import pack, timeline
from .view import Timeline

__all__ = ["Timeline", "pack", "script", "style", "timeline"]
