"""Did-you-mean: the nearest known name to one that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name most like `name`, or "" where none is near; case does not count."""
    folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    return folded[close[0]] if close else ""


def fix_for(name: str, known: Iterable[str]) -> str:
    """The `fix` of an error about an unknown name: the nearest known one, else the whole list."""
    names = sorted(known)
    near = nearest(name, names)
    if near:
        return f"did you mean {near}?"
    return "one of " + ", ".join(names) if names else ""
