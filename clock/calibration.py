"""Refitting numbers of a hardware table to measured instructions.

The clock's own rules predict each point; the numbers they depend on are found by trying each one, and all are fitted at
once: damped least squares on the relative errors, robust against outliers, drawn weakly to the present value, so that a
number that the points hardly fix stays where it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .points import Point, known, predicted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nkilab.hardware import Hardware

    from .program import Floats

_FIXED = ("clock_ghz", "tflops", "_max", "rows", "columns")
_STEP = 0.01
_ROUNDS = 3
_DRAW = 0.03
"""Weight of the present value against one measurement, in relative errors."""
_OUTLIER = 0.05
"""From this relative error on a measurement pulls no harder: it is likely of something else, such as a wait."""
_MANY = 8
"""Instructions from which on a median is trusted fully."""
_PARTS = (0.75, 0.5, 0.25, 0.0)
"""Shares of the way from the old numbers to the fitted ones that are tried too."""
_LEAST = 0.02
"""A number to which no point reacts by this share of its own change is not fixed by them."""


@dataclass(frozen=True, slots=True)
class Number:
    """One fitted number: its value before and after, and how many measurements depend on it."""

    key: str
    before: Any
    after: Any
    points: int


@dataclass(frozen=True, slots=True)
class Fit:
    """A refitted table.

    Attributes:
        hardware: the table, with the fitted numbers of class calibrated.
        numbers: what was fitted.
        unfitted: numbers of the same engines that no measurement depends on.
        unused: points of opcodes that the clock has no cost for.
        error_before, error_after: median absolute relative error over all measurements.
    """

    hardware: Hardware
    numbers: tuple[Number, ...]
    unfitted: tuple[str, ...]
    unused: tuple[Point, ...]
    error_before: float
    error_after: float


def fit(points: Sequence[Point], hw: Hardware, source: str) -> Fit:
    """Fit the numbers of a table that these points depend on.

    Args:
        points: measured durations and intervals.
        hw: the table to start from.
        source: where the measurements come from, for the table.
    """
    used = [point for point in points if known(point)]
    keys = _candidates(hw, {point.engine for point in used})
    depends = np.abs(_jacobian(used, hw, keys)) > _LEAST if used else np.zeros((0, len(keys)), np.bool_)
    chosen = [key for key, many in zip(keys, depends.sum(0), strict=True) if many]
    counts = dict(zip(keys, depends.sum(0).tolist(), strict=True))
    table = _best(used, hw, _solve(used, hw, chosen), chosen) if chosen else hw
    before, after = (errors(used, each) for each in (hw, table))
    numbers = [Number(key, hw.source(key).value, table.source(key).value, counts[key]) for key in chosen]
    return Fit(
        hardware=table.calibrated({number.key: number.after for number in numbers}, source),
        numbers=tuple(numbers),
        unfitted=tuple(key for key in keys if key not in chosen),
        unused=tuple(point for point in points if not known(point)),
        error_before=float(np.median(np.abs(before))) if len(before) else 0.0,
        error_after=float(np.median(np.abs(after))) if len(after) else 0.0,
    )


def errors(points: Sequence[Point], hw: Hardware) -> Floats:
    """Modelled over measured, less one, of every measured duration and then of every measured interval."""
    modelled, measured = _values(points, hw), _measured(points)
    found: Floats = modelled / measured - 1.0
    return found


def held_out(points: Sequence[Point], hw: Hardware, index: int) -> tuple[float | None, float | None]:
    """Error of one point's duration and interval under a table fitted to all others."""
    rest = [point for i, point in enumerate(points) if i != index and point.engine == points[index].engine]
    table = fit(rest, hw, "leave one out").hardware
    point = points[index]
    duration, interval = predicted([point], table)
    pairs = ((duration[0], point.duration_ns), (interval[0], point.interval_ns))
    first, second = (None if measured is None else float(value / measured - 1) for value, measured in pairs)
    return first, second


def _candidates(hw: Hardware, engines: set[str]) -> list[str]:
    """Numbers of these engines that may be fitted."""
    return [
        key
        for key, source in hw.sources.items()
        if key.partition(".")[0] in engines and isinstance(source.value, float) and source.value > 0
        if not any(word in key.rpartition(".")[2] for word in _FIXED)
    ]


def _measured(points: Sequence[Point]) -> Floats:
    durations = [point.duration_ns for point in points if point.duration_ns is not None]
    intervals = [point.interval_ns for point in points if point.interval_ns is not None]
    return np.array([*durations, *intervals], np.float64)


def _values(points: Sequence[Point], hw: Hardware) -> Floats:
    duration, interval = predicted(points, hw)
    has = [np.array([value is not None for value in column], np.bool_) for column in _columns(points)]
    return np.concatenate([duration[has[0]], interval[has[1]]])


def _columns(points: Sequence[Point]) -> tuple[list[float | None], list[float | None]]:
    return [point.duration_ns for point in points], [point.interval_ns for point in points]


def _jacobian(points: Sequence[Point], hw: Hardware, keys: list[str]) -> Floats:
    """Relative change of every measurement by relative change of every number."""
    base = _values(points, hw)
    columns = [
        (_values(points, hw.replace(**{key: hw.source(key).value * (1 + _STEP)})) / base - 1) / _STEP for key in keys
    ]
    return np.array(columns).T.reshape(len(base), len(keys))


def _counts(points: Sequence[Point]) -> Floats:
    """Weight of each measurement: a median of few instructions counts for less."""
    columns = zip(*_columns(points), (point.count for point in points), strict=True)
    rows = [(duration, interval, min(count, _MANY) / _MANY) for duration, interval, count in columns]
    durations = [weight for duration, _, weight in rows if duration is not None]
    return np.array([*durations, *(weight for _, interval, weight in rows if interval is not None)])


def _best(points: Sequence[Point], hw: Hardware, fitted: Hardware, keys: list[str]) -> Hardware:
    """The table part of the way to the fitted one that misses least: points that waited may draw it too far."""
    tables = [fitted, *(_between(hw, fitted, keys, share) for share in _PARTS)]
    return min(tables, key=lambda table: float(np.minimum(np.abs(errors(points, table)), _OUTLIER).mean()))


def _between(hw: Hardware, fitted: Hardware, keys: list[str], share: float) -> Hardware:
    ends = {key: (hw.source(key).value, fitted.source(key).value) for key in keys}
    return hw.replace(**{key: float(low * (high / low) ** share) for key, (low, high) in ends.items()})


def _solve(points: Sequence[Point], hw: Hardware, keys: list[str]) -> Hardware:
    start = np.array([hw.source(key).value for key in keys])
    table, logs = hw, np.zeros(len(keys))
    for _ in range(_ROUNDS):
        miss = errors(points, table)
        weight = np.sqrt(np.minimum(1.0, _OUTLIER / np.maximum(np.abs(miss), 1e-9)) * _counts(points))
        left = np.vstack([_jacobian(points, table, keys) * weight[:, None], _DRAW * np.eye(len(keys))])
        right = np.concatenate([-miss * weight, -_DRAW * logs])
        logs = np.clip(logs + np.linalg.lstsq(left, right, rcond=None)[0], -1.5, 1.5)
        table = hw.replace(**{key: float(value) for key, value in zip(keys, start * np.exp(logs), strict=True)})
    return table
