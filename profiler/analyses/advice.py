"""`advice`: what to change first, with evidence, lines and the most it can gain; deterministic rules, no model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from ..errors import NotInProfileError
from ..profile import Profile
from .base import Answer, Shown
from .evidence import gather
from .machine import total_ns
from .rules import RULES, Found, launch_gaps

LEAST_GAIN = 0.03
"""Advice that could gain less than this share of the run is left out."""

_SCHEMA = {
    "rule": pl.String,
    "what": pl.String,
    "evidence": pl.String,
    "gain_ns": pl.Float64,
    "lines": pl.String,
    "link": pl.String,
}


@dataclass(frozen=True, slots=True)
class Advice(Answer):
    """What to change, most to gain first.

    Attributes:
        rows: rule, what (to do), evidence (the numbers), gain_ns (the most that the change can save: an upper bound, never
            more than the run is above its bound; gains of several rules do not add up), share (of the run), lines (file:line, most
            concerned first), link (to the vendor's documentation).
        total_ns: length of the run, ns.
        simulated: whether times are modelled.
    """

    title: ClassVar[str] = "Advice"
    shown: ClassVar[tuple[Shown, ...]] = (
        Shown("what", "do"), Shown("gain_ns", "up to us", "us", "the most that this change alone can save, never more than the distance to the roofline; gains do not add up"), Shown("share", "of the run", "percent"), Shown("evidence", "because"), Shown("lines", "lines"),
    )  # fmt: skip

    rows: pl.DataFrame
    total_ns: float
    simulated: bool

    def remarks(self) -> list[str]:
        """Silence is an answer too."""
        return [] if self.rows.height else [f"no rule finds more than {LEAST_GAIN:.0%} of the run to gain"]


def advice(p: Profile) -> Advice:
    """Rules of the vendor's performance guide applied to the numbers of this run.

    Raises:
        NotInProfileError: the profile has no instructions.
    """
    if not p.has("Instruction") and p.has("SystemProfileEvents"):
        return _of_the_host(p)
    total = total_ns(p)
    if not p.has("Instruction") or not total:
        raise NotInProfileError(
            "advice needs instructions, and this profile has none", fix="open the NTFF or the full JSON of the run"
        )
    seen = gather(p, total)
    found = [one for rule in RULES if (one := rule(seen)) is not None]
    return _sorted(found, total, seen.above_bound_ns, simulated=p.origin.simulated)


def _of_the_host(p: Profile) -> Advice:
    """What host and runtime events alone can say."""
    found = launch_gaps(p)
    return _sorted([found[0]] if found else [], found[1] if found else 0.0, math.inf, simulated=p.origin.simulated)


def _sorted(found: list[Found], total: float, most: float, *, simulated: bool) -> Advice:
    """Advice that is worth it, most to gain first; no gain above `most`."""
    rows = pl.DataFrame([one.row() for one in found], schema=_SCHEMA)
    capped = rows.with_columns(pl.col("gain_ns").clip(upper_bound=most))
    worth = capped.with_columns(share=pl.col("gain_ns") / total).filter(pl.col("share") >= LEAST_GAIN)
    return Advice(worth.sort("gain_ns", "rule", descending=[True, False]), total, simulated)
