"""`Fleet`: the profiles of many ranks, opened one at a time, so that memory holds one of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import polars as pl

from nkilab.errors import InputError, UsageError

from .errors import NotInProfileError
from .profile import Profile

if TYPE_CHECKING:
    from .analyses.ranks import RankOverlap, Skew, Stragglers

T = TypeVar("T")
MERGED = 8
"""Ranks that `Fleet.merged` holds at most in one profile unless they are named."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where one rank's profile lies, and how it is opened."""

    path: Path
    neff: Path | None = None
    source_root: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Fleet:
    """Profiles by rank. A profile on disk is opened when it is asked for and let go afterwards.

    Attributes:
        sources: rank to a profile in memory, or to where it lies; in order of rank.
        title: what the fleet is called in views.
    """

    sources: Mapping[int, Profile | Source]
    title: str = ""
    _order: tuple[int, ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        if not self.sources:
            raise UsageError("a fleet needs at least one rank")
        object.__setattr__(self, "_order", tuple(sorted(self.sources)))

    @classmethod
    def of(cls, profiles: Sequence[Profile] | Mapping[int, Profile], title: str = "") -> Fleet:
        """A fleet of profiles in memory, by rank; a sequence is numbered from 0.

        Raises:
            UsageError: no profile.
        """
        numbered = profiles if isinstance(profiles, Mapping) else dict(enumerate(profiles))
        return cls(dict(numbered), title)

    @property
    def ranks(self) -> tuple[int, ...]:
        """The ranks, ascending."""
        return self._order

    @property
    def simulated(self) -> bool:
        """Whether times are modelled, as the first rank says."""
        return self[self.ranks[0]].origin.simulated

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[int]:
        return iter(self._order)

    def __getitem__(self, rank: int) -> Profile:
        """The profile of one rank; read from disk at every call where it lies there."""
        if rank not in self.sources:
            raise UsageError(f"there is no rank {rank}", values=f"ranks are {_short(self.ranks)}")
        source = self.sources[rank]
        if isinstance(source, Profile):
            return source
        from .readers import read

        return read(source.path, source.neff, source.source_root)

    def only(self, *ranks: int) -> Fleet:
        """The same fleet with some of its ranks.

        Raises:
            UsageError: a rank that is not there, or none.
        """
        for rank in ranks:
            if rank not in self.sources:
                raise UsageError(f"there is no rank {rank}", values=f"ranks are {_short(self.ranks)}")
        return replace(self, sources={rank: self.sources[rank] for rank in ranks})

    def each(self, ask: Callable[[Profile], T]) -> dict[int, T]:
        """`ask` of every rank's profile, one profile in memory at a time: rank to answer."""
        return {rank: ask(self[rank]) for rank in self.ranks}

    def table(self, analysis: str) -> pl.DataFrame:
        """The rows of one analysis of every rank, with a column `rank` in front: `fleet.table("engines")`.

        Ranks for which the analysis has no answer are left out.

        Raises:
            UsageError: no such analysis.
            NotInProfileError: no rank has an answer.
        """
        parts = [part for rank in self.ranks if (part := _rows(self[rank], analysis, rank)) is not None]
        if not parts:
            raise NotInProfileError(f"{analysis} has no answer for any of {len(self)} ranks")
        return pl.concat(parts, how="diagonal_relaxed")

    def skew(self) -> Skew:
        """How far apart ranks come to each collective. See `analyses.ranks`."""
        from .analyses.ranks import skew

        return skew(self)

    def stragglers(self) -> Stragglers:
        """Which ranks the others wait for. See `analyses.ranks`."""
        from .analyses.ranks import stragglers

        return stragglers(self)

    def overlap(self) -> RankOverlap:
        """Hidden and exposed communication of every rank. See `analyses.ranks`."""
        from .analyses.ranks import rank_overlap

        return rank_overlap(self)

    def merged(self, *ranks: int) -> Profile:
        """One profile of several ranks on one time axis, for `timeline`, `report` and `to_perfetto`. See `merge`.

        Args:
            *ranks: which; the first `MERGED` where none is named.
        """
        from .merge import merge

        return merge(self.only(*(ranks or self.ranks[:MERGED])))

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write every rank's profile as `rank_<number>` into a new or empty folder; `load_ranks` reads it back.

        Raises:
            UsageError: the folder holds something, or cannot be written.
        """
        where = Path(folder)
        if where.exists() and (not where.is_dir() or any(where.iterdir())):
            raise UsageError(f"{where} exists", fix="give a new or an empty folder")
        where.mkdir(parents=True, exist_ok=True)
        for rank in self.ranks:
            self[rank].save(where / f"rank_{rank}")
        return where

    def __str__(self) -> str:
        return f"{self.title or 'fleet'}: {len(self)} ranks ({_short(self.ranks)})"


def load_ranks(folder: str | PathLike[str], source_root: str | PathLike[str] | None = None) -> Fleet:
    """The profiles in a folder as a fleet: one saved profile, NTFF, JSON or Parquet folder for each rank.

    A rank's number is what follows `rank` in the profile's file or folder name (`profile_rank_12.ntff`, `rank-3/`); where
    no name has one, profiles are numbered in the order of their names. Nothing is read before it is asked for.

    Raises:
        InputError: no profile in the folder.
        UsageError: two profiles of one rank, or only some of them with a number.
    """
    from .readers import candidates

    where = Path(folder)
    found = candidates(where) if where.is_dir() else []
    if not found:
        raise InputError(f"{where} holds no profiles", fix="give the folder that holds one profile for each rank")
    root = Path(source_root) if source_root else None
    return Fleet({rank: Source(path, None, root) for rank, path in _numbered(where, found).items()}, where.name)


_RANK = re.compile(r"rank[-_ ]?(\d+)", re.IGNORECASE)


def _numbered(where: Path, found: list[Path]) -> dict[int, Path]:
    """Profiles by rank."""
    named = {path: _RANK.findall(str(path.relative_to(where))) for path in found}
    ranks = [int(numbers[-1]) for numbers in named.values() if numbers]
    if not ranks:
        return dict(enumerate(found))
    if len(ranks) < len(found) or len(set(ranks)) < len(ranks):
        lost = [str(path) for path, numbers in named.items() if not numbers]
        twice = [str(path) for path, numbers in named.items() if numbers and ranks.count(int(numbers[-1])) > 1]
        raise UsageError(
            f"{where}: every profile needs a rank of its own",
            values="; ".join((lost + twice)[:8]),
            fix="keep one profile for each rank there, with rank_<number> in its name",
        )
    return dict(sorted(zip(ranks, found, strict=True)))


def _rows(p: Profile, analysis: str, rank: int) -> pl.DataFrame | None:
    """One rank's rows of one analysis."""
    ask = getattr(p, analysis, None)
    if analysis.startswith("_") or not callable(ask):
        raise UsageError(f"there is no analysis {analysis!r}", fix="engines, overlap, lines, stalls, collectives, …")
    try:
        rows: pl.DataFrame = ask().table()
    except NotInProfileError:
        return None
    return rows.select(pl.lit(rank, pl.Int64).alias("rank"), pl.all())


def _short(ranks: Sequence[int]) -> str:
    """Ranks as people read them: 0 to 63, or a list."""
    if len(ranks) > 2 and ranks[-1] - ranks[0] == len(ranks) - 1:
        return f"{ranks[0]} to {ranks[-1]}"
    return ", ".join(str(rank) for rank in ranks[:16]) + (" …" if len(ranks) > 16 else "")
