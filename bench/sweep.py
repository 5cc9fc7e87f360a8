"""Many points: planned, run wherever the executor runs them, kept when interrupted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nkilab.bench.axes import Space, full, pairwise
from nkilab.bench.executors import Executor
from nkilab.bench.measure import measure
from nkilab.bench.point import Point, Row, Settings
from nkilab.bench.sources import source_hash


@dataclass(frozen=True, slots=True)
class Sweep:
    """The rows that finished, in the order of their points, and whether Ctrl-C cut the rest off."""

    rows: tuple[Row, ...]
    interrupted: bool


def plan(file: Path, names: Sequence[str], axes: Space, meta: Space, *, pairs: bool = False) -> list[Point]:
    """A point for every case and every combination of axes and meta-parameters, or for a pairwise choice of them."""
    source = source_hash(file)
    keys = {
        **{("axis", name): values for name, values in axes.items()},
        **{("meta", name): values for name, values in meta.items()},
    }
    labels = {"/".join(key): key for key in keys}
    space = {label: keys[key] for label, key in labels.items()}
    chosen = pairwise(space) if pairs else full(space)
    return [
        Point(file=str(file), case=name, axes=_part(point, "axis/"), meta=_part(point, "meta/"), source=source)
        for name in names
        for point in chosen
    ]


def _part(point: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in point.items() if name.startswith(prefix)}


def run(
    points: Sequence[Point],
    settings: Settings,
    executor: Executor,
    done: Callable[[int, Row], None] = lambda _position, _row: None,
) -> Sweep:
    """Measure every point; `done` is called as each finishes. Ctrl-C ends the sweep and keeps what is finished."""
    rows: dict[int, Row] = {}
    interrupted = False
    try:
        for position, row in executor.run(partial(_measured, settings), points):
            rows[position] = row
            done(position, row)
    except KeyboardInterrupt:
        interrupted = True
        executor.close()  # no worker writes any more when the rows are stored
    return Sweep(tuple(rows[position] for position in sorted(rows)), interrupted)


def _measured(settings: Settings, point: Point) -> Row:
    return measure(point, settings)
