"""The report's source: every line of the kernel with its time per engine."""

from __future__ import annotations

from typing import Any

import polars as pl

from ..analyses.base import written
from ..analyses.lines import Lines, lines
from ..errors import NotInProfileError
from ..profile import Profile
from ..schema import ENGINES
from . import theme
from .markup import Html, join, tag

_AROUND = 15
_SHORT = 300
_PIECES = (*((f"{name.lower()}_ns", name) for name in ENGINES), ("dma_ns", "DMA"))
_NOTE = (
    "Instructions: durations of the line's instructions added up over engines, semaphore waits left out. "
    "DMA: time with one of the line's transfers in flight. Click a line to light its instructions in the timeline."
)


def source(profile: Profile) -> Html:
    """The annotated source files, most expensive first; a sentence where no instruction has a line."""
    try:
        answer = lines(profile)
    except NotInProfileError as error:
        return tag("section", tag("h2", "Source"), tag("p", error.what, class_="note"))
    remarks = [tag("p", remark, class_="note") for remark in answer.remarks()]
    if not answer.files():
        return tag("section", tag("h2", "Source"), *remarks)
    texts = dict(profile.rows("Source").select("file", "text").drop_nulls().iter_rows())
    known = answer.rows.drop_nulls("file").with_columns(total=pl.sum_horizontal(name for name, _ in _PIECES))
    most = float(known["total"].to_numpy().max()) or 1.0
    listings = [_listing(file, texts.get(file), known.filter(pl.col("file") == file), most) for file in answer.files()]
    return tag(
        "section",
        tag("h2", "Source"),
        *remarks,
        tag("p", _NOTE, class_="note"),
        _legend(answer),
        *listings,
        id="section-source",
    )


def _legend(answer: Lines) -> Html:
    used = [name for column, name in _PIECES if float(answer.rows[column].sum() or 0.0) > 0]
    return tag(
        "p", *(tag("span", tag("i", class_=f"dot fill-{theme.index(name)}"), name) for name in used), class_="legend"
    )


def _listing(file: str, text: str | None, rows: pl.DataFrame, most: float) -> Html:
    costs = {row["line"]: row for row in rows.iter_rows(named=True)}
    words = text.split("\n") if text is not None else []
    absent = None if words else tag("p", "The text of this file is not in the profile.", class_="note")
    drawn: list[Html] = []
    last = 0
    for number in _shown(costs, len(words)):
        if words and number > last + 1 and last:
            drawn.append(tag("div", tag("span", "⋮", class_="n"), class_="row"))
        code = words[number - 1] if number <= len(words) else ""
        drawn.append(_row(file, number, code, costs.get(number), most))
        last = number
    moving = "DMA µs" if any(cost["dma_ns"] for cost in costs.values()) else ""
    heads = (("line", "n"), ("instr. µs", "t"), (moving, "t"), ("", "bar"), ("", "c"))
    head = tag("div", *(tag("span", name, class_=kind) for name, kind in heads), class_="row head")
    return join(
        tag("h3", tag("code", file)), absent, tag("div", tag("div", head, *drawn, class_="code"), class_="listing")
    )


def _shown(costs: dict[int, dict[str, Any]], length: int) -> list[int]:
    """Line numbers to list: a short file whole, else the lines near one with time; those with time where there is no text."""
    if not length:
        return sorted(costs)
    if length <= _SHORT:
        return list(range(1, length + 1))
    near = {n for number in costs for n in range(number - _AROUND, number + _AROUND + 1)}
    return [n for n in range(1, length + 1) if n in near]


def _row(file: str, number: int, code: str, cost: dict[str, Any] | None, most: float) -> Html:
    if cost is None:
        return tag(
            "div", tag("span", str(number), class_="n"), *[tag("span")] * 3, tag("code", code or " "), class_="row"
        )
    pieces = [
        tag("i", class_=f"fill-{theme.index(name)}", style=f"width:{100 * cost[column] / most:.2f}%")
        for column, name in _PIECES
        if cost[column]
    ]
    return tag(
        "button",
        tag("span", str(number), class_="n"),
        tag("span", written(cost["instruction_ns"], "us"), class_="t"),
        tag("span", written(cost["dma_ns"], "us") if cost["dma_ns"] else "", class_="t"),
        tag("span", *pieces, class_="bar"),
        tag("code", code or " "),
        class_="row",
        type="button",
        title=_title(cost),
        data_file=file,
        data_line=str(number),
    )


def _title(cost: dict[str, Any]) -> str:
    """What the pointer shows: count, share and time per engine."""
    parts = [
        f"{written(cost['instructions'], 'count')} instructions, {written(cost['share'], 'percent')} of instruction time"
    ]
    parts += [f"{name} {written(cost[column], 'us')} µs" for column, name in _PIECES if cost[column]]
    stalls = (("others waited for it", "stall_caused_ns"), ("it waited", "stall_suffered_ns"))
    parts += [f"{words} {written(cost[column], 'us')} µs" for words, column in stalls if cost[column]]
    return "; ".join(parts)
