"""`Profile`: one run, simulated or measured, as the tables of `profiler.schema`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import polars as pl

from .conform import collect, conform, empty
from .errors import NotInProfileError
from .schema import TABLES

if TYPE_CHECKING:
    from .analyses.advice import Advice
    from .analyses.bounds import Bounds
    from .analyses.collectives import Collectives
    from .analyses.diff import Diff
    from .analyses.dma import Dma
    from .analyses.doctor import Doctor
    from .analyses.engines import Engines
    from .analyses.hierarchy import Hierarchy
    from .analyses.lines import Lines
    from .analyses.memory import Memory
    from .analyses.overlap import Overlap
    from .analyses.stalls import Stalls
    from .analyses.summary import Summary
    from .analyses.system import System
    from .views.timeline import Timeline

Frame = pl.DataFrame | pl.LazyFrame
KINDS = ("simulated", "ntff", "device-json", "summary", "parquet", "folder", "inspect")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a profile comes from.

    Attributes:
        kind: one of `KINDS`; a profile saved by nkilab keeps the kind it had.
        path: the file or folder that was read, "" for a simulation not yet saved.
        producer: version of the tool that wrote the source, "" where it does not say.
    """

    kind: str
    path: str = ""
    producer: str = ""

    @property
    def simulated(self) -> bool:
        """Whether times are modelled rather than measured."""
        return self.kind == "simulated"


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """One run as typed tables. Build it with `Profile.build` or `nkilab.load`; every method returns a new object.

    A table that the source could not fill is absent; a column that it could not fill is null. Times are float64
    nanoseconds since the start of the execution, sizes are int64 bytes.

    Attributes:
        frames: the tables, lazily; use `table` and `scan`.
        origin: where they come from.
        notes: what the reader had to say about the source.
        collected: tables read so far.
    """

    frames: Mapping[str, pl.LazyFrame]
    origin: Origin
    notes: tuple[str, ...] = ()
    collected: dict[str, pl.DataFrame] = field(default_factory=dict, repr=False)

    @classmethod
    def build(cls, tables: Mapping[str, Frame], origin: Origin, notes: tuple[str, ...] = ()) -> Profile:
        """A profile over `tables`; missing columns become null, unknown columns and tables are kept.

        Args:
            tables: table name to frame. A LazyFrame stays lazy, a DataFrame is checked now.
            origin: where the tables come from.
            notes: what a reader had to say about the source, one sentence each.

        Raises:
            SchemaError: a column cannot be brought to its type.
        """
        frames: dict[str, pl.LazyFrame] = {}
        collected: dict[str, pl.DataFrame] = {}
        for name, frame in tables.items():
            typed = conform(name, frame.lazy(), origin.path)
            if isinstance(frame, pl.DataFrame):
                collected[name] = collect(name, typed, origin.path)
                typed = collected[name].lazy()
            frames[name] = typed
        return cls(MappingProxyType(frames), origin, notes, collected)

    @property
    def names(self) -> tuple[str, ...]:
        """The tables of this profile, in the schema's order, then others."""
        known = [name for name in TABLES if name in self.frames]
        return (*known, *(name for name in self.frames if name not in TABLES))

    def has(self, name: str, *columns: str) -> bool:
        """Whether table `name` is here with at least one row and, if given, with a value in each of `columns`."""
        if name not in self.frames:
            return False
        frame = self.table(name)
        return frame.height > 0 and all(c in frame.columns and frame[c].null_count() < frame.height for c in columns)

    def scan(self, name: str) -> pl.LazyFrame:
        """Table `name`, lazily. Raises NotInProfileError like `table`."""
        if name not in self.frames:
            raise _missing(name, self.names)
        return self.collected[name].lazy() if name in self.collected else self.frames[name]

    def table(self, name: str) -> pl.DataFrame:
        """Table `name`.

        Raises:
            NotInProfileError: the source did not have it, or the schema knows no such table.
        """
        if name not in self.collected:
            self.collected[name] = collect(name, self.scan(name), self.origin.path)
        return self.collected[name]

    def rows(self, name: str) -> pl.DataFrame:
        """Table `name`, or the same columns without rows where the profile does not have it."""
        return self.table(name) if name in self.frames else empty(name)

    def with_tables(self, tables: Mapping[str, Frame | None], notes: tuple[str, ...] = ()) -> Profile:
        """The same profile with some tables replaced, added, or (None) left out, and further notes."""
        fresh = Profile.build({n: f for n, f in tables.items() if f is not None}, self.origin)
        kept = {n: f for n, f in self.frames.items() if n not in tables}
        collected = {n: f for n, f in self.collected.items() if n in kept}
        return replace(
            self,
            frames=MappingProxyType({**kept, **fresh.frames}),
            notes=(*self.notes, *notes),
            collected={**collected, **fresh.collected},
        )

    @property
    def facts(self) -> dict[str, str]:
        """The Metadata table as a dictionary: what the source says about the machine and the run."""
        table = self.rows("Metadata").select("key", "value").drop_nulls()
        return dict(zip(table["key"].to_list(), table["value"].to_list(), strict=True))

    def fact(self, key: str) -> float | None:
        """One number of `facts`, None where it is absent or not a number."""
        try:
            return float(self.facts[key])
        except (KeyError, ValueError):
            return None

    def to_parquet(self, folder: str | PathLike[str]) -> Path:
        """The same as `save`: Parquet files that other tools read."""
        return self.save(folder)

    def to_json(self) -> dict[str, Any]:
        """Every table as a list of rows, with origin and notes: plain data for small profiles."""
        from .analyses.base import plain

        tables = {name: plain(self.table(name)) for name in self.names}
        return {"origin": plain(self.origin), "notes": list(self.notes), "tables": tables}

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write one Parquet file per table and a manifest into `folder`; `nkilab.load` reads it back.

        Raises:
            UsageError: the folder holds something else, or cannot be written.
        """
        from .readers.folder import save

        return save(self, Path(folder))

    def between(self, t0_us: float, t1_us: float) -> Profile:
        """Only the time from `t0_us` to `t1_us`, microseconds since the start. See `narrow.between`."""
        from .narrow import between

        return between(self, t0_us, t1_us)

    def where(self, **wanted: str | int | tuple[int, int] | tuple[str, int]) -> Profile:
        """Only what a line, function (and all it calls), layer, loop, engine … issued. See `narrow.where`."""
        from .narrow import where

        return where(self, **wanted)

    @property
    def latency_us(self) -> float | None:
        """First start to last end of what this profile holds, us: `p.where(function="attention").latency_us`."""
        from .narrow import latency_us

        return latency_us(self)

    def sql(self, query: str) -> pl.DataFrame:
        """The result of a SQL query over the tables. See `narrow.sql`."""
        from .narrow import sql

        return sql(self, query)

    def summary(self) -> Summary:
        """The vendor's metrics. See `analyses.summary`."""
        from .analyses.summary import summary

        return summary(self)

    def engines(self) -> Engines:
        """How busy each engine was. See `analyses.engines`."""
        from .analyses.engines import engines

        return engines(self)

    def lines(self) -> Lines:
        """What each source line cost. See `analyses.lines`."""
        from .analyses.lines import lines

        return lines(self)

    def overlap(self) -> Overlap:
        """How much data movement hides behind compute. See `analyses.overlap`."""
        from .analyses.overlap import overlap

        return overlap(self)

    def stalls(self) -> Stalls:
        """Every gap of every engine and its cause. See `analyses.stalls`."""
        from .analyses.stalls import stalls

        return stalls(self)

    def dma(self) -> Dma:
        """Queues, sizes, reloads of the DMA engines. See `analyses.dma`."""
        from .analyses.dma import dma

        return dma(self)

    def memory(self) -> Memory:
        """Use of SBUF and PSUM over time. See `analyses.memory`."""
        from .analyses.memory import memory

        return memory(self)

    def bounds(self) -> Bounds:
        """A ladder of bounds and the roofline. See `analyses.bounds`."""
        from .analyses.bounds import bounds

        return bounds(self)

    def hierarchy(self) -> Hierarchy:
        """Time from layer through function and line to opcode. See `analyses.hierarchy`."""
        from .analyses.hierarchy import hierarchy

        return hierarchy(self)

    def collectives(self) -> Collectives:
        """Bandwidths and outliers of collectives. See `analyses.collectives`."""
        from .analyses.collectives import collectives

        return collectives(self)

    def diff(self, other: Profile) -> Diff:
        """What changed from this run to `other`. See `analyses.diff`."""
        from .analyses.diff import diff

        return diff(self, other)

    def advice(self) -> Advice:
        """What to change first. See `analyses.advice`."""
        from .analyses.advice import advice

        return advice(self)

    def doctor(self) -> Doctor:
        """What is missing or suspect, and what to do. See `analyses.doctor`."""
        from .analyses.doctor import doctor

        return doctor(self)

    def timeline(self, title: str = "") -> Timeline:
        """The timeline of engines and queues. See `views.timeline`."""
        from .views.timeline import Timeline

        return Timeline(self, title)

    def report(self, path: str | PathLike[str], title: str = "", *, force: bool = False) -> Path:
        """Write the self-contained page and return its path. See `views.report.write_report`."""
        from .views.report import write_report

        return write_report(self, path, title, force=force)

    def to_explorer(self, folder: str | PathLike[str], version: str = "7.4.0", *, force: bool = False) -> Path:
        """Write Parquet files of the vendor's documented schema and return the folder. See `explorer.to_explorer`."""
        from .explorer import to_explorer

        return to_explorer(self, folder, version, force=force)

    def to_perfetto(self, path: str | PathLike[str], *, force: bool = False) -> Path:
        """Write a trace that Perfetto opens and return its path. See `views.perfetto.to_perfetto`."""
        from .views.perfetto import to_perfetto

        return to_perfetto(self, path, force=force)

    def system(self) -> System:
        """Executions, launch gaps and the host. See `analyses.system`."""
        from .analyses.system import system

        return system(self)


def _missing(name: str, present: tuple[str, ...]) -> NotInProfileError:
    """The error for a table that is not here, naming the nearest one."""
    if name in TABLES:
        return NotInProfileError(
            f"{name} is not in this profile",
            values="it has " + ", ".join(present),
            rule=f"{name}: {TABLES[name].row}",
            fix="open a source that records it; `doctor` says what is missing and why",
        )
    near = difflib.get_close_matches(name, (*present, *TABLES), n=1)
    return NotInProfileError(
        f"there is no table {name!r}",
        values="this profile has " + ", ".join(present),
        fix=f"did you mean {near[0]!r}?" if near else "",
    )
