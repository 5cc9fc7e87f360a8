"""Search a grid of configurations with few evaluations: a Gaussian process over log time, the next ones by expected gain.

Each parameter is a coordinate: numbers by their rank among its values, other values each as a direction of its own.
Nothing is random: the same space and times give the same search.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nkilab.bench.axes import Space, full
from nkilab.errors import UsageError

Vector = NDArray[np.float64]
Configuration = Mapping[str, Any]
LENGTHS = (0.4, 0.8, 1.6)
NOISE = 1e-4


@dataclass(frozen=True, slots=True)
class Trial:
    """One evaluated configuration: microseconds, None where it cannot run, and why."""

    configuration: Configuration
    us: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """Trials in the order of evaluation, how many configurations there were, and why the search stopped.

    `stopped`: `exhausted` (all were tried), `budget`, `bound` (nothing can be faster by more than the tolerance), or
    `interrupted`.
    """

    trials: tuple[Trial, ...]
    size: int
    stopped: str

    @property
    def best(self) -> Trial | None:
        """The fastest trial, the earliest of equals; None where none could run."""
        ran = [trial for trial in self.trials if trial.us is not None]
        return min(ran, key=lambda trial: trial.us or math.inf, default=None)


def search(
    space: Space,
    evaluate: Callable[[Sequence[Configuration]], Sequence[Trial]],
    *,
    budget: int,
    batch: int = 1,
    start: Configuration | None = None,
    bound_us: float = 0.0,
    tolerance: float = 0.01,
) -> Search:
    """Look for the fastest configuration.

    Args:
        space: values of each parameter.
        evaluate: times some configurations, in their order.
        budget: most evaluations.
        batch: configurations evaluated at once; the later ones of a batch are chosen as if the earlier came out as expected.
        start: tried first where it lies in the space, such as the kernel's own defaults.
        bound_us: no configuration can be faster.
        tolerance: the search stops when the best is within this share of the bound.

    Raises:
        UsageError: a budget below one, or a space without values.
    """
    grid = full(space)
    if budget < 1 or not all(space.values()):
        raise UsageError("a search needs values and a budget", values=f"budget {budget}, {len(grid)} configurations")
    points = coordinates(space)
    waiting = _first(points, min(budget, max(2 * len(space) + 1, batch)), _position(grid, start))
    trials: dict[int, Trial] = {}
    stopped = "exhausted"
    try:
        while len(trials) < len(grid):
            chosen = waiting[:batch]
            answers = evaluate([grid[position] for position in chosen])
            trials |= dict(zip(chosen, answers, strict=True))
            waiting = waiting[batch:]
            best = min((t.us for t in trials.values() if t.us is not None), default=math.inf)
            if best <= bound_us * (1 + tolerance):
                stopped = "bound"
                break
            if len(trials) >= budget and len(trials) < len(grid):
                stopped = "budget"
                break
            waiting = waiting or _next(points, grid, trials, min(batch, budget - len(trials)))
    except KeyboardInterrupt:
        stopped = "interrupted"
    return Search(tuple(trials.values()), len(grid), stopped)


def coordinates(space: Space) -> Vector:
    """One row of coordinates in [0, 1] for each configuration of the full grid."""
    columns = []
    for values in space.values():
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        ranks = np.argsort(np.argsort(np.asarray(values))) if numbers else None
        columns.append(
            [(float(rank) / max(len(values) - 1, 1),) for rank in ranks]
            if ranks is not None
            else [tuple(0.5 * (one == other) for other in range(len(values))) for one in range(len(values))]
        )
    return np.array([list(itertools.chain(*parts)) for parts in itertools.product(*columns)], dtype=np.float64)


def _position(grid: Sequence[Configuration], wanted: Configuration | None) -> int:
    """Where a configuration lies in the grid; the middle one where it does not."""
    if wanted is None:
        return len(grid) // 2
    found = (n for n, entry in enumerate(grid) if all(wanted.get(name) == value for name, value in entry.items()))
    return next(found, len(grid) // 2)


def _first(points: Vector, count: int, start: int) -> list[int]:
    """A start and then always the point furthest from those chosen."""
    chosen = [start]
    distance = np.linalg.norm(points - points[start], axis=1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return chosen


def _next(points: Vector, grid: Sequence[Configuration], trials: Mapping[int, Trial], count: int) -> list[int]:
    """The points of highest expected gain; each is then believed to come out at its mean.

    Every second one is the most promising of those one step beside the best so far: expected gain leaves a bad edge early.
    """
    known = list(trials)
    times = _log_times([trials[position].us for position in known])
    near = _neighbours(points, grid, known[int(times.argmin())])
    chosen: list[int] = []
    while len(chosen) < min(count, len(points) - len(trials)):
        mean, deviation = _predict(points, points[known], times)
        gain = _expected_gain(mean, deviation, float(times.min()))
        gain[known] = -1.0
        beside = [position for position in near if position not in known]
        local = bool(beside) and len(known) % 2 == 1
        chosen.append(min(beside, key=lambda position: float(mean[position])) if local else int(gain.argmax()))
        known.append(chosen[-1])
        times = np.append(times, mean[chosen[-1]])
    return chosen


def _neighbours(points: Vector, grid: Sequence[Configuration], position: int) -> list[int]:
    """Configurations one step away: another value of one parameter, the next one up or down where it is a number."""
    here = grid[position]
    sides: dict[tuple[str, bool], list[tuple[float, int]]] = {}
    for n, entry in enumerate(grid):
        other = [name for name in here if entry[name] != here[name]]
        if len(other) == 1:
            step = points[n] - points[position]
            sides.setdefault((other[0], bool(step.sum() > 0)), []).append((float(np.linalg.norm(step)), n))
    return [n for side in sides.values() for length, n in side if length <= min(side)[0] * (1 + 1e-9)]


def _log_times(times: Sequence[float | None]) -> Vector:
    """Logarithms, a configuration that cannot run counting as twice the slowest; standardised."""
    ran = [us for us in times if us is not None]
    worst = 2 * max(ran, default=1.0)
    logs = np.log([worst if us is None else us for us in times])
    return np.asarray((logs - logs.mean()) / max(float(logs.std()), 1e-9), dtype=np.float64)


def _predict(points: Vector, known: Vector, times: Vector) -> tuple[Vector, Vector]:
    """Mean and standard deviation at every point, with the length scales of highest likelihood."""
    best: tuple[float, Vector] = (-math.inf, np.ones(points.shape[1]))
    for lengths in _scales(points.shape[1]):
        gram = _matern(known, known, lengths) + NOISE * np.eye(len(known))
        lower = np.linalg.cholesky(gram)
        solved = np.linalg.solve(lower, times)
        likelihood = -0.5 * float(solved @ solved) - float(np.log(np.diag(lower)).sum())
        if likelihood > best[0]:
            best = (likelihood, lengths)
    lengths = best[1]
    lower = np.linalg.cholesky(_matern(known, known, lengths) + NOISE * np.eye(len(known)))
    across = np.linalg.solve(lower, _matern(known, points, lengths))
    mean = across.T @ np.linalg.solve(lower, times)
    return mean, np.sqrt(np.maximum(1.0 - (across**2).sum(axis=0), 1e-12))


def _scales(dimensions: int) -> list[Vector]:
    """Length scales to try: every combination for up to four dimensions, else the same for all."""
    if dimensions > 4:
        return [np.full(dimensions, length) for length in LENGTHS]
    return [np.array(lengths) for lengths in itertools.product(LENGTHS, repeat=dimensions)]


def _matern(a: Vector, b: Vector, lengths: Vector) -> Vector:
    """Matérn covariance with smoothness 5/2."""
    r = math.sqrt(5) * np.linalg.norm((a[:, None, :] - b[None, :, :]) / lengths, axis=2)
    return np.asarray((1 + r + r**2 / 3) * np.exp(-r), dtype=np.float64)


def _expected_gain(mean: Vector, deviation: Vector, best: float) -> Vector:
    """Expected improvement on the best standardised log time."""
    z = (best - mean) / deviation
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    below = 0.5 * (1 + np.vectorize(math.erf)(z / math.sqrt(2)))
    return np.asarray((best - mean) * below + deviation * density, dtype=np.float64)
