"""Deprecated spellings: they work, and a warning names what replaces them."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from .errors import OURS
from .levels import level

_PASSED = (OURS, str(Path(OURS).parent / "nkilab" / "finder.py"), "<frozen")


class NkilabDeprecationWarning(FutureWarning):
    """A spelling that NKI has deprecated; the message names its replacement. Python shows it by default."""


def deprecated(old: str, new: str, *, since: str = "") -> None:
    """Warn of a deprecated spelling at the user's line, once for each line and run.

    Args:
        old: the spelling.
        new: what replaces it.
        since: API level that deprecated it; under an older level there is no warning. Empty: every level.
    """
    if since and float(level()) < float(since):
        return
    from .context import running

    file, line = _users_line()
    context = running()
    if context is not None:
        key = ("deprecated", file, line, old)
        if key in context.reported:
            return
        context.reported.add(key)
    text = f"{old} is deprecated{f' since NKI {since}' if since else ''}; use {new}"
    warnings.warn_explicit(text, NkilabDeprecationWarning, file, line)


def _users_line() -> tuple[str, int]:
    """File and line of the innermost frame that is neither the simulator's nor the import system's."""
    frame = sys._getframe(1)  # noqa: SLF001 (frames by depth are what warnings are placed by)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PASSED):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno
