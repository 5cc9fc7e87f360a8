"""A narrower profile: a window of time, or what belongs to a line, layer, engine or core."""

from __future__ import annotations

import difflib

import polars as pl

from nkilab.errors import UsageError

from .errors import NotInProfileError
from .profile import Frame, Profile

_POINT, _SPAN = "timestamp", "start_ts"
_UNIX = ("SystemProfileEvents", "CpuUsage", "HostMemUsage")
_WHOLE = ("ExecutionInfo", "LayerSummary")
_LOST = ("Summary", "ModelInfo", "CostClass")
KEYS = ("line", "file", "function", "layer", "engine", "core", "opcode")


def between(p: Profile, t0_us: float, t1_us: float) -> Profile:
    """The part of `p` in [t0_us, t1_us): rows that overlap it, cut to it; times stay those of the whole run.

    Bytes and FLOPs of a row that is cut stay whole, as a row moves or multiplies once. Metrics of the whole run
    (Summary, ModelInfo, CostClass) are left out, so that `summary` computes the window's own.

    Args:
        p: the profile.
        t0_us: start of the window, microseconds since the start of the execution.
        t1_us: its end.

    Raises:
        UsageError: an empty window.
    """
    if not t1_us > t0_us:
        raise UsageError(f"between({t0_us}, {t1_us}) is empty", rule="t0_us < t1_us")
    t0, t1 = t0_us * 1e3, t1_us * 1e3
    cut: dict[str, Frame | None] = {name: _window(p.table(name), t0, t1) for name in p.names if _timed(p, name)}
    note = f"only {t0_us:g} to {t1_us:g} us"
    return _with_length(p.with_tables({**cut, **dict.fromkeys(_LOST)}, notes=(note,)), t0, t1)


def _timed(p: Profile, name: str) -> bool:
    """Whether a table's rows lie on the execution's time axis."""
    return name not in _UNIX + _WHOLE and bool({_SPAN, _POINT} & set(p.table(name).columns))


def _window(rows: pl.DataFrame, t0: float, t1: float) -> pl.DataFrame:
    """Rows that overlap [t0, t1), spans cut to it."""
    if _SPAN not in rows.columns:
        return rows.filter(pl.col(_POINT).is_between(t0, t1, closed="left"))
    start, end = pl.col("start_ts").clip(t0, t1), pl.col("end_ts").clip(t0, t1)
    inside = rows.filter((pl.col("start_ts") < t1) & (pl.col("end_ts") > t0)).with_columns(start_ts=start, end_ts=end)
    return (
        inside.with_columns(duration_ns=pl.col("end_ts") - pl.col("start_ts"))
        if "duration_ns" in rows.columns
        else inside
    )


def _with_length(p: Profile, t0: float, t1: float) -> Profile:
    """The same profile whose run is the window."""
    facts = p.facts | {"first_hw_timestamp": repr(t0), "last_hw_timestamp": repr(t1)}
    return p.with_tables({"Metadata": pl.DataFrame({"key": list(facts), "value": list(facts.values())})})


def where(p: Profile, **wanted: str | int | tuple[int, int]) -> Profile:
    """Only the instructions that fit every condition, and the DMA transfers that they issued; the run stays as long.

    Args:
        p: the profile.
        **wanted: line (int or (first, last)), file, function, layer (each: equal, or ends with it), engine, core (int),
            opcode. Text is compared without regard to case.

    Raises:
        UsageError: an unknown condition.
        NotInProfileError: no instruction fits; the error names the values that there are.
    """
    for key in wanted:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1)
            raise UsageError(
                f"where() knows no {key!r}", values=", ".join(KEYS), fix=f"did you mean {near[0]!r}?" if near else ""
            )
    rows = p.table("Instruction")
    for key, value in wanted.items():
        rows = _kept(rows, key, value)
    note = "only " + ", ".join(f"{key} {value}" for key, value in wanted.items())
    tables: dict[str, Frame | None] = {"Instruction": rows, "ActiveTime": None, **dict.fromkeys(_LOST)}
    return p.with_tables({**tables, **_issued(p, rows)}, notes=(note,))


def _kept(rows: pl.DataFrame, key: str, value: str | int | tuple[int, int]) -> pl.DataFrame:
    """Instructions that fit one condition."""
    column = {"core": "pcore_idx"}.get(key, key)
    if isinstance(value, tuple):
        test = pl.col(column).is_between(*value)
    elif isinstance(value, str) and rows.schema[column] == pl.String:
        text = pl.col(column).str.to_lowercase()
        test = (text == value.lower()) | (
            text.str.ends_with("/" + value.lower()) if key in {"file", "layer", "function"} else False
        )
    else:
        test = pl.col(column) == value
    kept = rows.filter(test)
    if kept.is_empty():
        there = rows[column].drop_nulls().unique().sort().head(12).to_list()
        raise NotInProfileError(
            f"no instruction has {key} {value!r}",
            values=f"there are {there}" if there else f"this profile has no {key}",
        )
    return kept


def _issued(p: Profile, rows: pl.DataFrame) -> dict[str, Frame | None]:
    """DMA that the instructions issued; none where the source does not say which did."""
    if not p.has("DmaPacketAggregated", "instruction_id"):
        return dict.fromkeys(("DmaPacket", "DmaPacketAggregated"))
    moved = p.table("DmaPacketAggregated").filter(pl.col("instruction_id").is_in(rows["id"].implode()))
    packets = p.rows("DmaPacket").filter(pl.col("packet_aggregation_id").is_in(moved["id"].implode()))
    return {"DmaPacketAggregated": moved, "DmaPacket": packets if packets.height else None}


def sql(p: Profile, query: str) -> pl.DataFrame:
    """The result of a SQL query over the profile's tables: `select opcode, sum(duration_ns) from Instruction group by 1`.

    Raises:
        UsageError: the query is not understood, or names a table or column that is not there.
    """
    try:
        with pl.SQLContext({name: p.scan(name) for name in p.names}, eager=True) as context:
            result: pl.DataFrame = context.execute(query)
    except pl.exceptions.PolarsError as error:
        what = str(error).partition("\n")[0]
        raise UsageError(f"sql: {what}", values="tables: " + ", ".join(p.names)) from error
    return result
