"""The report's conclusions: advice with its evidence and lines, the ladder of bounds, and what engines waited for."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import polars as pl

from ..analyses.advice import advice
from ..analyses.base import written
from ..analyses.bounds import bounds
from ..analyses.stalls import CAUSES, STALLED, Stalls, stalls
from ..errors import NotInProfileError
from ..profile import Profile
from . import theme
from .markup import Html, join, tag

_LINES = 8
_ADVICE = "Each gain is an upper bound: what would vanish if this one thing were perfect. Gains do not add up."
_BOUNDS = "Each step is the least time with one more loss removed; the last one is the roofline."
_STALLS = (
    "All of each engine's time: active (in its colour), stalled by cause, and idle before its first and after its last "
    "instruction (left empty). A gap belongs to the instruction that ends it."
)
_MICRO = re.compile(r"(?<=\d) us\b")
Places = dict[str, tuple[str, int]]


def conclusions(profile: Profile) -> Html:
    """Advice, bounds and stalls, each left out where the profile does not determine it."""
    return join(*(_known(part, profile) for part in (_advice, _bounds, _stalls)))


def _known(part: Callable[[Profile], Html | None], profile: Profile) -> Html | None:
    """One section, None where the profile has no answer."""
    try:
        return part(profile)
    except NotInProfileError:
        return None


def _places(profile: Profile) -> Places:
    """Source lines by what people call them: "kernel.py:12" to (file, line)."""
    rows = profile.rows("Instruction").select("file", "line").drop_nulls().unique()
    return {f"{PurePath(file).name}:{line}": (file, line) for file, line in rows.rows()}


def micro(text: str) -> str:
    """A sentence of an analysis, which writes "us" for terminals, with the sign of the page."""
    return _MICRO.sub(" µs", text)


def place(name: str, places: Places) -> Html:
    """A button that lights a line in the timeline; plain text where the line is not known."""
    if name not in places:
        return tag("code", name)
    file, line = places[name]
    return tag("button", name, class_="place", type="button", data_file=file, data_line=str(line))


def _advice(profile: Profile) -> Html:
    answer, places = advice(profile), _places(profile)
    silent = [tag("p", remark, class_="clean") for remark in answer.remarks()]
    items = [_item(row, places) for row in answer.rows.iter_rows(named=True)]
    note = tag("p", _ADVICE, class_="note") if items else None
    return tag("section", tag("h2", "What to change first"), note, *silent, *items, id="section-advice")


def _item(row: dict[str, Any], places: Places) -> Html:
    """One piece of advice."""
    lines = [place(name, places) for name in row["lines"].split(", ") if name]
    gain = f"up to {written(row['gain_ns'], 'us')} µs · {written(row['share'], 'percent')}"
    more = tag("a", "guide", href=row["link"], rel="noreferrer") if row["link"].startswith("https://") else None
    return tag(
        "article",
        tag("h3", tag("span", gain, class_="gain"), row["rule"]),
        tag("p", row["what"]),
        tag("p", micro(row["evidence"]), class_="note"),
        tag("p", *lines, more, class_="places"),
        class_="advice",
    )


def _bounds(profile: Profile) -> Html | None:
    answer = bounds(profile)
    if answer.rows.height < 2:
        return None
    steps = [_step(row) for row in answer.rows.iter_rows(named=True)]
    return tag(
        "section",
        tag("h2", "How fast it could be"),
        tag("p", _BOUNDS, class_="note"),
        tag("div", *steps, class_="core"),
        *[tag("p", sentence, class_="note") for sentence in answer.roofs()],
        id="section-bounds",
    )


def _step(row: dict[str, Any]) -> Html:
    """One rung of the ladder; what it saves is drawn pale behind it."""
    share = min(float(row["share"]), 1.0)
    saved = float(row["saved_ns"] or 0.0)
    gone = share * saved / row["ns"] if row["ns"] else 0.0
    saves = f"saves {written(saved, 'us')} µs · " if saved > 0 else ""
    pieces = [
        tag("i", class_=f"fill-{theme.index(name)}", style=f"width:{100 * part:.2f}%")
        for name, part in (("Tensor", share), ("Tensor: weights and transposes", min(gone, 1 - share)))
    ]
    return tag(
        "div",
        tag("span", row["step"], class_="label"),
        tag("span", *pieces, class_="bar"),
        tag("span", f"{written(row['ns'], 'us')} µs", class_="value"),
        tag("span", f"{saves}{row['what']}", class_="beside"),
        class_="engine rung",
    )


def _stalls(profile: Profile) -> Html:
    answer = stalls(profile)
    parts = answer.rows.partition_by("core", "engine", maintain_order=True)
    several = answer.rows["core"].n_unique() > 1
    used = [cause for cause in CAUSES if cause != "active" and (answer.rows["cause"] == cause).any()]
    legend = [tag("span", tag("i", class_=f"dot fill-{theme.index(CAUSES[c])}"), c) for c in used]
    return tag(
        "section",
        tag("h2", "What engines waited for"),
        tag("p", _STALLS, class_="note"),
        *[tag("p", micro(remark), class_="note") for remark in answer.remarks()],
        tag("p", *legend, class_="legend"),
        tag("div", *[_engine(part, several=several) for part in parts], class_="core"),
        _causers(answer, _places(profile)),
        id="section-stalls",
    )


def _engine(rows: pl.DataFrame, *, several: bool) -> Html:
    """One engine's account as a bar from active to unknown."""
    engine, core = rows["engine"][0], rows["core"][0]
    shares: dict[str, float] = dict(rows.select("cause", "share").rows())
    pieces = [
        tag(
            "i",
            class_=f"fill-{theme.index(engine if cause == 'active' else shade)}",
            style=f"width:{100 * shares[cause]:.2f}%",
            title=f"{cause} {written(shares[cause], 'percent')}",
        )
        for cause, shade in CAUSES.items()
        if shares.get(cause)
    ]
    stalled = sum(shares.get(cause, 0.0) for cause in STALLED)
    said = f"active {written(shares.get('active', 0.0), 'percent')} · stalled {written(stalled, 'percent')}"
    return tag(
        "div",
        tag("span", f"{engine} {core}" if several else engine, class_="label", title=f"{engine}, core {core}"),
        tag("span", *pieces, class_="bar"),
        tag("span", said, class_="beside"),
        class_="engine account",
    )


def _causers(answer: Stalls, places: Places) -> Html | None:
    """The lines that others waited for longest."""
    top = answer.by_line.drop_nulls("cause_file").head(_LINES)
    if top.is_empty():
        return None
    heads = tag("tr", tag("th", "waited for line"), tag("th", "added up over engines, µs"), tag("th", "gaps"))
    body = [
        tag(
            "tr",
            tag("td", place(f"{PurePath(row['cause_file']).name}:{row['cause_line']}", places)),
            tag("td", written(row["caused_ns"], "us")),
            tag("td", written(row["gaps"], "count")),
        )
        for row in top.iter_rows(named=True)
    ]
    return tag("div", tag("table", tag("thead", heads), tag("tbody", *body)), class_="wide causers")
