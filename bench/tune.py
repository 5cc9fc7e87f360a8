"""Find a kernel's best meta-parameters: many on the clock, the few best past the gate, and on the device where there is one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from nkilab.bench.axes import Space, full
from nkilab.bench.cache import Cache, key
from nkilab.bench.choose import hardware_of
from nkilab.bench.executors import Executor
from nkilab.bench.measure import case_of, measure
from nkilab.bench.point import Point, Row, Settings
from nkilab.bench.search import Configuration, Search, Trial, search
from nkilab.bench.sources import clock_hash

THIRD = 3
SMALL = 12


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
    def most(self) -> int:
        """The budget in numbers."""
        size = math.prod(len(values) for values in self.space.values())
        return self.budget or max(math.ceil(size / THIRD), min(SMALL, size))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """The outcome.

    Attributes:
        search: every trial. cached: trials that cost nothing because their time was known.
        bound_us: no configuration can be modelled faster.
        confirmed: the best ones measured with the gate, fastest of the search first; refused ones too.
    """

    search: Search
    cached: int
    bound_us: float
    confirmed: tuple[Row, ...]

    @property
    def best(self) -> Row | None:
        """The fastest of the confirmed rows that passed the gate."""
        passed = [row for row in self.confirmed if row.median_us is not None]
        return min(passed, key=lambda row: row.median_us or math.inf, default=None)


def tune(
    plan: Plan, executor: Executor, cache: Cache, done: Callable[[int, Row], None] = lambda _position, _row: None
) -> Tuned:
    """Search on the clock without values, then gate and measure the best few as the settings say.

    Raises:
        UsageError: the kernel has no such parameter or axis.
    """
    for name in plan.space:
        case_of(replace(plan.point, meta={name: plan.space[name][0]}))
    known = _Known(plan, executor, cache, done)
    bound = _bound(known, plan)
    found = search(
        plan.space,
        known.evaluate,
        budget=plan.most,
        batch=plan.batch,
        start=_defaults(plan),
        bound_us=bound,
    )
    ran = sorted((t for t in found.trials if t.us is not None), key=lambda trial: trial.us or math.inf)
    chosen = [replace(plan.point, meta=_merged(plan, t.configuration)) for t in ran[: plan.confirm]]
    confirmed = [] if found.stopped == "interrupted" else [measure(point, plan.settings) for point in chosen]
    return Tuned(search=found, cached=known.cached, bound_us=bound, confirmed=tuple(confirmed))


def sweep_all(plan: Plan, executor: Executor, cache: Cache) -> list[Trial]:
    """Every configuration of the space, simulated: what the search is held against."""
    known = _Known(plan, executor, cache, lambda _position, _row: None)
    return list(known.evaluate(full(plan.space)))


def _merged(plan: Plan, configuration: Configuration) -> dict[str, Any]:
    return {**plan.point.meta, **configuration}


def _defaults(plan: Plan) -> Mapping[str, Any]:
    return case_of(plan.point).meta


def _bound(known: _Known, plan: Plan) -> float:
    """Launch and the machine's bound: what no configuration can beat on the clock; 0 where the defaults cannot run."""
    row = known.row(_merged(plan, {}))
    if row.efficiency is None or row.median_us is None or row.body_us is None:
        return 0.0
    return row.efficiency.bound_us + row.median_us - row.body_us


class _Known:
    """Times of configurations: from the cache, else from the clock through the executor, and then kept."""

    def __init__(self, plan: Plan, executor: Executor, cache: Cache, done: Callable[[int, Row], None]) -> None:
        self.plan, self.executor, self.cache, self.done = plan, executor, cache, done
        self.settings = replace(plan.settings, backend="sim", gated=False, work=None)
        self.cached = 0
        self.finished = 0

    def row(self, meta: Mapping[str, Any]) -> Row:
        """One configuration measured here and now, not cached."""
        return measure(replace(self.plan.point, meta=meta), self.settings)

    def evaluate(self, configurations: Sequence[Configuration]) -> list[Trial]:
        """The times of some configurations, in their order."""
        keys = [self._key(configuration) for configuration in configurations]
        known = self.cache.get(keys)
        self.cached += len(known)
        missing = [n for n, name in enumerate(keys) if name not in known]
        points = [replace(self.plan.point, meta=_merged(self.plan, configurations[n])) for n in missing]
        for position, row in self.executor.run(partial(_timed, self.settings), points):
            value = {"us": row.median_us, "why": "; ".join(f"{r['code']}: {r['message']}" for r in row.refused)}
            known[keys[missing[position]]] = value
            # Kept one by one, so that an interrupted search loses nothing.
            self.cache.put({keys[missing[position]]: value})
            self.finished += 1
            self.done(self.finished, row)
        pairs = zip(configurations, keys, strict=True)
        return [Trial(dict(configuration), known[name]["us"], known[name]["why"]) for configuration, name in pairs]

    def _key(self, configuration: Configuration) -> str:
        point, settings = self.plan.point, self.settings
        case = case_of(replace(point, meta=_merged(self.plan, configuration)))
        return key(
            {
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


def _timed(settings: Settings, point: Point) -> Row:
    return measure(point, settings)
