"""`hierarchy`: time from layer through function and line down to the opcode, a tree whose parts add up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import polars as pl

from ..errors import NotInProfileError
from ..profile import Profile
from ..schema import ENGINES
from .base import Answer, Shown
from .machine import machine, working

if TYPE_CHECKING:
    import plotly.graph_objects as go

LEVELS = ("layer", "operation", "function", "line", "opcode")
NOWHERE = "(no source)"
_SEPARATOR = " › "
_COLUMNS = (
    "path", "name", "level", "depth", "parent", "instruction_ns", "share", "instructions", "span_ns", "flops", "mfu",
    *(f"{name.lower()}_ns" for name in ENGINES),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hierarchy(Answer):
    """A tree of instruction time. Levels that the profile does not have are left out.

    Attributes:
        rows: one row per node, parents before children: path (names joined), name, level, depth, parent (path of the
            parent, "" at the top), instruction_ns (durations added up, semaphore waits left out; a node's is the sum
            of its children's), share (of all), instructions, span_ns (first start to last end), flops (null where
            unknown), mfu (flops / (peak of one core x span_ns); null where unknown), and <engine>_ns.
    """

    title: ClassVar[str] = "Hierarchy"
    shown: ClassVar[tuple[Shown, ...]] = (
        Shown("indented", "node"), Shown("instruction_ns", "time us", "us"), Shown("share", "share", "percent"),
        Shown("span_ns", "span us", "us"), Shown("mfu", "MFU", "percent"), Shown("instructions", "count", "count"),
        *(Shown(f"{name.lower()}_ns", name, "us") for name in ENGINES),
    )  # fmt: skip

    rows: pl.DataFrame

    def printed(self) -> pl.DataFrame:
        """The rows, names indented by depth."""
        return self.rows.with_columns(indented=pl.lit("  ").repeat_by("depth").list.join("") + pl.col("name"))

    def figure(self) -> go.Figure:
        """An icicle to click through."""
        import plotly.graph_objects as go

        from .figures import DEPTHS, styled

        rows = self.rows
        whole = float(rows.filter(depth=0)["instruction_ns"].sum())
        colours = [DEPTHS[min(level, len(DEPTHS) - 1)] for level in rows["depth"].to_list()]
        icicle = go.Icicle(
            ids=["all", *rows["path"].to_list()], labels=["all", *rows["name"].to_list()], parents=["", *(parent or "all" for parent in rows["parent"].to_list())],
            values=[whole / 1e3, *(rows["instruction_ns"] / 1e3).to_list()], branchvalues="total", tiling={"orientation": "v"},
            marker={"colors": [DEPTHS[-1], *colours], "line": {"width": 1, "color": "white"}},
            texttemplate="%{label}<br>%{value:,.4g} us · %{percentRoot:.0%}",
        )  # fmt: skip
        return styled(go.Figure(icicle), "Instruction time, us", height=560)


def hierarchy(p: Profile) -> Hierarchy:
    """The tree layer, operation (of the framework's graph), function, line, opcode, as far as the profile has them.

    Raises:
        NotInProfileError: the profile has no instructions.
    """
    if not p.has("Instruction"):
        raise NotInProfileError(
            "hierarchy needs instructions, and this profile has none", fix="open the NTFF or the full JSON of the run"
        )
    rows = _named(working(p))
    levels = [level for level in LEVELS if rows[level].null_count() < rows.height]
    rows = rows.with_columns(pl.col(level).fill_null(NOWHERE) for level in levels)
    nodes = pl.concat([_level(rows, levels[: depth + 1]) for depth in range(len(levels))])
    peak = machine(p).core_flops
    mfu = (
        pl.when(pl.col("span_ns") > 0).then(pl.col("flops") / pl.col("span_ns") * 1e9 / peak)
        if peak
        else pl.lit(None, pl.Float64)
    )
    nodes = nodes.with_columns(mfu=mfu)
    whole = float(nodes.filter(depth=0)["instruction_ns"].sum())
    return Hierarchy(
        _ordered(
            nodes.with_columns(share=pl.col("instruction_ns") / whole if whole else pl.lit(None, pl.Float64)), levels
        )
    )


def _named(rows: pl.DataFrame) -> pl.DataFrame:
    """Instructions with the names of their levels; a layer "Unknown" is none."""
    file = pl.col("file").str.split("/").list.last()
    line = pl.when(pl.col("line").is_not_null()).then(file + ":" + pl.col("line").cast(pl.String))
    layer = pl.when(~pl.col("layer").is_in(["Unknown", ""])).then("layer")
    return rows.with_columns(
        layer=layer, operation=pl.col("hlo_name"), line=line, spent=pl.col("end_ts") - pl.col("start_ts")
    )


def _level(rows: pl.DataFrame, levels: list[str]) -> pl.DataFrame:
    """All nodes of one depth."""
    engines = [pl.col("spent").filter(pl.col("engine") == name).sum().alias(f"{name.lower()}_ns") for name in ENGINES]
    known = pl.col("raw_flops").is_not_null().any()
    return rows.group_by(levels).agg(
        pl.col("spent").sum().alias("instruction_ns"),
        pl.len().cast(pl.Int64).alias("instructions"),
        (pl.col("end_ts").max() - pl.col("start_ts").min()).alias("span_ns"),
        pl.when(known).then(pl.col("raw_flops").sum()).alias("flops"),
        *engines,
    ).with_columns(
        path=pl.concat_str(levels, separator=_SEPARATOR),
        parent=pl.concat_str(levels[:-1], separator=_SEPARATOR) if len(levels) > 1 else pl.lit(""),
        name=pl.col(levels[-1]),
        level=pl.lit(levels[-1]),
        depth=pl.lit(len(levels) - 1, pl.Int64),
    ).drop(levels)  # fmt: skip


def _ordered(nodes: pl.DataFrame, levels: list[str]) -> pl.DataFrame:
    """Parents before children, siblings by time: sorted by the times of all ancestors."""
    times = nodes.select("path", "instruction_ns")
    keyed = nodes
    for depth in range(len(levels)):
        prefix = pl.col("path").str.splitn(_SEPARATOR, depth + 2)
        parts = [prefix.struct.field(f"field_{index}") for index in range(depth + 1)]
        keyed = keyed.with_columns(pl.concat_str(parts, separator=_SEPARATOR).alias(f"at{depth}"))
        own = times.select(pl.col("path").alias(f"at{depth}"), pl.col("instruction_ns").alias(f"time{depth}"))
        keyed = keyed.join(own, on=f"at{depth}", how="left")
    keys = [key for depth in range(len(levels)) for key in (f"time{depth}", f"at{depth}")]
    descending = [key.startswith("time") for key in keys]
    ordered = keyed.sort(*keys, descending=descending, nulls_last=False)
    return ordered.select(*_COLUMNS)
