"""Commands that ask a profile: `summary`, `engines`, `lines`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nkilab.command import options
from nkilab.command.result import Result


def summary(path: options.ProfilePath, *, neff: options.Neff = None, source_root: options.SourceRoot = None) -> Result:
    """Total time and every metric of the vendor's summary, with the vendor's names and units.

    \b
    nkilab summary profile.json
    nkilab summary nkilab-out/matmul_tiled --json
    """
    return _answer(opened(path, neff, source_root).summary())


def engines(path: options.ProfilePath, *, neff: options.Neff = None, source_root: options.SourceRoot = None) -> Result:
    """Busy time, instructions and FLOPs of every engine and of the DMA.

    \b
    nkilab engines profile.json
    """
    return _answer(opened(path, neff, source_root).engines())


def lines(path: options.ProfilePath, *, neff: options.Neff = None, source_root: options.SourceRoot = None) -> Result:
    """Time, bytes and FLOPs of every source line.

    \b
    nkilab lines nkilab-out/matmul_tiled
    """
    return _answer(opened(path, neff, source_root).lines())


COMMANDS: dict[str, Callable[..., Result]] = {"summary": summary, "engines": engines, "lines": lines}


def opened(path: Path, neff: Path | None, source_root: Path | None) -> Any:
    """The run or profile at `path`."""
    from nkilab.run import load

    return load(path, neff, source_root)


def _answer(answer: Any) -> Result:
    return Result(data=answer.to_json(), text=(answer,))
