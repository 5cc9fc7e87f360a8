"""The two sides of a comparison: stored sets, git revisions in worktrees, SDKs by their Python."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nkilab
from nkilab.bench import store
from nkilab.bench.compare import same_clock
from nkilab.bench.environment import git, interpreter
from nkilab.bench.executors import Inline
from nkilab.bench.point import Point, Settings
from nkilab.bench.session import record
from nkilab.bench.sources import source_hash
from nkilab.bench.statistics import Rule
from nkilab.bench.store import ResultSet
from nkilab.errors import InputError, UsageError

GIT, PYTHON = "git:", "python:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to measure for a side that is not a stored set: the words of `nkilab bench` after the command's name."""

    kernels: tuple[str, ...]
    options: tuple[str, ...] = ()


def side(reference: str, asked: Asked, folder: Path) -> ResultSet:
    """The set that a side means: a stored one, or `git:REVISION` or `python:PATH`, which are measured now.

    Raises:
        UsageError: no such set, revision or kernel.
        InputError: the measurement left no set.
    """
    if not reference.startswith((GIT, PYTHON)):
        return store.find(reference, folder)
    if not asked.kernels:
        raise UsageError(f"{reference} says where, not what", fix="--kernel FILE.py[:CASE]")
    if reference.startswith(PYTHON):
        words = ("--backend", "trn", "--runner-python", reference.removeprefix(PYTHON))
        return _measured(asked, words, Path.cwd(), folder.resolve())
    revision = reference.removeprefix(GIT)
    with worktree(Path.cwd(), revision) as (root, inside):
        there = replace(asked, kernels=tuple(k for k in asked.kernels if _exists(k, root / inside)))
        if not there.kernels:
            return _nothing(revision)
        return _measured(there, ("--backend", "sim"), root / inside, folder.resolve(), _own_checkout(root))


def _exists(kernel: str, folder: Path) -> bool:
    """Whether a revision has a kernel's file; one that this folder has not either is left to `nkilab bench` to refuse."""
    file, _, _ = kernel.partition(":")
    return (folder / file).is_file() or not Path(file).is_file()


def _nothing(revision: str) -> ResultSet:
    """The set of a revision that has none of the kernels: every point is added, or removed, against it."""
    made = datetime.now(UTC).isoformat()
    return ResultSet(id=f"git:{revision}", made=made, command="", fingerprint={}, settings={})


@contextmanager
def worktree(here: Path, revision: str) -> Iterator[tuple[Path, Path]]:
    """A checkout of a revision in a temporary folder, and where `here` lies in it; gone afterwards.

    Raises:
        UsageError: not in a git checkout, or no such revision.
    """
    root = git(here, "rev-parse", "--show-toplevel")
    if root is None:
        raise UsageError(f"{here} is in no git checkout")
    commit = git(here, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if not commit:
        raise UsageError(f"there is no revision {revision!r}", fix="fetch it (in CI: fetch-depth: 0)")
    with tempfile.TemporaryDirectory(prefix="nkilab-worktree-") as temporary:
        place = Path(temporary).resolve() / "tree"
        if git(Path(root), "worktree", "add", "--detach", "--quiet", str(place), commit) is None:
            raise UsageError(f"git cannot check out {revision} beside this checkout")
        try:
            yield place, here.resolve().relative_to(Path(root).resolve())
        finally:
            git(Path(root), "worktree", "remove", "--force", str(place))


def _own_checkout(root: Path) -> Path | None:
    """The root where it is a checkout of nkilab, which then measures its own kernels; compare refuses other clocks."""
    return root if (root / "nkilab" / "discover.py").is_file() else None


def _measured(
    asked: Asked, words: Sequence[str], folder: Path, results: Path, nkilab_root: Path | None = None
) -> ResultSet:
    """Run `nkilab bench` in a folder with this nkilab, or that of `nkilab_root`, and read the set that it stored."""
    command = (
        interpreter(),
        "-P",
        "-m",
        "nkilab",
        "bench",
        *asked.kernels,
        *asked.options,
        *words,
        "--store",
        str(results),
        "--json",
    )
    # This nkilab measures both sides: -P leaves out whatever lies in the folder.
    root = nkilab_root or Path(nkilab.__file__).resolve().parent.parent
    paths = [str(root), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    try:
        answer = json.loads(done.stdout)
        return store.read(Path(answer["data"]["folder"]))
    except (ValueError, KeyError, TypeError) as error:
        said = _said(done.stdout) or next(iter(done.stderr.strip().splitlines()), f"status {done.returncode}")
        raise InputError(f"measuring in {folder} left no result set: {said}") from error


def _said(output: str) -> str:
    """What an error of nkilab as JSON says, "" where it is none."""
    try:
        return str(json.loads(output)["error"]["what"])
    except (ValueError, KeyError, TypeError):
        return ""


def remodelled(old: ResultSet, new: ResultSet, folder: Path) -> ResultSet:
    """The old set modelled again with today's clock, from sources that are still the same; itself where clocks agree.

    Raises:
        UsageError: a source is gone or has changed, so that today's clock cannot see what was measured.
    """
    modelled = {row.kind for s in (old, new) for row in s.rows if row.kind} == {"modelled"}
    if not modelled or same_clock(old, new):
        return old
    points = []
    for row in old.rows:
        path = Path(row.file)
        if not path.is_file() or source_hash(path) != row.source:
            raise UsageError(
                f"{row.label}: its source is not there any more as it was, so it cannot be modelled again",
                values=f"{path}, sources {row.source}",
                fix=f"compare git:{(old.fingerprint.get('git') or {}).get('commit', 'REVISION')[:12]} instead",
            )
        points.append(Point(file=row.file, case=row.case, axes=row.axes, meta=row.meta, source=row.source))
    return record(
        points, _settings(new.settings), Inline(), folder=folder, name="", command=f"remodelled from {old.id}"
    )


def _settings(stored: Any) -> Settings:
    """The settings that a stored set was measured with, without its folder."""
    known = {f.name for f in fields(Settings)} & set(stored)
    return replace(Settings(**{**{n: stored[n] for n in known}, "rule": Rule(**stored["rule"])}), work=None)
