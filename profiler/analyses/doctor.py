"""`doctor`: what is missing or suspect in a profile, what that means for the numbers, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from ..profile import Profile
from . import doctor_program as program
from . import doctor_records as records
from . import doctor_source as source
from .base import Answer, Shown
from .doctor_row import Check, Row

_SCHEMA = {"level": pl.String, "check": pl.String, "what": pl.String, "fix": pl.String}
_ORDER = {"wrong": 0, "missing": 1, "suspect": 2, "note": 3}

CHECKS: tuple[Check, ...] = (
    source.empty, records.dropped, program.instructions, program.lines, records.dge, program.flops, records.first,
    records.duplicates, records.outside, records.order, source.versions, source.reader, program.opcodes, program.sources,
    records.waits, source.modelled, source.tables, source.producer,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Doctor(Answer):
    """Findings about a profile itself, or about this machine.

    Attributes:
        rows: level ("wrong": numbers cannot be trusted; "missing": some answers cannot be given; "suspect": read with
            care; "note"), check, what, fix.
        healthy: whether nothing is wrong or missing.
    """

    title: ClassVar[str] = "Doctor"
    shown: ClassVar[tuple[Shown, ...]] = (
        Shown("level", "level"),
        Shown("check", "check"),
        Shown("what", "what"),
        Shown("fix", "do"),
    )

    rows: pl.DataFrame
    healthy: bool

    @classmethod
    def of(cls, found: Iterable[Row]) -> Doctor:
        """Findings in order, worst first."""
        rows = pl.DataFrame(list(found), schema=_SCHEMA, orient="row")
        rank = pl.col("level").replace_strict(_ORDER, return_dtype=pl.Int64)
        levels = set(rows["level"].to_list())
        return cls(rows.sort(rank, maintain_order=True), not levels & {"wrong", "missing"})

    @property
    def wrong(self) -> bool:
        """Whether something makes the numbers untrustworthy."""
        return "wrong" in self.rows["level"]

    def remarks(self) -> list[str]:
        """Whether anything is wrong."""
        return ["nothing is wrong or missing"] if self.healthy else []


def doctor(p: Profile) -> Doctor:
    """Every check on a profile, worst first."""
    return Doctor.of(row for check in CHECKS for row in check(p))
