"""File names of captures: which execution, rank and core a file is of, and which files belong together."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_PART = re.compile(r"_(exec|rank|vnc|nc|session|instid)_(\d{1,9})(?=_|\.|$)")


@dataclass(frozen=True, slots=True, order=True)
class CaptureName:
    """What a file's name says; None where it says nothing.

    Attributes:
        stem: the name without these parts and without its suffix: files of one run share it.
    """

    stem: str
    rank: int | None = None
    execution: int | None = None
    core: int | None = None
    session: int | None = None


def parse(name: str) -> CaptureName:
    """The parts of names such as profile_rank_3_exec_2.ntff or 10001_instid_0_vnc_4.ntff."""
    base = name.rpartition(".")[0] or name
    found = {key: int(value) for key, value in _PART.findall(base)}
    core = found.get("vnc", found.get("nc"))
    return CaptureName(_PART.sub("", base), found.get("rank"), found.get("exec"), core, found.get("session"))


def group(names: Iterable[str]) -> dict[str, list[str]]:
    """File names by what they share, each group in order of rank, execution, core and session."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(parse(name).stem, []).append(name)
    return {stem: sorted(group, key=_order) for stem, group in sorted(groups.items())}


def _order(name: str) -> tuple[int, ...]:
    """Unnumbered before numbered."""
    one = parse(name)
    return tuple(-1 if part is None else part for part in (one.rank, one.execution, one.core, one.session))
