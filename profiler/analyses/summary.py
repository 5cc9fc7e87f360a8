"""`summary`: the vendor's metrics, names and units verbatim, for every source that has or determines them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from ..errors import NotInProfileError
from ..profile import Profile
from .base import Answer, Shown, written
from .computed import computed
from .metrics import METRICS, describe

_SCHEMA = {
    "metric": pl.String, "value": pl.Float64, "text": pl.String, "unit": pl.String, "by": pl.String,
    "definition": pl.String, "numerator": pl.String, "denominator": pl.String,
}  # fmt: skip
_VERSIONS = (
    "instance_type",
    "compiler_version",
    "runtime_version",
    "driver_version",
    "collectives_version",
    "profiler_version",
    "nki_version",
)


@dataclass(frozen=True, slots=True)
class Summary(Answer):
    """The metrics of a run.

    Attributes:
        rows: metric, value (float64) or text, unit, by ("vendor": the file's own number; "nkilab": computed from the
            tables; "model": computed from a simulation), definition, numerator, denominator.
        kind: what the profile was read from.
    """

    title: ClassVar[str] = "Summary"
    shown: ClassVar[tuple[Shown, ...]] = (
        Shown("metric", "metric"), Shown("exact", "value"), Shown("unit", "unit"), Shown("readable", ""), Shown("by", "by"),
    )  # fmt: skip
    most: ClassVar[int] = 1000

    rows: pl.DataFrame
    kind: str

    def __getitem__(self, metric: str) -> float | str:
        """One metric's value.

        Raises:
            NotInProfileError: this profile neither has it nor determines it.
        """
        found = self.rows.filter(pl.col("metric") == metric)
        if found.is_empty():
            raise NotInProfileError(f"{metric} is not in this profile", fix="table() lists the metrics that are")
        value: float | str = found["value"][0] if found["value"][0] is not None else found["text"][0]
        return value

    def get(self, metric: str) -> float | str | None:
        """One metric's value, None where it is not known."""
        return self[metric] if metric in self.rows["metric"] else None

    def printed(self) -> pl.DataFrame:
        """The rows with every value exact, and readable where the unit asks for it."""
        values, units, texts = (self.rows[name].to_list() for name in ("value", "unit", "text"))
        exact = [text if value is None else f"{value:.12g}" for value, text in zip(values, texts, strict=True)]
        readable = [_readable(value, unit) for value, unit in zip(values, units, strict=True)]
        return self.rows.with_columns(
            exact=pl.Series(exact, dtype=pl.String), readable=pl.Series(readable, dtype=pl.String)
        )

    def remarks(self) -> list[str]:
        """Whose numbers these are."""
        return ["modelled, not measured"] if self.kind == "simulated" else []


def _readable(value: float | None, unit: str) -> str:
    """A value as people say it; "" where the exact one says enough."""
    kinds = {
        "s": ("us", 1e9, " us"),
        "ns": ("us", 1.0, " us"),
        "fraction": ("percent", 1.0, ""),
        "bytes": ("bytes", 1.0, ""),
    }
    if value is None or unit not in kinds:
        return ""
    kind, scale, suffix = kinds[unit]
    return written(value * scale, kind) + suffix


def summary(p: Profile) -> Summary:
    """The metrics of `p`: the source's own where it has them, the others computed from its tables.

    Raises:
        NotInProfileError: no metric is there and none can be determined.
    """
    stated = _stated(p)
    have = set(stated["metric"].to_list())
    found = {name: value for name, value in computed(p).items() if name not in have}
    by = "model" if p.origin.simulated else "nkilab"
    ours = pl.DataFrame(
        {"metric": list(found), "value": [float(v) for v in found.values()]},
        schema={"metric": pl.String, "value": pl.Float64},
    )
    parts = [stated, ours.with_columns(by=pl.lit(by)), _versions(p, have)]
    rows = pl.concat(parts, how="diagonal")
    if rows.is_empty():
        raise NotInProfileError(
            "no metric can be determined from this profile", values="it has " + (", ".join(p.names) or "no table")
        )
    return Summary(_described(rows), p.origin.kind)


def _stated(p: Profile) -> pl.DataFrame:
    """The source's own metrics; of several nodes the first."""
    rows = p.rows("Summary").drop_nulls("metric")
    if "node" in rows.columns and rows.height:
        rows = rows.filter(pl.col("node") == rows["node"][0])
    return rows.select("metric", "value", "text").with_columns(by=pl.lit("vendor"))


def _versions(p: Profile, have: set[str]) -> pl.DataFrame:
    """Versions and instance type from Metadata, as the vendor's summary lists them."""
    facts = {name: text for name, text in p.facts.items() if name in _VERSIONS and name not in have}
    schema = {"metric": pl.String, "text": pl.String}
    return pl.DataFrame({"metric": list(facts), "text": list(facts.values())}, schema=schema).with_columns(
        by=pl.lit("vendor")
    )


def _described(rows: pl.DataFrame) -> pl.DataFrame:
    """Add unit and definition to each metric, in the order of `METRICS`, then by name."""
    names = rows["metric"].to_list()
    order = {name: index for index, name in enumerate(METRICS)}
    about = [describe(name) for name in names]
    words = pl.DataFrame(
        {
            "metric": names,
            "unit": [m.unit for m in about],
            "definition": [m.definition for m in about],
            "numerator": [m.numerator for m in about],
            "denominator": [m.denominator for m in about],
            "rank": [order.get(name, len(order)) for name in names],
        }
    )
    joined = rows.with_columns(words.drop("metric")).sort("rank", "metric").drop("rank")
    return joined.select(pl.col(name).cast(dtype) for name, dtype in _SCHEMA.items())
