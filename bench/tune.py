"""Find a kernel's best meta-parameters: those whose lower bound is low on the clock, the best past the gate, on a device too.

A bound comes from a trace without a schedule, for a fraction of a simulation's work.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from nkilab.bench.axes import Space, full
from nkilab.bench.cache import Cache, key
from nkilab.bench.choose import hardware_of
from nkilab.bench.executors import Executor
from nkilab.bench.floor import floor_of
from nkilab.bench.measure import case_of, measure
from nkilab.bench.point import Point, Row, Settings
from nkilab.bench.search import Configuration, Floor, Search, Trial, search
from nkilab.bench.sources import clock_hash

Done = Callable[[str, Point], None]
"""Called as a `floor` or a `time` of a point is there."""

THIRD = 3
SMALL = 12
ROUNDS = 3
"""Times that the best few are gated; where all of them are wrong, the search goes on without them."""
BOUNDED = 1000
"""Configurations up to which all lower bounds are worked out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to tune and how.

    Attributes:
        point: the case and its axes. space: values of each meta-parameter.
        settings: of the final measurement; the search itself is always on the simulator.
        budget: most configurations simulated; None for a third of the space, at least 12.
        batch: configurations simulated at once. confirm: best ones that are measured at the end.
    """

    point: Point
    space: Space
    settings: Settings
    budget: int | None = None
    batch: int = 1
    confirm: int = 3

    @property
    def size(self) -> int:
        """Configurations of the space."""
        return math.prod(len(values) for values in self.space.values())

    @property
    def most(self) -> int:
        """The budget in numbers."""
        return self.budget or max(math.ceil(self.size / THIRD), min(SMALL, self.size))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """The outcome.

    Attributes:
        search: every trial, and what was pruned. cached: trials that cost nothing because their time was known.
        bound_us: the least of the lower bounds: no configuration can be modelled faster; None where none were worked out.
        confirmed: the best ones measured with the gate, fastest of the search first; refused ones too.
    """

    search: Search
    cached: int
    bound_us: float | None
    confirmed: tuple[Row, ...]

    @property
    def best(self) -> Row | None:
        """The fastest of the confirmed rows that passed the gate."""
        passed = [row for row in self.confirmed if row.median_us is not None]
        return min(passed, key=lambda row: row.median_us or math.inf, default=None)


def _ignored(_what: str, _point: Point) -> None:
    """Nobody watches."""


def tune(plan: Plan, executor: Executor, cache: Cache, done: Done = _ignored) -> Tuned:
    """Bound every configuration, search on the clock without values, then gate and measure the best few as the settings say.

    Where none of these is right, the search goes on without them: what a wrong one ruled out may be the best.

    Raises:
        UsageError: the kernel has no such parameter or axis.
    """
    for name in plan.space:
        case_of(replace(plan.point, meta={name: plan.space[name][0]}))
    known = _Known(plan, executor, cache, done)
    grid = full(plan.space)
    try:
        floors = known.floors(grid) if plan.size <= BOUNDED else [Floor(0.0)] * plan.size
    except KeyboardInterrupt:
        return Tuned(search=Search((), plan.size, "interrupted"), cached=0, bound_us=None, confirmed=())
    bound = min((floor.us for floor in floors if floor.us), default=None)
    found, confirmed = _searched(plan, known, floors), _Confirmed(plan)
    for _ in range(ROUNDS):
        if found.stopped == "interrupted" or confirmed.some_passed(found):
            break
        found = _searched(plan, known, confirmed.without(grid, floors), found.trials, confirmed.wrong)
    return Tuned(search=found, cached=known.cached, bound_us=bound, confirmed=tuple(confirmed.rows))


def _searched(
    plan: Plan, known: _Known, floors: Sequence[Floor], trials: Sequence[Trial] = (), wrong: Sequence[Trial] = ()
) -> Search:
    """A search, or one that goes on without those that proved wrong; they stay among its trials."""
    found = search(
        plan.space,
        known.evaluate,
        budget=max(plan.most - len(wrong), 1),
        batch=plan.batch,
        start=_defaults(plan),
        floors=floors,
        known=[trial for trial in trials if trial not in wrong],
    )
    refused = [trial.configuration for trial in wrong]
    impossible = (trial for trial in found.impossible if trial.configuration not in refused)
    return replace(found, trials=(*found.trials, *wrong), impossible=tuple(impossible))


class _Confirmed:
    """The best configurations, gated and measured; those that proved wrong."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.rows: list[Row] = []
        self.wrong: list[Trial] = []

    def some_passed(self, found: Search) -> bool:
        """Measure the best that were not yet; whether one is right, or none is left."""
        ran = [trial for trial in found.trials if trial.us is not None and trial not in self.wrong]
        best = sorted(ran, key=lambda trial: trial.us or math.inf)[: self.plan.confirm]
        for trial in best:
            row = measure(replace(self.plan.point, meta=_merged(self.plan, trial.configuration)), self.plan.settings)
            self.rows.append(row)
            if row.refused:
                self.wrong.append(trial)
        return not best or any(not row.refused for row in self.rows)

    def without(self, grid: Sequence[Configuration], floors: Sequence[Floor]) -> list[Floor]:
        """The floors, those that proved wrong being impossible."""
        wrong = [trial.configuration for trial in self.wrong]
        return [
            Floor(None, why="refused by the gate") if entry in wrong else floor
            for entry, floor in zip(grid, floors, strict=True)
        ]


