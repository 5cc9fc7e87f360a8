"""Statistics of repeated times without assuming their distribution, and when to stop repeating."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
OUTLIER_DEVIATIONS = 5.0
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval of a median: its ends, and the probability that it holds the true one."""

    low: float
    high: float
    coverage: float


@dataclass(frozen=True, slots=True)
class Statistics:
    """What repeated times say. Microseconds.

    Attributes:
        count: times in the sample.
        median: the 50th percentile.
        interval: of the median, from order statistics; None below six times, where none of 95 % exists.
        p90, p99: None where the sample is too small to have them (10 and 100 times).
        fastest, slowest: the extremes.
        outliers: positions of times further than five scaled median absolute deviations from the median.
    """

    count: int
    median: float
    interval: Interval | None
    p90: float | None
    p99: float | None
    fastest: float
    slowest: float
    outliers: tuple[int, ...]

    @property
    def relative_width(self) -> float:
        """Half the interval's width over the median; infinite where there is no interval."""
        if self.interval is None or self.median <= 0:
            return math.inf
        return (self.interval.high - self.interval.low) / 2 / self.median


def statistics(times_us: Sequence[float]) -> Statistics:
    """Statistics of at least one time. Percentiles interpolate linearly between order statistics.

    Raises:
        ValueError: no times, or one that is not a finite positive number.
    """
    times = np.asarray(times_us, dtype=np.float64)
    if times.size == 0 or not (np.isfinite(times).all() and (times > 0).all()):
        raise ValueError("statistics need finite positive times")
    return Statistics(
        count=times.size,
        median=float(np.median(times)),
        interval=median_interval(times_us),
        p90=float(np.percentile(times, 90)) if times.size >= 10 else None,
        p99=float(np.percentile(times, 99)) if times.size >= 100 else None,
        fastest=float(times.min()),
        slowest=float(times.max()),
        outliers=outliers(times_us),
    )


def median_interval(times: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """The narrowest symmetric pair of order statistics that holds the median with at least `confidence`.

    The number of times below the median is binomial(n, 1/2) whatever the distribution, so the l-th smallest and l-th
    largest time hold the median with probability 1 - 2 P(B < l). None where even the extremes do not reach `confidence`.
    """
    ordered = sorted(times)
    count = len(ordered)
    below, rank = 0.0, 0
    while rank < count // 2:
        probability = math.exp(_log_binomial(count, rank) - count * math.log(2))
        if 2 * (below + probability) > 1 - confidence:
            break
        below += probability
        rank += 1
    if rank == 0:
        return None
    return Interval(float(ordered[rank - 1]), float(ordered[count - rank]), 1 - 2 * below)


def _log_binomial(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def outliers(times: Sequence[float], deviations: float = OUTLIER_DEVIATIONS) -> tuple[int, ...]:
    """Positions of times further from the median than `deviations` scaled median absolute deviations.

    The scale 1.4826 makes the deviation of a normal sample its standard deviation. Where more than half of the times are
    equal, the deviation is 0: a thousandth of the median takes its place.
    """
    values = np.asarray(times, dtype=np.float64)
    distance = np.abs(values - np.median(values))
    spread = max(1.4826 * float(np.median(distance)), 1e-3 * float(np.median(values)))
    return tuple(int(i) for i in np.flatnonzero(distance > deviations * spread))


def ratio_interval(new: Sequence[float], old: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The interval of median(new) / median(old): percentile bootstrap, 2000 resamples from a fixed seed.

    A sample of one time counts as exact, as a deterministic clock's is.
    """
    rng = np.random.default_rng(0)
    ratios = _resampled_medians(new, rng) / _resampled_medians(old, rng)
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(ratios, [tail, 100 - tail])
    return Interval(float(low), float(high), confidence)


def _resampled_medians(
    times: Sequence[float], rng: np.random.Generator
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    values = np.asarray(times, dtype=np.float64)
    picks = rng.integers(0, values.size, (RESAMPLES, values.size))
    return np.asarray(np.median(values[picks], axis=1), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When repeated measurement stops.

    Attributes:
        width: the half-width of the median's interval, relative to the median, that is narrow enough.
        least, most: times measured at least and at most.
        patience: rounds without a narrower interval after which more of them are pointless.
    """

    width: float = 0.01
    least: int = 10
    most: int = 200
    patience: int = 4


@dataclass(frozen=True, slots=True)
class Collected:
    """Times and why no more were taken: `narrow`, `limit` or `no longer narrows`."""

    times_us: tuple[float, ...]
    stopped: str


def collect(measure: Callable[[int], Sequence[float]], rule: Rule) -> Collected:
    """Measure in rounds of growing size until the rule stops it; `measure(n)` gives n further times or more."""
    times: list[float] = list(measure(rule.least))
    narrowest, waited = math.inf, 0
    while True:
        width = statistics(times).relative_width
        if width <= rule.width:
            return Collected(tuple(times), "narrow")
        if len(times) >= rule.most:
            return Collected(tuple(times), "limit")
        narrowest, waited = (width, 0) if width < 0.95 * narrowest else (narrowest, waited + 1)
        if waited >= rule.patience:
            return Collected(tuple(times), "no longer narrows")
        times += measure(min(max(rule.least, len(times) // 2), rule.most - len(times)))


def advice(stats: Statistics, stopped: str, rule: Rule) -> tuple[str, ...]:
    """What is wrong with a sample and what to do about it, one sentence each."""
    said = []
    if stats.outliers:
        share = f"{len(stats.outliers)} of {stats.count}"
        places = ", ".join(map(str, stats.outliers[:5]))
        said.append(
            f"{share} times are outliers (runs {places}): open their profiles, or look for another load on the core"
        )
    if stopped != "narrow":
        width = "unknown" if math.isinf(stats.relative_width) else f"±{stats.relative_width:.1%}"
        reason = "the limit of runs was reached" if stopped == "limit" else "more runs no longer narrow it"
        said.append(
            f"the median's interval is {width}, wider than ±{rule.width:.1%}, and {reason}: raise --most, or quiet the machine"
        )
    return tuple(said)
