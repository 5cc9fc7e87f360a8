"""Top of the report: what ran, whether it was modelled or measured, what is missing, what the checks found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

import polars as pl

from ..profile import Profile
from . import theme
from .markup import Html, join, tag

_FACTS = (
    ("target", "target"),
    ("instance_type", "instance"),
    ("num_physical_cores", "physical cores"),
    ("nki", "NKI"),
    ("compiler_version", "compiler"),
    ("runtime_version", "runtime"),
    ("profiler_version", "profiler"),
)
_COST = (
    ("calibrated", "Vector", "measured on hardware"),
    ("documented", "DMA", "from the vendor's documentation"),
    ("guessed", "Throttled", "neither: an assumption"),
)


def title_of(profile: Profile) -> str:
    """The kernel's name, else the profile's own, else its file's."""
    facts = profile.facts
    name = facts.get("kernel") or facts.get("profile_name") or PurePath(profile.origin.path).name
    return name or "Profile"


def header(profile: Profile, heading: str) -> Html:
    """Name, kind of numbers, facts of the run, and for a simulation the range and the confidence of its time."""
    modelled = profile.origin.simulated
    kind = "modelled" if modelled else "measured"
    badge = tag("span", kind, class_=f"badge {kind}")
    facts = [tag("span", tag("b", label), f" {profile.facts[key]}") for key, label in _FACTS if profile.facts.get(key)]
    made = f" by {profile.origin.producer}" if profile.origin.producer else ""
    origin = f"{profile.origin.path or 'a simulation'}{made}"
    return tag(
        "header",
        tag("div", tag("h1", heading), badge, _switch(), class_="title"),
        tag("p", *facts, class_="facts") if facts else None,
        tag("p", f"From {origin}.", class_="note"),
        _confidence(profile) if modelled else None,
    )


def _switch() -> Html:
    return tag(
        "button", "◐ light / dark", id="scheme", type="button", hidden=True, aria_label="Switch between light and dark"
    )


def _confidence(profile: Profile) -> Html:
    """How far a modelled time can be trusted: its range, and how well the costs behind it are known."""
    low, high = profile.fact("body_low_ns"), profile.fact("body_high_ns")
    body = profile.fact("body_ns")
    sentence = "Times are modelled, not measured."
    if body is not None and low is not None and high is not None:
        sentence += f" The kernel's {body / 1e3:,.2f} µs lie between {low / 1e3:,.2f} and {high / 1e3:,.2f} µs."
    shares = {
        r["cost_class"]: r["share"] for r in profile.rows("CostClass").iter_rows(named=True) if r["share"] is not None
    }
    if not shares:
        return tag("p", sentence, class_="note")
    known = [(name, shade, about, shares[name]) for name, shade, about in _COST if name in shares]
    pieces = [
        tag("i", class_=f"fill-{theme.index(shade)}", style=f"width:{100 * share:.2f}%") for _, shade, _, share in known
    ]
    legend = [
        tag("span", tag("i", class_=f"dot fill-{theme.index(shade)}"), f"{share:.0%} {name} ({about})")
        for name, shade, about, share in known
    ]
    return tag(
        "div",
        tag("p", f"{sentence} Share of modelled engine time by how well its costs are known:"),
        tag(
            "div",
            *pieces,
            class_="bar",
            role="img",
            aria_label=", ".join(f"{share:.0%} {name}" for name, _, _, share in known),
        ),
        tag("p", *legend, class_="legend"),
        class_="confidence",
    )


def missing(profile: Profile, notes: Sequence[str]) -> Html:
    """What a reader must know before any number: what is missing, what the producer warned of, what the checks found."""
    warnings = profile.rows("Warning").select("category", "message").fill_null("")
    said = [
        f"{row['category']}: {row['message']}" if row["category"] else row["message"] for row in warnings.to_dicts()
    ]
    gaps = [*profile.notes, *said, *notes]
    first = (
        tag("div", tag("h2", "Missing or doubtful"), tag("ul", *(tag("li", text) for text in gaps)), class_="gaps")
        if gaps
        else None
    )
    return join(first, findings(profile))


def findings(profile: Profile) -> Html | None:
    """The findings of the simulator's checks; for a simulation without any, a sentence that says so."""
    found = profile.rows("Finding")
    if found.is_empty():
        clean = "The simulator's checks found nothing." if profile.origin.simulated else None
        return tag("p", clean, class_="clean") if clean else None
    rows = [_finding(row) for row in found.with_columns(pl.selectors.string().fill_null("")).iter_rows(named=True)]
    return tag("section", tag("h2", f"Findings ({found.height})"), *rows)


def _finding(row: dict[str, object]) -> Html:
    where = (
        f"{row['file']}:{row['line']}" + (f" in {row['function']}" if row["function"] else "") if row["file"] else None
    )
    severity = "error" if row["severity"] == "error" else "warning"
    return tag(
        "article",
        tag("h3", tag("span", str(row["severity"]), class_=f"severity {severity}"), " ", tag("code", str(row["code"]))),
        tag("p", str(row["message"])),
        tag("p", tag("b", "Fix: "), str(row["fix"])) if row["fix"] else None,
        tag("button", where, class_="place", type="button", data_file=str(row["file"]), data_line=str(row["line"]))
        if where
        else None,
        class_="finding",
    )
