"""Result sets on disk: one folder each, written whole or not at all.

    nkilab-out/bench/<id>/
        set.json         schema, id, name, time, command, fingerprint, status and settings
        rows.json        the rows, exactly
        results.parquet  one row per point, flat: for polars, pandas, DuckDB
        times.parquet    one row per time: point, run, us
        artifacts/       what the runs left: profiles, NEFF, NTFF

An id is the UTC time and six digits of the content's hash; `latest`, a name, or the start of an id find a set.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from nkilab.bench.point import Row, row_from_dict, row_to_dict
from nkilab.errors import InputError, UsageError
from nkilab.suggest import fix_for

SCHEMA = "nkilab.bench.set/1"
FOLDER = Path("nkilab-out/bench")
STATUSES = ("complete", "interrupted")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultSet:
    """Rows measured together.

    Attributes:
        id: names the set in its store. name: the user's, "" where none.
        made: UTC time, ISO 8601. command: the words that made it.
        fingerprint: the environment. settings: how the points were measured.
        status: `complete`, or `interrupted` where points are missing.
        rows: one for each point. folder: where it lies, None while it does not.
    """

    id: str
    name: str = ""
    made: str
    command: str
    fingerprint: Mapping[str, Any]
    settings: Mapping[str, Any]
    status: str = "complete"
    rows: tuple[Row, ...] = ()
    folder: Path | None = field(default=None, compare=False)


def new_set(
    rows: Sequence[Row], *, name: str, command: str, fingerprint: Mapping[str, Any], settings: Any, status: str
) -> ResultSet:
    """A set made now."""
    made = datetime.now(UTC)
    text = json.dumps([made.isoformat(), *map(row_to_dict, rows)], sort_keys=True, default=str)
    ident = f"{made:%Y%m%d-%H%M%S}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
    return ResultSet(
        id=ident,
        name=name,
        made=made.isoformat(timespec="microseconds"),
        command=command,
        fingerprint=fingerprint,
        settings=asdict(settings),
        status=status,
        rows=tuple(rows),
    )


def write(results: ResultSet, store: Path, artifacts: Path | None = None) -> Path:
    """Write a set into its own folder of the store and give that folder. `artifacts` is moved into it.

    Raises:
        UsageError: the store cannot be written, or the set's name cannot be given or is taken.
    """
    place = store / results.id
    try:
        store.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=store, prefix=".writing-") as temporary:
            fresh = Path(temporary) / "set"
            fresh.mkdir()
            moved = results
            if artifacts is not None and any(artifacts.iterdir()):
                shutil.move(str(artifacts), fresh / "artifacts")
                moved = _relative(results, artifacts)
            _write_files(moved, fresh)
            with _alone(store):
                check_name(results.name, store)
                fresh.rename(place)
    except OSError as error:
        raise UsageError(f"{store} cannot be written: {error.strerror or error}") from error
    return place


def check_name(name: str, store: Path) -> None:
    """Raise UsageError where a set cannot be called so: the name means something else, or another set has it."""
    if name == "latest" or name != name.strip() or "/" in name or name.startswith(("git:", "python:")):
        raise UsageError(f"a set cannot be named {name!r}", rule="latest, git:…, python:… and paths mean other things")
    if name and any(entry.name == name for entry in log(store)):
        raise UsageError(f"{store} has a set named {name!r}", fix="give another --name")


@contextmanager
def _alone(store: Path) -> Iterator[None]:
    """Hold other writers of the store off."""
    lock = os.open(store, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _relative(results: ResultSet, folder: Path) -> ResultSet:
    """The set with its artifacts' paths relative to its folder."""
    from dataclasses import replace

    def moved(path: str) -> str:
        inside = Path(path)
        return str(Path("artifacts") / inside.relative_to(folder)) if inside.is_relative_to(folder) else path

    rows = (replace(row, artifacts={k: moved(v) for k, v in row.artifacts.items()}) for row in results.rows)
    return replace(results, rows=tuple(rows))


def _write_files(results: ResultSet, folder: Path) -> None:
    head = {name: getattr(results, name) for name in ResultSet.__slots__ if name not in {"rows", "folder"}}
    _write_json(folder / "set.json", {"schema": SCHEMA, **head})
    _write_json(folder / "rows.json", [row_to_dict(row) for row in results.rows])
    flat_table(results.rows).write_parquet(folder / "results.parquet")
    times_table(results.rows).write_parquet(folder / "times.parquet")


