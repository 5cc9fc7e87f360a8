"""One of several profiles in a folder: by part of its path, or by the rank, execution and core in its name."""

from __future__ import annotations

import re
from pathlib import Path

from nkilab.errors import UsageError

from .detect import MAX_CANDIDATES, candidates
from .ntff.names import CaptureName, parse
from .source import is_folder, shown

MAX_LISTED = 50
_TERM = re.compile(r"(rank|exec|core|session)=(\d{1,9})")
_FIELD = {"rank": "rank", "exec": "execution", "core": "core", "session": "session"}


def choose(path: Path, select: str) -> Path:
    """The one profile in the folder `path` that `select` names.

    Args:
        path: a folder; the NTFFs in an inspect folder count too.
        select: parts separated by commas, each part of the profile's path ("json"), or what its name says of it
            ("rank=3", "exec=2", "core=0", "session=1"). A whole relative path always names one.

    Raises:
        UsageError: none, or more than one; the error lists them.
    """
    found = candidates(path, inside=True) if is_folder(path) else []
    whole = [one for one in found if one.relative_to(path).as_posix() == select]
    terms = [term.strip() for term in select.split(",") if term.strip()]
    fit = whole or [one for one in found if all(_fits(path, one, term) for term in terms)]
    if len(fit) == 1:
        return fit[0]
    if not found:
        raise UsageError(f"select={select!r}: {path} is no folder with profiles", fix="leave select away")
    what = f"{len(fit)} profiles in {path} fit" if fit else f"no profile in {path} fits"
    raise UsageError(f"select={select!r}: {what}", fix="select one of them:\n" + listed(fit or found))


def several(path: Path) -> UsageError:
    """The error for a folder with several profiles: how each is named."""
    found = candidates(path)
    more = " or more" if len(found) == MAX_CANDIDATES else ""
    return UsageError(
        f"{shown(path)} holds {len(found)}{more} profiles",
        rule="--select (select= in Python) takes part of a path, or rank=, exec=, core= as in the names",
        fix="select one of them, or give its path:\n" + listed(found),
    )


def listed(found: list[Path]) -> str:
    """Profiles by file and name, those of one run together, with rank, execution and core."""
    order = sorted(found, key=lambda one: (str(one.parent), parse(one.name).stem, _numbers(parse(one.name))))
    names = [shown(one).replace("\n", "\\n") + _said(parse(one.name)) for one in order[:MAX_LISTED]]
    lines = [f"    {name}" for name in names]
    return "\n".join(lines + ([f"    and {len(order) - MAX_LISTED} more"] if len(order) > MAX_LISTED else []))


def _fits(path: Path, one: Path, term: str) -> bool:
    """Whether one term describes a profile."""
    if match := _TERM.fullmatch(term):
        number: int | None = getattr(parse(one.name), _FIELD[match[1]])
        return number == int(match[2])
    return term in one.relative_to(path).as_posix()


def _numbers(name: CaptureName) -> tuple[int, ...]:
    """Unnumbered before numbered."""
    return tuple(-1 if part is None else part for part in (name.rank, name.execution, name.core, name.session))


def _said(name: CaptureName) -> str:
    """The numbers in a name, as words."""
    parts = (("rank", name.rank), ("execution", name.execution), ("core", name.core), ("session", name.session))
    words = ", ".join(f"{word} {number}" for word, number in parts if number is not None)
    return f"  ({words})" if words else ""
