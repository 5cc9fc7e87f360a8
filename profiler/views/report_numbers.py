"""The report's numbers: the few that say most as cards, engine utilisation as bars, all others in a table."""

from __future__ import annotations

from typing import Any

import polars as pl

from ..analyses.base import written
from ..analyses.engines import ALL, engines
from ..analyses.summary import Summary, summary
from ..errors import NotInProfileError
from ..profile import Profile
from . import theme
from .markup import Html, join, tag

_CARDS = (
    "total_time",
    "mfu_estimated_percent",
    "mfu_inst_estimated_percent",
    "hfu_estimated_percent",
    "mbu_estimated_percent",
    "hbm_read_bytes",
    "hbm_write_bytes",
    "hardware_flops",
    "mm_arithmetic_intensity",
    "spill_save_bytes",
)
_MOST_CARDS = 8
_LABELS = {
    "total_time": "Total time",
    "mfu_estimated_percent": "MFU",
    "mfu_inst_estimated_percent": "MFU by instructions",
    "hfu_estimated_percent": "HFU",
    "mbu_estimated_percent": "MBU",
    "hbm_read_bytes": "Read from HBM",
    "hbm_write_bytes": "Written to HBM",
    "hardware_flops": "TensorE work",
    "mm_arithmetic_intensity": "Arithmetic intensity",
    "spill_save_bytes": "Spilled",
}


def numbers(profile: Profile) -> Html:
    """Cards, engine bars and the table of all metrics; a sentence where the profile determines none."""
    try:
        answer = summary(profile)
    except NotInProfileError as error:
        return tag("section", tag("h2", "Summary"), tag("p", error.what, class_="note"))
    rows = {row["metric"]: row for row in answer.rows.iter_rows(named=True)}
    cards = _cards(rows)
    return join(
        tag("section", tag("h2", "Summary"), *cards, id="section-summary") if cards else None,
        _engines(profile),
        _all(answer),
    )


def _cards(rows: dict[str, dict[str, Any]]) -> tuple[Html, ...]:
    present = [name for name in _CARDS if name in rows and rows[name]["value"] is not None]
    if "mfu_estimated_percent" in present:
        present = [name for name in present if name != "mfu_inst_estimated_percent"]
    return (tag("div", *(_card(rows[name]) for name in present[:_MOST_CARDS]), class_="cards"),) if present else ()


def _card(row: dict[str, Any]) -> Html:
    formula = f"({row['numerator']}) ÷ ({row['denominator']})" if row["denominator"] else None
    return tag(
        "div",
        tag("div", _LABELS[row["metric"]], class_="label"),
        tag("div", value_text(row["value"], row["unit"]), class_="value"),
        tag("div", row["definition"], class_="definition"),
        tag("div", formula, class_="formula") if formula else None,
        class_="card",
    )


def value_text(value: float, unit: str) -> str:
    """A metric of the summary as people read it; seconds become µs, fractions per cent."""
    if unit == "s":
        return f"{written(value * 1e9, 'us')} µs"
    if unit == "fraction":
        return f"{100 * value:.3g} %"
    if unit == "bytes":
        return written(value, "bytes")
    if unit in {"flop", "flop/byte"}:
        return _decimal(value, unit.replace("flop", "FLOP"))
    return f"{written(value, 'number')} {unit}".strip()


def _decimal(value: float, unit: str) -> str:
    for prefix in ("", "k", "M", "G", "T"):
        if abs(value) < 1000:
            return f"{value:,.4g} {prefix}{unit}"
        value /= 1000
    return f"{value:,.4g} P{unit}"


def _engines(profile: Profile) -> Html | None:
    """Share of the run in which each engine is active, over all cores and per core."""
    try:
        answer = engines(profile)
    except NotInProfileError:
        return None
    parts = answer.rows.partition_by("core", maintain_order=True)
    several = len(parts) > 2
    blocks = [_core(part, several) for part in parts if several or part["core"][0] == ALL]
    note = "Active: share of the run in which the engine executes at least one instruction that is not a semaphore wait (union of spans ÷ total time)."
    return tag(
        "section",
        tag("h2", "Engine utilisation"),
        tag("p", note, class_="note"),
        tag("div", *blocks, class_="cores"),
        id="section-engines",
    )


def _core(rows: pl.DataFrame, several: bool) -> Html:
    core = rows["core"][0]
    name = "All cores (union)" if core == ALL else f"Core {core}"
    return tag(
        "div",
        tag("h3", name) if several else None,
        *(_engine(row) for row in rows.iter_rows(named=True)),
        class_="core",
    )


def _engine(row: dict[str, Any]) -> Html:
    share = float(row["active"])
    beside = [
        f"{written(row['active_ns'], 'us')} µs",
        f"{written(row['instructions'], 'count')} {'packets' if row['engine'] == 'DMA' else 'instructions'}",
    ]
    if row["engine"] == "Tensor" and row["mfu"] is not None:
        beside.append(f"MFU {written(row['mfu'], 'percent')}")
    fill = tag("i", class_=f"fill-{theme.index(row['engine'])}", style=f"width:{100 * min(1.0, share):.2f}%")
    return tag(
        "div",
        tag("span", row["engine"], class_="label"),
        tag("span", fill, class_="bar"),
        tag("span", written(share, "percent"), class_="value"),
        tag("span", " · ".join(beside), class_="beside"),
        class_="engine",
    )


def _all(answer: Summary) -> Html:
    heads = tag("tr", *(tag("th", name) for name in ("metric", "value", "unit", "by", "definition")))
    body = [
        tag(
            "tr",
            tag("td", tag("code", row["metric"])),
            tag(
                "td",
                written(row["value"], "number") if row["value"] is not None else row["text"] or "–",
                class_="number",
            ),
            tag("td", row["unit"] or ""),
            tag("td", row["by"] or ""),
            tag("td", row["definition"] or ""),
        )
        for row in answer.rows.iter_rows(named=True)
    ]
    table = tag("div", tag("table", tag("thead", heads), tag("tbody", *body)), class_="wide")
    return tag("details", tag("summary", f"All metrics ({len(body)}), with the vendor's names and units"), table)
