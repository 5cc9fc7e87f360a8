"""Points of a sweep: every combination of the axes' values, or so few that every pair of values still occurs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nkilab.arrays import scalar
from nkilab.errors import UsageError

Space = Mapping[str, Sequence[Any]]


def parse(option: str, words: Iterable[str] | None) -> dict[str, tuple[Any, ...]]:
    """`NAME=V1,V2` words as names with their values; a value that spells a number or boolean is one.

    Raises:
        UsageError: a word without name or value, a name twice, or a value twice.
    """
    space: dict[str, tuple[Any, ...]] = {}
    for word in words or ():
        name, _, text = word.partition("=")
        values = tuple(scalar(part.strip()) for part in text.split(",") if part.strip())
        if not (name and values):
            raise UsageError(f"{option} {word!r} is not NAME=VALUE[,VALUE…]", fix=f"{option} name=1,2")
        if name in space or len(set(values)) < len(values):
            raise UsageError(f"{option} {word!r} says something twice", fix=f"one {option} for each name")
        space[name] = values
    return space


def full(space: Space) -> list[dict[str, Any]]:
    """Every combination, the last axis changing fastest; one empty point where there are no axes."""
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]


def pairwise(space: Space) -> list[dict[str, Any]]:
    """Points such that every pair of values of two axes occurs in one of them; greedy, always the same.

    With fewer than three axes this is the full sweep.
    """
    if len(space) < 3:
        return full(space)
    names = tuple(space)
    open_pairs = {
        (a, x, b, y)
        for a, b in itertools.combinations(range(len(names)), 2)
        for x in space[names[a]]
        for y in space[names[b]]
    }
    points = []
    while open_pairs:
        values = _next_point(space, names, open_pairs)
        open_pairs -= {(a, values[a], b, values[b]) for a, b in itertools.combinations(range(len(names)), 2)}
        points.append(dict(zip(names, values, strict=True)))
    return points


def _next_point(space: Space, names: tuple[str, ...], open_pairs: set[tuple[int, Any, int, Any]]) -> list[Any]:
    """A point that starts from one open pair and takes, axis by axis, the value that closes most others."""
    a, x, b, y = min(open_pairs, key=lambda pair: _order(space, names, pair))
    chosen = {a: x, b: y}
    for axis, name in enumerate(names):
        if axis in chosen:
            continue

        def closed(value: Any, axis: int = axis) -> int:
            return sum(_pair(axis, value, other, taken) in open_pairs for other, taken in chosen.items())

        chosen[axis] = max(space[name], key=closed)
    return [chosen[axis] for axis in range(len(names))]


def _pair(a: int, x: Any, b: int, y: Any) -> tuple[int, Any, int, Any]:
    return (a, x, b, y) if a < b else (b, y, a, x)


def _order(space: Space, names: tuple[str, ...], pair: tuple[int, Any, int, Any]) -> tuple[int, int, int, int]:
    a, x, b, y = pair
    return a, b, space[names[a]].index(x), space[names[b]].index(y)
