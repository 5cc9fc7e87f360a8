"""Compare two result sets point by point: ratios with intervals, what moved, and gates over them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nkilab.bench.environment import differences
from nkilab.bench.point import Row
from nkilab.bench.statistics import Interval, ratio_interval
from nkilab.bench.store import ResultSet
from nkilab.errors import NkilabError, UsageError
from nkilab.suggest import fix_for

VERDICTS = ("faster", "slower", "same", "unclear", "refused", "fixed", "added", "removed", "untimed")


class ClockMismatchError(NkilabError):
    """Two sets were modelled by different clocks, so a ratio of them would measure the clocks."""

    code = "clock-mismatch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One point in both sets.

    Attributes:
        label: case, axes and meta-parameters. case, axes, meta: the same as data.
        old_us, new_us: medians; None where there is no time.
        ratio: new over old; interval: its 95 % interval, exact where both are deterministic.
        verdict: `faster` or `slower` where the interval excludes 1 and the ratio moves by more than the tolerance; `same`
            where the whole interval lies within the tolerance; `unclear` where it is too wide to say; `refused` (was
            timed, is wrong now), `fixed` (the other way round), `added`, `removed`, `untimed` (in neither).
        findings: codes of findings that the new set has and the old has not.
        old_profile, new_profile: folders of their profiles, for `nkilab diff`.
    """

    label: str
    case: str
    axes: Mapping[str, Any]
    meta: Mapping[str, Any]
    old_us: float | None
    new_us: float | None
    ratio: float | None
    interval: Interval | None
    verdict: str
    findings: tuple[str, ...] = ()
    old_profile: str | None = None
    new_profile: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two sets against each other.

    Attributes:
        old, new: ids of the sets. kind: of the times.
        changes: every point, worst first.
        geometric_mean: of the ratios; None where no point has one.
        environment: facts of the fingerprints that differ, old and new.
    """

    old: str
    new: str
    kind: str | None
    changes: tuple[Change, ...]
    geometric_mean: float | None
    environment: Mapping[str, tuple[Any, Any]]


def compare(old: ResultSet, new: ResultSet, tolerance: float = 0.01) -> Comparison:
    """Point by point; a point is the same case at the same axes, and at the same meta-parameters where those are swept.

    Raises:
        ClockMismatchError: both are modelled, but by different clocks or hardware tables.
        UsageError: one is modelled and the other measured.
    """
    kind = _same_kind(old, new)
    if kind == "modelled" and old.rows and new.rows:
        _same_clock(old, new)
    before, after = _matched(old.rows, new.rows)
    names = [*before, *(name for name in after if name not in before)]
    changes = [_change(before.get(n), after.get(n), old, new, tolerance) for n in names]
    ratios = [c.ratio for c in changes if c.ratio is not None]
    return Comparison(
        old=old.name or old.id,
        new=new.name or new.id,
        kind=kind,
        changes=tuple(sorted(changes, key=_badness)),
        geometric_mean=float(np.exp(np.mean(np.log(ratios)))) if ratios else None,
        environment=differences(dict(old.fingerprint), dict(new.fingerprint)) if old.rows and new.rows else {},
    )


def same_clock(old: ResultSet, new: ResultSet) -> bool:
    """Whether modelled times of two sets come from the same code and the same hardware numbers."""
    return all(old.fingerprint.get(name) == new.fingerprint.get(name) for name in ("clock", "hardware"))


def _same_clock(old: ResultSet, new: ResultSet) -> None:
    if not same_clock(old, new):
        facts = [
            f"{name}: {old.fingerprint.get(name)} and {new.fingerprint.get(name)}" for name in ("clock", "hardware")
        ]
        raise ClockMismatchError(
            f"{old.name or old.id} was modelled with another clock than {new.name or new.id}",
            values="; ".join(facts),
            rule="a ratio of two clocks says nothing about the kernel",
            fix="model the baseline again: --remodel, or nkilab bench at its revision",
        )


def _same_kind(old: ResultSet, new: ResultSet) -> str | None:
    kinds = {row.kind for s in (old, new) for row in s.rows if row.kind}
    if len(kinds) > 1:
        raise UsageError(
            "these sets hold times of different kinds",
            values=", ".join(sorted(kinds)),
            fix="measure both on one backend",
        )
    return next(iter(kinds), None)


def _matched(old: Sequence[Row], new: Sequence[Row]) -> tuple[dict[str, Row], dict[str, Row]]:
    """The rows of both by what identifies a point: case, axes and target, and the meta-parameters where those are swept.

    Where each size has one row, a changed default of a meta-parameter is a change of the kernel, not another point.
    """
    sizes = [Counter(_identity(row, {}) for row in rows) for rows in (old, new)]
    swept = any(count > 1 for counter in sizes for count in counter.values())
    before, after = ({_identity(row, row.meta if swept else {}): row for row in rows} for rows in (old, new))
    return before, after


def _identity(row: Row, meta: Mapping[str, Any]) -> str:
    return json.dumps(
        [row.case, dict(row.axes), dict(meta), row.target, row.cores, row.ranks], sort_keys=True, default=str
    )


def _change(before: Row | None, after: Row | None, old: ResultSet, new: ResultSet, tolerance: float) -> Change:
    shown = after or before
    if shown is None:
        raise ValueError("a change needs a row")
    ratio, interval, verdict = _judged(before, after, tolerance)
    codes = [{str(f["code"]) for f in row.findings} if row else set() for row in (before, after)]
    return Change(
        label=shown.label,
        case=shown.case,
        axes=dict(shown.axes),
        meta=dict(shown.meta),
        old_us=before.median_us if before else None,
        new_us=after.median_us if after else None,
        ratio=ratio,
        interval=interval,
        verdict=verdict,
        findings=tuple(sorted(codes[1] - codes[0])),
        old_profile=_profile(before, old),
        new_profile=_profile(after, new),
    )


def _profile(row: Row | None, results: ResultSet) -> str | None:
    path = row.artifacts.get("profile") if row else None
    return str(results.folder / path) if path and results.folder else path


def _judged(before: Row | None, after: Row | None, tolerance: float) -> tuple[float | None, Interval | None, str]:
    """Ratio, interval and verdict of one point."""
    if before is None or after is None:
        return None, None, "added" if before is None else "removed"
    if before.median_us is None or after.median_us is None:
        states = (before.median_us is None, after.median_us is None)
        return None, None, {(False, True): "refused", (True, False): "fixed"}.get(states, "untimed")
    ratio = after.median_us / before.median_us
    if before.stopped == after.stopped == "deterministic":
        interval = Interval(ratio, ratio, 1.0)
    else:
        interval = ratio_interval(after.times_us, before.times_us)
    return ratio, interval, _verdict(ratio, interval, tolerance)


def _verdict(ratio: float, interval: Interval, tolerance: float) -> str:
    if 1 - tolerance <= interval.low and interval.high <= 1 + tolerance:
        return "same"
    if interval.low > 1 and ratio > 1 + tolerance:
        return "slower"
    if interval.high < 1 and ratio < 1 - tolerance:
        return "faster"
    return "unclear"


def _badness(change: Change) -> tuple[int, float]:
    order = ("refused", "slower", "removed", "unclear", "untimed", "added", "same", "fixed", "faster")
    return order.index(change.verdict), -(change.ratio or 0.0)


_CONDITION = re.compile(r"(?P<name>slower|mean)\s*>\s*(?P<percent>[\d.]+)\s*%")
_PLAIN = ("slower", "refused", "removed", "unclear", "findings")


def failures(comparison: Comparison, conditions: Sequence[str]) -> list[str]:
    """What a gate objects to, one sentence each.

    Conditions: `slower>2%` (a point is slower by more, its whole interval above 1), `mean>1%` (the geometric mean is),
    `slower`, `refused`, `removed`, `unclear` (a point with that verdict), `findings` (a finding that the old set has not).

    Raises:
        UsageError: another condition.
    """
    return [text for condition in conditions for text in _failures(comparison, condition)]


def _failures(comparison: Comparison, condition: str) -> list[str]:
    wanted = condition.strip()
    match = _CONDITION.fullmatch(wanted)
    if match:
        limit = 1 + float(match["percent"]) / 100
        if match["name"] == "mean":
            mean = comparison.geometric_mean
            return [f"the geometric mean is {mean:.4f} times the old one"] if mean is not None and mean > limit else []
        slow = (c for c in comparison.changes if c.ratio and c.interval and c.ratio > limit and c.interval.low > 1)
        return [f"{c.label} is {(c.ratio or 0) - 1:.1%} slower" for c in slow]
    if wanted == "findings":
        return [f"{c.label} has new findings: {', '.join(c.findings)}" for c in comparison.changes if c.findings]
    if wanted in _PLAIN:
        return [f"{c.label} is {wanted}" for c in comparison.changes if c.verdict == wanted]
    raise UsageError(f"--fail-if {condition!r} is no condition", fix=fix_for(wanted, ("slower>2%", "mean>1%", *_PLAIN)))
