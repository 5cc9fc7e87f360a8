"""Search a grid of configurations with few evaluations, without those that a lower bound rules out.

The time over its lower bound is modelled by a Gaussian process on its logarithm; the next ones are those of highest expected
gain. Each parameter is a coordinate: numbers by their rank among its values, other values each as a direction of its own.
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
class Floor:
    """What is known of a configuration before it is timed.

    Attributes:
        us: microseconds below which it cannot come out; 0 where nothing is known, None where it cannot run.
        part: the part of the machine that needs them. why: why it cannot run.
        trace: names its instructions: configurations of the same name come out the same; "" where that is not known.
    """

    us: float | None
    part: str = ""
    why: str = ""
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """A configuration: its microseconds, None where it cannot run or was pruned, why, and its lower bound where known."""

    configuration: Configuration
    us: float | None
    why: str = ""
    floor_us: float | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """What a search did.

    Attributes:
        trials: the evaluated configurations, in order.
        size: configurations of the grid.
        stopped: `exhausted` (all were tried), `pruned` (all were tried but those whose lower bound is above the best time:
            the best is the best of the grid), `budget`, or `interrupted`.
        pruned: not evaluated, since their lower bound is not below the best time, or their instructions are those of a trial.
        impossible: not evaluated, since they cannot run.
    """

    trials: tuple[Trial, ...]
    size: int
    stopped: str
    pruned: tuple[Trial, ...] = ()
    impossible: tuple[Trial, ...] = ()

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
    floors: Sequence[Floor] = (),
    known: Sequence[Trial] = (),
) -> Search:
    """Look for the fastest configuration.

    Args:
        space: values of each parameter.
        evaluate: times some configurations, in their order.
        budget: most evaluations.
        batch: configurations evaluated at once; the later ones of a batch are chosen as if the earlier came out as expected.
        start: tried first where it lies in the space, such as the kernel's own defaults.
        floors: what is known of each configuration of the full grid; () where nothing is.
        known: trials made before, which count as evaluations.

    Raises:
        UsageError: a budget below one, or a space without values.
    """
    grid = full(space)
    if budget < 1 or not all(space.values()):
        raise UsageError("a search needs values and a budget", values=f"budget {budget}, {len(grid)} configurations")
    state = _State(space, grid, tuple(floors) or (Floor(0.0),) * len(grid))
    state.trials |= {_position(grid, trial.configuration): trial for trial in known}
    waiting = [] if known else state.first(min(budget, max(2 * len(space) + 1, batch)), start)
    stopped = "budget"
    try:
        while len(state.trials) < budget:
            left = state.open()
            chosen = [position for position in waiting if position in left][:batch]
            chosen = chosen or state.next(sorted(left), min(batch, budget - len(state.trials)))
            if not chosen:
                stopped = "pruned" if state.pruned() else "exhausted"
                break
            waiting = [position for position in waiting if position not in chosen]
            answers = evaluate([grid[position] for position in chosen])
            state.trials |= dict(zip(chosen, answers, strict=True))
        else:
            stopped = "budget" if state.open() else "pruned" if state.pruned() else "exhausted"
    except KeyboardInterrupt:
        stopped = "interrupted"
    return Search(
        trials=tuple(state.shown(n, t.us, t.why) for n, t in state.trials.items()),
        size=len(grid),
        stopped=stopped,
        pruned=tuple(state.shown(n, None, why) for n, why in state.pruned().items()),
        impossible=tuple(state.shown(n, None, f.why) for n, f in enumerate(state.floors) if f.us is None),
    )


class _State:
    """A search under way: the grid with its coordinates and lower bounds, and the trials by place in the grid."""

    def __init__(self, space: Space, grid: Sequence[Configuration], floors: Sequence[Floor]) -> None:
        self.space, self.grid, self.points, self.floors = space, grid, coordinates(space), floors
        self.trials: dict[int, Trial] = {}
        self._alike = [floor.trace or n for n, floor in enumerate(floors)]
        self._bounds = np.array([math.inf if floor.us is None else floor.us for floor in floors])
        self._base = np.log(np.where(np.isfinite(self._bounds) & (self._bounds > 0), self._bounds, 1.0))

    def best_us(self) -> float:
        """The best time so far."""
        return min((t.us for t in self.trials.values() if t.us is not None), default=math.inf)

    def open(self) -> set[int]:
        """Places that may still hold something faster; of those with the same instructions the first."""
        seen = {self._alike[n] for n in self.trials}
        below = [int(n) for n in np.flatnonzero(self._bounds < self.best_us()) if self._alike[n] not in seen]
        return set({self._alike[n]: n for n in reversed(below)}.values())

    def pruned(self) -> dict[int, str]:
        """Places that need no evaluation, and why."""
        best, trials = self.best_us(), {self._alike[n] for n in self.trials}
        found = {}
        for n, bound in enumerate(self._bounds.tolist()):
            if n in self.trials or not math.isfinite(bound):
                continue
            if self._alike[n] in trials:
                found[n] = "the same instructions as one that was simulated"
            elif bound >= best:
                found[n] = f"{self.floors[n].part} alone takes longer"
        return found

    def shown(self, position: int, us: float | None, why: str) -> Trial:
        """A place of the grid as a trial."""
        return Trial(dict(self.grid[position]), us, why, self.floors[position].us or None)

    def first(self, count: int, start: Configuration | None) -> list[int]:
        """The start, the lowest bound, and then always the point furthest from those chosen, of the lower half of bounds."""
        able = np.flatnonzero(np.isfinite(self._bounds))
        if not able.size:
            return []
        half = able[self._bounds[able] <= np.median(self._bounds[able])]
        chosen = [_position(self.grid, start)]
        if self._bounds[half].min() < self._bounds[half].max():
            chosen.append(int(half[self._bounds[half].argmin()]))
        while len(chosen) < min(count, half.size):
            gaps = np.linalg.norm(self.points[half][:, None] - self.points[chosen][None], axis=2).min(axis=1)
            chosen.append(int(half[gaps.argmax()]))
        return list(dict.fromkeys(chosen))

    def next(self, left: Sequence[int], count: int) -> list[int]:
        """The open places of highest expected gain; each is then believed to come out at its mean.

        Two of three are the most promising of those beside the best so far: expected gain leaves a bad edge early.
        """
        known = list(self.trials)
        if not known:
            return list(left[:count])
        logs = _log_times([self.trials[n].us for n in known])
        near = _neighbours(self.space, self.grid, known[int(logs.argmin())])
        chosen: list[int] = []
        while len(chosen) < min(count, len(left)):
            mean, deviation = _predict(self.points, known, logs - self._base[known])
            mean = mean + self._base
            candidates = [n for n in left if n not in chosen]
            beside = [n for n in near if n in candidates] if len(known) % 3 else []
            gain = _expected_gain(mean[candidates], deviation[candidates], float(logs.min()))
            found = min(beside, key=lambda n: float(mean[n])) if beside else candidates[int(gain.argmax())]
            chosen.append(found)
            known.append(found)
            logs = np.append(logs, mean[found])
        return chosen


def coordinates(space: Space) -> Vector:
    """One row of coordinates in [0, 1] for each configuration of the full grid."""
    columns = []
    for values in space.values():
        ranks = np.argsort(np.argsort(np.asarray(values))) if _numbers(values) else None
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


def _neighbours(space: Space, grid: Sequence[Configuration], position: int) -> list[int]:
    """Configurations one step away in one parameter or in two: the next number up or down, or any other value."""
    here = grid[position]
    steps = {name: _steps(values, here[name]) for name, values in space.items()}
    changed = [[name for name in space if entry[name] != here[name]] for entry in grid]
    return [
        n
        for n, names in enumerate(changed)
        if 1 <= len(names) <= 2 and all(grid[n][name] in steps[name] for name in names)
    ]


def _steps(values: Sequence[Any], here: Any) -> Sequence[Any]:
    """Values of a parameter that are one step from one of them."""
    if not _numbers(values):
        return values
    ordered = sorted(set(values))
    place = ordered.index(here)
    return ordered[max(place - 1, 0) : place + 2]


def _numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _log_times(times: Sequence[float | None]) -> Vector:
    """Logarithms, a configuration that cannot run counting as twice the slowest."""
    worst = 2 * max((us for us in times if us is not None), default=1.0)
    return np.log(np.array([worst if us is None else us for us in times], dtype=np.float64))


def _predict(points: Vector, known: Sequence[int], values: Vector) -> tuple[Vector, Vector]:
    """Mean and standard deviation at every point, with the length scales of highest likelihood."""
    middle, spread = float(values.mean()), max(float(values.std()), 1e-9)
    scaled = (values - middle) / spread
    best: tuple[float, Vector] = (-math.inf, np.ones(points.shape[1]))
    for lengths in _scales(points.shape[1]):
        lower = _factor(points[known], lengths)
        solved = np.linalg.solve(lower, scaled)
        likelihood = -0.5 * float(solved @ solved) - float(np.log(np.diag(lower)).sum())
        if likelihood > best[0]:
            best = (likelihood, lengths)
    lower = _factor(points[known], best[1])
    across = np.linalg.solve(lower, _matern(points[known], points, best[1]))
    mean = across.T @ np.linalg.solve(lower, scaled)
    return middle + spread * mean, spread * np.sqrt(np.maximum(1.0 - (across**2).sum(axis=0), 1e-12))


def _factor(known: Vector, lengths: Vector) -> Vector:
    """Lower Cholesky factor of the covariance of the known points."""
    return np.asarray(np.linalg.cholesky(_matern(known, known, lengths) + NOISE * np.eye(len(known))), dtype=np.float64)


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
    """Expected improvement on the best log time."""
    z = (best - mean) / deviation
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    below = 0.5 * (1 + np.vectorize(math.erf)(z / math.sqrt(2)))
    return np.asarray((best - mean) * below + deviation * density, dtype=np.float64)
