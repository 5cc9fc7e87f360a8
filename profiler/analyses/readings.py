"""Two profiles as readings of one run: which tables are equal, row for row, and what only one of them has."""

from __future__ import annotations

import polars as pl

from ..profile import Profile
from .metrics import ENGINES
from .summary import summary

_RECORDED = {
    "Instruction": ("pcore_idx", "engine", "opcode", "pc", "compiler_pc", "start_ts", "duration_ns"),
    "DmaPacket": ("engine_idx", "queue_idx", "transfer_bytes", "crc", "start_ts", "duration_ns"),
    "SemaphoreUpdate": ("timestamp", "value"),
    "Throttle": ("timestamp", "duration", "k", "n"),
}
# Compared where both readings have them.
_NAMED = {"Instruction": ("bir_id", "bir_instruction_name"), "SemaphoreUpdate": ("name",)}
_STATED = ("total_time", *(f"{key}_engine_active_time" for key in ENGINES))
_TOTALS = "Summary (total time, active time of each engine)"
_FEW = 4

Row = tuple[str, int, int, bool, str]


def recorded(a: Profile, b: Profile) -> pl.DataFrame:
    """Tables that both have: rows of each and whether they are equal, times in whole ns as some sources cut them.

    The last row is total and active times, as each source states them or as they follow from its tables: equal within 1 ns.
    """
    rows = [_table(a, b, name) for name in _RECORDED if a.has(name) and b.has(name)]
    schema = {"table": pl.String, "a": pl.Int64, "b": pl.Int64, "equal": pl.Boolean, "odd": pl.String}
    return pl.DataFrame([*rows, *(_totals(a, b) if rows else ())], schema=schema, orient="row")


def _table(a: Profile, b: Profile, name: str) -> Row:
    """One table of both."""
    columns = (*_RECORDED[name], *(c for c in _NAMED.get(name, ()) if a.has(name, c) and b.has(name, c)))
    one, other = _cut(a.table(name), columns), _cut(b.table(name), columns)
    equal = one.equals(other)
    return name, one.height, other.height, equal, "" if equal or name != "Instruction" else _odd(a, b, one, other)


def _cut(rows: pl.DataFrame, columns: tuple[str, ...]) -> pl.DataFrame:
    """What must be equal, in one order."""
    whole = [pl.col(name).floor() if rows.schema[name] == pl.Float64 else pl.col(name) for name in columns]
    return rows.select(whole).sort(pl.all())


def _odd(a: Profile, b: Profile, one: pl.DataFrame, other: pl.DataFrame) -> str:
    """The instructions that only one of two readings has, in words; "" where they are many."""
    if abs(one.height - other.height) > _FEW:
        return ""
    sides = (("before", one, other), ("after", other, one))
    said = [
        f"{row['opcode']} on {row['engine']} at {row['start_ts'] / 1e3:.3f} us only {side}"
        for side, mine, theirs in sides
        for row in mine.join(theirs, on=mine.columns, how="anti", nulls_equal=True).head(_FEW + 1).to_dicts()
    ]
    return ", ".join([*said, *_unlisted(a, "before"), *_unlisted(b, "after")]) if len(said) <= _FEW else ""


def _unlisted(p: Profile, side: str) -> list[str]:
    """Instructions that a source counts in its own summary and does not list."""
    stated = dict(p.rows("Summary").select("metric", "value").drop_nulls().rows())
    listed = dict(p.table("Instruction").group_by("engine").len().rows())
    both = [
        (name, stated.get(f"{key}_engine_instruction_count", 0), listed.get(name, 0)) for key, name in ENGINES.items()
    ]
    return [
        f"{side}'s own summary counts {int(n)} instructions on {name}, its table has {m}"
        for name, n, m in both
        if n > m
    ]


def _totals(a: Profile, b: Profile) -> list[Row]:
    """Total and active times, and those that are apart."""
    pairs = [(name, summary(a).get(name), summary(b).get(name)) for name in _STATED]
    both = [(name, x, y) for name, x, y in pairs if isinstance(x, float) and isinstance(y, float)]
    apart = [f"{name} {x * 1e6:.3f} and {y * 1e6:.3f} us" for name, x, y in both if abs(x - y) > 1.001e-9]
    return [(_TOTALS, len(both), len(both), not apart, ", ".join(apart))] if both else []
