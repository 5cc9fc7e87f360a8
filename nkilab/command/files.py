"""Where a command writes: `./nkilab-out/` or `--out`, never over something silently."""

from __future__ import annotations

import itertools
import webbrowser
from pathlib import Path

from nkilab.errors import UsageError

FOLDER = Path("nkilab-out")


def place(out: Path | None, name: str, *, force: bool) -> Path:
    """The path to write: `out` where given, else `name` in `./nkilab-out/`, numbered where that is taken.

    Raises:
        UsageError: `out` exists and `force` is not set.
    """
    if out is not None:
        if out.exists() and not force:
            raise UsageError(f"{out} exists", fix="--force overwrites it, another --out leaves it")
        out.parent.mkdir(parents=True, exist_ok=True)
        return out
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / name
    if force:
        return path
    numbered = (path.with_name(f"{path.stem}-{n}{path.suffix}") for n in itertools.count(2))
    return path if not path.exists() else next(p for p in numbered if not p.exists())


def show(path: Path) -> None:
    """Open a file in the browser."""
    webbrowser.open(path.resolve().as_uri())
