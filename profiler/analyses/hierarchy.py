"""`hierarchy`: time from layer and module through operation, function and line down to the instruction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import polars as pl

from ..errors import NotInProfileError
from ..profile import Profile
from ..schema import ENGINES
from .base import Answer, Shown
from .calls import stacks
from .machine import machine, working

if TYPE_CHECKING:
    import plotly.graph_objects as go

LEVELS = ("layer", "module", "operation", "function", "line", "instruction")
NOWHERE = "(no source)"
_SEPARATOR = " › "
_MAX_DEPTH = 24
_KEYS = ("layer", "hlo_name", "stack_frame_id", "function", "file", "line", "opcode")
_COLUMNS = (
    "path", "name", "level", "depth", "parent", "instruction_ns", "share", "instructions", "span_ns", "flops", "mfu",
    *(f"{name.lower()}_ns" for name in ENGINES),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hierarchy(Answer):
    """A tree of instruction time: layer, modules in it, operation, functions by who calls whom, line, opcode.

    A level that an instruction does not have is left out of its path; "(no source)" holds those that have none, where
    others do. The layer is the framework's path up to its first numbered part ("model/layers.3"), the rest are modules.

    Attributes:
        rows: one row per node, parents before children: path (names joined), name, level (one of `LEVELS`, or
            "no source"), depth, parent (path of the parent, "" at the top), instruction_ns (durations added up, semaphore
            waits left out; a node's is the sum of its children's), share (of all), instructions, span_ns
            (first start to last end), flops (null where unknown), mfu (flops without transposes / (peak of the node's
            cores x span_ns); null where unknown), and <engine>_ns.
        attributed: share of instruction time with at least a layer, operation, function or line, 0 to 1.
        simulated: whether times are modelled.
    """

    title: ClassVar[str] = "Hierarchy"
    shown: ClassVar[tuple[Shown, ...]] = (
        Shown("indented", "node"),
        Shown("instruction_ns", "time us", "us", "durations of the node's instructions added up, semaphore waits left out"),
        Shown("share", "share", "percent"),
        Shown("span_ns", "span us", "us", "first start to last end"),
        Shown("mfu", "MFU", "percent", "FLOPs without transposes / (peak of the node's cores x span)"),
        Shown("instructions", "count", "count"),
        *(Shown(f"{name.lower()}_ns", name, "us") for name in ENGINES),
    )  # fmt: skip

    rows: pl.DataFrame
    attributed: float
    simulated: bool

    def remarks(self) -> list[str]:
        """How much of the time has a place in the tree."""
        return [f"{self.attributed:.1%} of instruction time has a layer, operation, function or line"]

    def printed(self) -> pl.DataFrame:
        """The rows, names indented by depth, without engines that nothing uses."""
        idle = [f"{name.lower()}_ns" for name in ENGINES if not float(self.rows[f"{name.lower()}_ns"].sum() or 0.0)]
        return self.rows.with_columns(
            *(pl.lit(None, pl.Float64).alias(name) for name in idle),
            indented=pl.lit("  ").repeat_by("depth").list.join("") + pl.col("name"),
        )

    def figure(self) -> go.Figure:
        """An icicle to click through."""
        import plotly.graph_objects as go

        from .figures import DEPTHS, inert, styled

        rows = self.rows
        whole = float(rows.filter(depth=0)["instruction_ns"].sum())
        colours = [
            DEPTHS[LEVELS.index(level) % len(DEPTHS)] if level in LEVELS else "#e3e6ea"
            for level in rows["level"].to_list()
        ]
        icicle = go.Icicle(
            ids=["all", *rows["path"].to_list()], labels=["all", *map(inert, rows["name"].to_list())],
            parents=["", *(parent or "all" for parent in rows["parent"].to_list())],
            values=[whole / 1e3, *(rows["instruction_ns"] / 1e3).to_list()], branchvalues="total", tiling={"orientation": "v"},
            marker={"colors": ["#f4f6f8", *colours], "line": {"width": 1, "color": "white"}},
            customdata=["run", *rows["level"].to_list()], texttemplate="%{label}<br>%{value:,.4g} us · %{percentRoot:.0%}",
            hovertemplate="%{customdata} %{label}<br>%{value:,.4g} us · %{percentRoot:.1%} of all · %{percentParent:.1%} of its parent<extra></extra>",
        )  # fmt: skip
        drawn = styled(go.Figure(icicle), "Instruction time, us (click to go down)", height=560)
        readable = {"minsize": 11, "mode": "hide"}  # a box too small for its name shows it where the pointer rests
        return drawn.update_layout(uniformtext=readable, margin_t=56)


def hierarchy(p: Profile) -> Hierarchy:
    """The tree layer, module, operation (of the framework's graph), function, line, instruction.

    Raises:
        NotInProfileError: the profile has no instructions.
    """
    if not p.has("Instruction"):
        raise NotInProfileError(
            "hierarchy needs instructions, and this profile has none", fix="open the NTFF or the full JSON of the run"
        )
    leaves = _paths(p, _summed(working(p)))
    whole = float(leaves["instruction_ns"].sum())
    nowhere = leaves.filter(pl.col("names").list.len() == 1)
    placed = whole - float(nowhere["instruction_ns"].sum())
    if placed:
        lost = pl.col("names").list.len() == 1
        leaves = leaves.with_columns(
            names=pl.when(lost).then(pl.concat_list(pl.lit(NOWHERE), "names")).otherwise("names"),
            levels=pl.when(lost).then(pl.concat_list(pl.lit("no source"), "levels")).otherwise("levels"),
        )
    depths = int(leaves["names"].list.len().max() or 0)  # type: ignore[arg-type]
    nodes = pl.concat([_level(leaves, depth) for depth in range(depths)])
    rows = _ordered(_with_mfu(nodes, machine(p).core_flops), depths)
    share = pl.col("instruction_ns") / whole if whole else pl.lit(None, pl.Float64)
    return Hierarchy(
        rows.with_columns(share=share).select(_COLUMNS), placed / whole if whole else 0.0, p.origin.simulated
    )


def _summed(rows: pl.DataFrame) -> pl.DataFrame:
    """Instructions added up by everything that a path depends on."""
    spent = pl.col("end_ts") - pl.col("start_ts")
    engines = [spent.filter(pl.col("engine") == name).sum().alias(f"{name.lower()}_ns") for name in ENGINES]
    known = pl.col("raw_flops").is_not_null().any()
    useful = (pl.col("raw_flops") - pl.col("flops_transpose").fill_null(0)).sum()
    return rows.group_by(_KEYS, maintain_order=True).agg(
        spent.sum().alias("instruction_ns"), pl.len().cast(pl.Int64).alias("instructions"), *engines, first=pl.col("start_ts").min(), last=pl.col("end_ts").max(),
        flops=pl.when(known).then(pl.col("raw_flops").sum()), useful=pl.when(known).then(useful), cores=pl.col("pcore_idx").fill_null(0).unique(),
    )  # fmt: skip


def _paths(p: Profile, rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with the names on the way to each, outermost first, and their levels."""
    line = pl.col("file").str.split("/").list.last() + ":" + pl.col("line").cast(pl.String)
    parts = pl.when(~pl.col("layer").is_in(["Unknown", ""])).then(pl.col("layer").str.strip_chars("/").str.split("/"))
    rows = rows.join(stacks(p), on="stack_frame_id", how="left", maintain_order="left").with_columns(_parts=parts)
    numbered = pl.col("_parts").list.eval(pl.element().str.contains(r"\d")).list.arg_max()
    upper = (
        pl.when(pl.col("_parts").list.eval(pl.element().str.contains(r"\d")).list.any()).then(numbered).otherwise(0) + 1
    )
    none = pl.lit([], pl.List(pl.String))
    pieces = {
        "layer": pl.concat_list(pl.col("_parts").list.head(upper).list.join("/")),
        "module": pl.col("_parts").list.slice(upper),
        "operation": pl.concat_list("hlo_name"),
        "function": pl.when(pl.col("calls").is_not_null()).then("calls").otherwise(pl.concat_list("function")),
        "line": pl.concat_list(line),
        "instruction": pl.concat_list(pl.col("opcode").fill_null("unknown opcode")),
    }
    lists = rows.with_columns(
        expr.list.drop_nulls().fill_null(none).alias(f"_{level}") for level, expr in pieces.items()
    )
    named = pl.concat_list(f"_{level}" for level in LEVELS).list.eval(
        pl.element().str.replace_all(_SEPARATOR, " > ", literal=True)
    )
    levels = pl.concat_list(pl.lit(level).repeat_by(pl.col(f"_{level}").list.len()) for level in LEVELS)
    return lists.with_columns(names=_shortened(named), levels=_shortened(levels))


def _shortened(path: pl.Expr) -> pl.Expr:
    """Both ends of a path that is too deep."""
    half = _MAX_DEPTH // 2
    return (
        pl.when(path.list.len() > _MAX_DEPTH)
        .then(path.list.head(half).list.concat(path.list.tail(half)))
        .otherwise(path)
    )


def _level(leaves: pl.DataFrame, depth: int) -> pl.DataFrame:
    """All nodes of one depth."""
    names = pl.col("names")
    known = pl.col("flops").is_not_null().any()
    sums = [pl.col(f"{name.lower()}_ns").sum() for name in ENGINES]
    return leaves.filter(names.list.len() > depth).group_by(path=names.list.head(depth + 1).list.join(_SEPARATOR), maintain_order=True).agg(
        pl.col("instruction_ns", "instructions").sum(), *sums,
        name=names.list.get(depth).first(), level=pl.col("levels").list.get(depth).first(), depth=pl.lit(depth, pl.Int64),
        parent=names.list.head(depth).list.join(_SEPARATOR).first(), span_ns=pl.col("last").max() - pl.col("first").min(),
        flops=pl.when(known).then(pl.col("flops").sum()), useful=pl.when(known).then(pl.col("useful").sum()),
        cores=pl.col("cores").explode().n_unique(), names=names.list.head(depth + 1).first(),
    )  # fmt: skip


def _with_mfu(nodes: pl.DataFrame, peak: float | None) -> pl.DataFrame:
    """Nodes with their MFU."""
    if not peak:
        return nodes.with_columns(mfu=pl.lit(None, pl.Float64))
    rate = pl.col("useful") / pl.col("span_ns") * 1e9
    return nodes.with_columns(mfu=pl.when(pl.col("span_ns") > 0).then(rate / (peak * pl.col("cores"))))


def _ordered(nodes: pl.DataFrame, depths: int) -> pl.DataFrame:
    """Parents before children, siblings by time: sorted by the times of all ancestors."""
    times = nodes.select("path", "instruction_ns")
    keyed = nodes
    for depth in range(depths):
        at = pl.when(pl.col("depth") >= depth).then(pl.col("names").list.head(depth + 1).list.join(_SEPARATOR))
        own = times.select(pl.col("path").alias(f"at{depth}"), pl.col("instruction_ns").alias(f"time{depth}"))
        keyed = keyed.with_columns(at.alias(f"at{depth}")).join(own, on=f"at{depth}", how="left", maintain_order="left")
    keys = [key for depth in range(depths) for key in (f"time{depth}", f"at{depth}")]
    return keyed.sort(*keys, descending=[key.startswith("time") for key in keys], nulls_last=False)