def _write_json(path: Path, value: Any) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, default=str)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def read(folder: Path) -> ResultSet:
    """The set in a folder.

    Raises:
        InputError: not a set, damaged, or of a newer nkilab.
    """
    try:
        head = json.loads((folder / "set.json").read_text(encoding="utf-8"))
        if head.pop("schema") != SCHEMA:
            raise InputError(f"{folder} was written by another nkilab: this one reads {SCHEMA}")
        rows = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
        return ResultSet(**head, rows=tuple(map(row_from_dict, rows)), folder=folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder} is no result set: {type(error).__name__}: {error}") from error


def log(store: Path) -> list[ResultSet]:
    """Every set of a store that can be read, oldest first."""
    return scan(store)[0]


def scan(store: Path) -> tuple[list[ResultSet], list[str]]:
    """Every set of a store, oldest first, and what is wrong with those that cannot be read."""
    sets, damaged = [], []
    for path in sorted(store.glob("[!.]*/set.json")):
        try:
            sets.append(read(path.parent))
        except InputError as error:
            damaged.append(error.what)
    return sorted(sets, key=lambda entry: (entry.made, entry.id)), damaged


def find(reference: str, store: Path) -> ResultSet:
    """The set that a reference means: a folder, `latest`, a name, an id or its beginning.

    Raises:
        UsageError: none, or several.
    """
    if (Path(reference) / "set.json").is_file():
        return read(Path(reference))
    sets, damaged = scan(store)
    if reference == "latest" and sets:
        return sets[-1]
    named = [s for s in sets if reference in {s.id, s.name}] or [s for s in sets if s.id.startswith(reference)]
    if len(named) == 1:
        return named[0]
    if named:
        raise UsageError(f"{reference!r} begins {len(named)} ids", values=", ".join(s.id for s in named))
    known = [*(s.id for s in sets), *(s.name for s in sets if s.name), "latest"]
    raise UsageError(
        f"{store} has no result set {reference!r}",
        values="; ".join(damaged),
        fix=fix_for(reference, known[-8:]) if sets else "nkilab bench makes one",
    )


def flat_table(rows: Sequence[Row]) -> pl.DataFrame:
    """One row per point with plain columns: axes as `axis_<name>` and meta-parameters as `meta_<name>`, both as text."""
    return pl.DataFrame([_flat(row) for row in rows], infer_schema_length=None) if rows else pl.DataFrame()


def _flat(row: Row) -> dict[str, Any]:
    stats, rated = row.statistics, row.efficiency
    interval = stats.interval if stats else None
    return {
        "case": row.case,
        **{f"axis_{name}": str(value) for name, value in row.axes.items()},
        **{f"meta_{name}": str(value) for name, value in row.meta.items()},
        "backend": row.backend,
        "target": row.target,
        "cores": row.cores,
        "ranks": row.ranks,
        "route": row.route,
        "kind": row.kind,
        "gated": row.gated,
        "refused": ", ".join(str(r["code"]) for r in row.refused) or None,
        "median_us": stats.median if stats else None,
        "interval_low_us": interval.low if interval else None,
        "interval_high_us": interval.high if interval else None,
        "p90_us": stats.p90 if stats else None,
        "p99_us": stats.p99 if stats else None,
        "runs": stats.count if stats else 0,
        "body_us": row.body_us,
        "modelled_low_us": row.range_us[0] if row.range_us else None,
        "modelled_high_us": row.range_us[1] if row.range_us else None,
        **{name: getattr(rated, name) if rated else None for name in ("flops", "bytes", "moved_bytes", "mfu", "mbu")},
        **{name: getattr(rated, name) if rated else None for name in ("bound", "bound_us", "gap")},
        "findings": ", ".join(sorted({str(f["code"]) for f in row.findings})) or None,
        "source": row.source,
    }


def times_table(rows: Sequence[Row]) -> pl.DataFrame:
    """One row per time: position of the point, position of the run, microseconds."""
    data = [(p, r, us) for p, row in enumerate(rows) for r, us in enumerate(row.times_us)]
    return pl.DataFrame(data, schema={"point": pl.Int64, "run": pl.Int64, "us": pl.Float64}, orient="row")


def export(results: ResultSet, path: Path) -> None:
    """Write the points as .csv, .parquet or .json, by the path's suffix.

    Raises:
        UsageError: another suffix.
    """
    table = flat_table(results.rows)
    if path.suffix == ".csv":
        table.write_csv(path)
    elif path.suffix == ".parquet":
        table.write_parquet(path)
    elif path.suffix == ".json":
        path.write_text(json.dumps([row_to_dict(row) for row in results.rows], indent=1, default=str) + "\n")
    else:
        raise UsageError(f"cannot export to {path.name}", fix="name it .csv, .parquet or .json")
