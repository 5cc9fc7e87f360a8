"""Writing a view to a file, never over something silently."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from nkilab.errors import UsageError


def write(path: str | PathLike[str], content: bytes, *, force: bool) -> Path:
    """Write `content` to `path`, making its folder.

    Raises:
        UsageError: the file exists and `force` is not set, or it cannot be written.
    """
    target = Path(path)
    if target.exists() and not force:
        raise UsageError(f"{target} exists", fix="give another name, or force=True (--force) to replace it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}") from error
    return target
