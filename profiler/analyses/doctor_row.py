"""One finding of `doctor`, and the type of its checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..profile import Profile


class Row(NamedTuple):
    """One finding: level ("wrong", "missing", "suspect", "note"), name of the check, what was found, what to do."""

    level: str
    check: str
    what: str
    fix: str


Rows = Iterator[Row]
Check = Callable[[Profile], Rows]