def sweep_all(plan: Plan, executor: Executor, cache: Cache) -> list[Trial]:
    """Every configuration of the space, simulated: what the search is held against."""
    known = _Known(plan, executor, cache, _ignored)
    return list(known.evaluate(full(plan.space)))


def _merged(plan: Plan, configuration: Configuration) -> dict[str, Any]:
    return {**plan.point.meta, **configuration}


def _defaults(plan: Plan) -> Mapping[str, Any]:
    return case_of(plan.point).meta


class _Known:
    """Times of configurations: from the cache, else from the clock through the executor, and then kept."""

    def __init__(self, plan: Plan, executor: Executor, cache: Cache, done: Done) -> None:
        self.plan, self.executor, self.cache, self.done = plan, executor, cache, done
        self.settings = replace(plan.settings, backend="sim", gated=False, work=None)
        self.cached = 0

    def evaluate(self, configurations: Sequence[Configuration]) -> list[Trial]:
        """The times of some configurations, in their order."""
        values, cached = self._values("time", configurations, partial(_timed, self.settings))
        self.cached += cached
        return [Trial(dict(c), v["us"], v["why"]) for c, v in zip(configurations, values, strict=True)]

    def floors(self, configurations: Sequence[Configuration]) -> tuple[Floor, ...]:
        """The lower bounds of some configurations, in their order."""
        values, _cached = self._values("floor", configurations, partial(_floored, self.settings))
        return tuple(Floor(**value) for value in values)

    def _values(
        self, what: str, configurations: Sequence[Configuration], function: Callable[[Point], dict[str, Any]]
    ) -> tuple[list[dict[str, Any]], int]:
        """What a function gives for each configuration, and how many of these were known."""
        keys = [self._key(what, configuration) for configuration in configurations]
        known = self.cache.get(keys)
        missing = [n for n, name in enumerate(keys) if name not in known]
        points = [replace(self.plan.point, meta=_merged(self.plan, configurations[n])) for n in missing]
        for position, value in self.executor.run(function, points):
            known[keys[missing[position]]] = value
            # Kept one by one, so that an interrupted search loses nothing.
            self.cache.put({keys[missing[position]]: value})
            self.done(what, points[position])
        return [known[name] for name in keys], len(keys) - len(missing)

    def _key(self, what: str, configuration: Configuration) -> str:
        point, settings = self.plan.point, self.settings
        case = case_of(replace(point, meta=_merged(self.plan, configuration)))
        return key(
            {
                "what": what,
                "source": point.source,
                "case": point.case,
                "axes": dict(case.axes),
                "meta": dict(case.meta),
                "hardware": hardware_of(settings).hash(),
                "clock": clock_hash(),
                "nki": settings.nki,
                "seed": settings.seed,
            }
        )


def _timed(settings: Settings, point: Point) -> dict[str, Any]:
    row = measure(point, settings)
    return {"us": row.median_us, "why": "; ".join(f"{r['code']}: {r['message']}" for r in row.refused)}


def _floored(settings: Settings, point: Point) -> dict[str, Any]:
    return asdict(floor_of(settings, point))
