"""How the figures of the analyses look: one layout and the palette of every view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import plotly.graph_objects as go
import polars as pl

from ..views import theme

INK, GRID = "#3b424c", "#e3e6ea"
DEPTHS = ("#D5E4EF", "#B9D3E6", "#9AC4E0", "#C9E4DA", "#F3E3C3")
ROW_PX, FRAME_PX, PLAIN_PX = 26, 150, 440


def colour(name: str) -> str:
    """The palette's colour of an engine or class on a light page."""
    return theme.shade(name).light


def inert(name: object) -> str:
    """A name as text that Plotly cannot take for markup."""
    return str(name).replace("&", "&amp;").replace("<", "&lt;")


def styled(figure: go.Figure, title: str, *, rows: int | None = None, **layout: object) -> go.Figure:
    """`figure` with the common layout: quiet grid, readable text, names never cut.

    Args:
        figure: changed and returned.
        title: above it.
        rows: horizontal bars to make room for; None gives the usual height.
        **layout: further layout.
    """
    axis = {"automargin": True, "gridcolor": GRID, "zerolinecolor": GRID, "linecolor": GRID}
    figure.update_layout(
        title={"text": title, "x": 0, "xanchor": "left", "xref": "container", "pad": {"l": 16, "t": 14}, "y": 1, "yanchor": "top", "yref": "container"},
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        plot_bgcolor="white", paper_bgcolor="white", margin={"l": 16, "r": 24, "t": 92, "b": 44},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "traceorder": "normal"}, bargap=0.25,
        height=PLAIN_PX if rows is None else FRAME_PX + ROW_PX * max(rows, 4),
    )  # fmt: skip
    return figure.update_xaxes(axis).update_yaxes(axis).update_layout(layout)


def stacked(rows: pl.DataFrame, name: str, parts: Sequence[tuple[str, str, str]], title: str) -> go.Figure:
    """Horizontal stacked bars in us, the first row at the bottom.

    Args:
        rows: one bar each.
        name: column of the bars' labels.
        parts: (column in ns, label, class of the palette).
        title: above the figure.
    """
    labels = [inert(value) for value in rows[name].to_list()]
    bars = [
        go.Bar(name=label, y=labels, x=(rows[column] / 1e3).to_list(), orientation="h", marker_color=colour(shade))
        for column, label, shade in parts
        if float(rows[column].sum() or 0)
    ]
    figure = go.Figure(bars)
    styled(figure, title, rows=rows.height, barmode="stack", xaxis_title="us")
    return figure.update_yaxes(type="category", showgrid=False)


def shares(rows: pl.DataFrame, causes: Mapping[str, str]) -> go.Figure:
    """Shares of the run per engine and cause, the first engine on top.

    Args:
        rows: label (of the bar), cause, share.
        causes: cause to its class of the palette, in the order of the pieces.
    """
    labels = rows["label"].unique(maintain_order=True).reverse().to_list()
    bars = []
    for cause, shade in causes.items():
        found = dict(rows.filter(pl.col("cause") == cause).select("label", "share").rows())
        if found:
            x = [found.get(label, 0.0) for label in labels]
            bars.append(go.Bar(name=cause, y=labels, x=x, orientation="h", marker_color=colour(shade)))
    figure = styled(go.Figure(bars), "What engines waited for", rows=len(labels), barmode="stack")
    return figure.update_xaxes(tickformat=".0%", range=[0, 1]).update_yaxes(type="category", showgrid=False)


def ladder(steps: Sequence[str], values: Sequence[float], title: str, unit: str = "us") -> go.Figure:
    """Bars that go down step by step, with what each step saves drawn above it.

    Args:
        steps: names, top first.
        values: height of each, in `unit`, never rising.
        title: above the figure.
        unit: of the values.
    """
    saved = [0.0, *(before - after for before, after in pairwise(values))]
    kept = go.Bar(
        x=list(steps), y=list(values), marker_color=colour("Tensor"), name="time", text=[f"{v:,.4g}" for v in values],
        textposition="inside", insidetextanchor="end", textangle=0,
    )  # fmt: skip
    gone = go.Bar(
        x=list(steps), y=saved, marker_color=GRID, name="saved by this step", text=[f"−{s:,.3g}" if s > 0 else "" for s in saved],
        textposition="outside", cliponaxis=False,
    )  # fmt: skip
    return styled(go.Figure([kept, gone]), title, barmode="stack", yaxis_title=unit)


def waterfall(names: Sequence[str], changes: Sequence[float], totals: tuple[float, float], title: str) -> go.Figure:
    """From one total to another over signed changes, in us."""
    figure = go.Figure(
        go.Waterfall(
            x=["before", *map(inert, names), "after"], y=[totals[0], *changes, totals[1]],
            measure=["absolute", *["relative"] * len(names), "total"],
            text=[f"{totals[0]:,.4g}", *(f"{c:+,.3g}" for c in changes), f"{totals[1]:,.4g}"], textposition="outside", cliponaxis=False,
            increasing={"marker": {"color": colour("Collective")}}, decreasing={"marker": {"color": colour("Vector")}},
            totals={"marker": {"color": colour("Tensor")}}, connector={"line": {"color": GRID}},
        )
    )  # fmt: skip
    return styled(figure, title, yaxis_title="us", showlegend=False)


def heat(rows: pl.DataFrame, x: str, y: str, value: str, title: str) -> go.Figure:
    """A map of `value` over `x` and `y`, which are numbers of things."""
    wide = rows.pivot(on=x, index=y, values=value, aggregate_function="max", sort_columns=True).sort(y)
    columns = [name for name in wide.columns if name != y]
    figure = go.Figure(
        go.Heatmap(
            z=wide.select(columns).rows(), x=columns, y=[str(v) for v in wide[y].to_list()],
            colorscale=[[0, "#f4f6f8"], [1, colour("Collective")]], xgap=1, ygap=1,
        )
    )  # fmt: skip
    styled(figure, title, rows=wide.height, xaxis_title=x, yaxis_title=y)
    return figure.update_xaxes(type="category").update_yaxes(type="category", autorange="reversed")


def rank_bars(rows: pl.DataFrame) -> go.Figure:
    """Compute, exposed collectives and the rest of each rank's run, from the rows of `overlap` by rank."""
    kinds = rows.pivot(on="kind", index="rank", values="active_ns")
    exposed = rows.filter(pl.col("kind") == "collectives").select("rank", exposed="exposed_ns")
    total = rows.filter(pl.col("share") > 0).group_by("rank").agg(total=(pl.col("active_ns") / pl.col("share")).first())
    both = kinds.select("rank", pl.col("compute") if "compute" in kinds.columns else pl.lit(0.0).alias("compute"))
    joined = both.join(exposed, on="rank", how="left").join(total, on="rank", how="left")
    joined = joined.with_columns(pl.col("compute", "exposed", "total").fill_null(0.0))
    rest = joined.with_columns(rest=pl.col("total") - pl.col("compute") - pl.col("exposed")).sort(
        "rank", descending=True
    )
    parts = (
        ("compute", "compute", "Tensor"),
        ("exposed", "exposed collectives", "Collective"),
        ("rest", "neither", "Waiting"),
    )
    return stacked(rest.with_columns(label=pl.format("rank {}", "rank")), "label", parts, "Ranks, us")
