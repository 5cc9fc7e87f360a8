"""A narrower profile: a window of time, or what belongs to a line, layer, engine or core."""

from __future__ import annotations

import difflib

import polars as pl

from nkilab.errors import UsageError

from .analyses import calls
from .analyses.fused import located
from .analyses.intervals import Intervals
from .analyses.overlap import TRIGGERS
from .errors import NotInProfileError
from .profile import Frame, Profile

_POINT, _SPAN = "timestamp", "start_ts"
_UNIX = ("SystemProfileEvents", "CpuUsage", "HostMemUsage")
_WHOLE = ("ExecutionInfo", "LayerSummary")
_LOST = ("Summary", "ModelInfo", "CostClass")
KEYS = ("line", "file", "function", "layer", "operation", "engine", "core", "opcode", "loop")
Wanted = str | int | tuple[int, int] | tuple[str, int]


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


def where(p: Profile, **wanted: Wanted) -> Profile:
    """Only the instructions that fit every condition, and the DMA and collectives that they issued; the run stays as long.

    Args:
        p: the profile.
        **wanted: line (int or (first, last); a fused instruction has several), file, function (with all that it calls),
            layer (with all modules below it), operation (of the framework's graph), engine, core (int), opcode,
            loop (a variable, or (variable, value), with the loops inside). A file, function or layer may be given by
            the last parts of its name. Text is compared without regard to case.

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
        rows = _kept(p, rows, key, value)
    note = "only " + ", ".join(f"{key} {value}" for key, value in wanted.items())
    tables: dict[str, Frame | None] = {"Instruction": rows, "ActiveTime": None, **dict.fromkeys(_LOST)}
    return p.with_tables({**tables, **_issued(p, rows), **_triggered(p, rows)}, notes=(note,))


def latency_us(p: Profile) -> float | None:
    """From the first start to the last end of instructions, transfers and collectives, us; None without any."""
    names = ("Instruction", "DmaPacket" if p.has("DmaPacket") else "DmaPacketAggregated", "CcOp")
    spans = pl.concat([p.rows(name).select("start_ts", "end_ts") for name in names])
    first, last = spans["start_ts"].min(), spans["end_ts"].max()
    return (last - first) / 1e3 if isinstance(first, float) and isinstance(last, float) else None


def _kept(p: Profile, rows: pl.DataFrame, key: str, value: Wanted) -> pl.DataFrame:
    """Instructions that fit one condition."""
    column = {"core": "pcore_idx", "operation": "hlo_name"}.get(key, key)
    if key == "line":
        known = located(rows).filter(
            pl.col("line").is_between(*(value if isinstance(value, tuple) else (value, value)))
        )
        kept = rows.filter(pl.col("id").is_in(known["id"].implode()))
    elif key in ("function", "loop"):
        kept = calls.inside(p, rows, value) if key == "function" else calls.turns(p, rows, value)
    elif isinstance(value, str) and rows.schema[column] == pl.String:
        kept = rows.filter(_named(pl.col(column), value, key))
    elif isinstance(value, tuple):
        kept = rows.filter(pl.col(column).is_between(*value))
    else:
        kept = rows.filter(pl.col(column) == value)
    if kept.is_empty():
        there = calls.names(p, rows, key) if key in ("function", "loop") else rows[column].drop_nulls().unique().sort()
        raise NotInProfileError(
            f"no instruction has {key} {value!r}",
            values=f"there are {there.head(12).to_list()}" if len(there) else f"this profile has no {key}",
        )
    return kept


def _named(column: pl.Expr, value: str, key: str) -> pl.Expr:
    """Whether a name is `value`, ends with it after a slash, or, of a layer, lies below it."""
    text, want = column.str.to_lowercase(), value.lower().strip("/")
    if key == "layer":
        return pl.concat_str(pl.lit("/"), text, pl.lit("/")).str.contains(f"/{want}/", literal=True)
    return (text == want) | (text.str.ends_with("/" + want) if key == "file" else False)


def _triggered(p: Profile, rows: pl.DataFrame) -> dict[str, Frame | None]:
    """Collectives during which one of the instructions that trigger collectives ran."""
    if not p.has("CcOp"):
        return {}
    begun = rows.filter(pl.col("opcode").str.contains(TRIGGERS).fill_null(value=False))
    running = Intervals.from_frame(begun)
    operations = p.table("CcOp")
    start = operations["trigger_start_ts"].fill_null(operations["start_ts"]).to_numpy()
    length = running.before(operations["end_ts"].to_numpy()) - running.before(start)
    kept = operations.filter(pl.Series(length > 0, dtype=pl.Boolean))
    return {"CcOp": kept if kept.height else None}


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
