"""`report.html`: one file that holds a whole profile for reading, opens offline, and needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

from ..profile import Profile
from . import theme, timeline
from .markup import Html, join, tag
from .report_advice import conclusions
from .report_head import header, missing, title_of
from .report_numbers import numbers
from .report_source import source
from .writing import write

_SCHEMA = "nkilab.report/1"


def report_html(profile: Profile, title: str = "") -> str:
    """The report of one profile as a self-contained HTML page.

    Args:
        profile: a simulated or measured profile; sections without data say so.
        title: heading of the page; the kernel's or the file's name if empty.

    Returns:
        UTF-8 text. No name from the profile becomes markup, and a content security policy lets only the page's own
        script run.
    """
    heading = title or title_of(profile)
    drawn = timeline.timeline(profile, heading)
    script = f"{timeline.script()}\n{_asset('report.js')}"
    body = tag(
        "main",
        header(profile, heading),
        missing(profile, drawn["notes"]),
        numbers(profile),
        conclusions(profile),
        _timeline_section(),
        source(profile),
    )
    page = join(_head(heading, script), tag("body", body, _data(drawn), tag("script", Html(script), type="module")))
    return f'<!doctype html>\n<html lang="en">{page}</html>\n'


def write_report(profile: Profile, path: str | PathLike[str], title: str = "", *, force: bool = False) -> Path:
    """Write `report_html` to a file and return its path.

    Raises:
        UsageError: the file exists and `force` is not set, or it cannot be written.
    """
    return write(path, report_html(profile, title).encode("utf-8"), force=force)


def _head(heading: str, script: str) -> Html:
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    style = Html(f":root{{{theme.variables()}}}{theme.fills()}\n{_asset('report.css')}\n{timeline.style()}")
    return tag(
        "head",
        Html('<meta charset="utf-8">'),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", heading),
        tag("style", style),
    )


def _timeline_section() -> Html:
    return tag(
        "section",
        tag("h2", "Timeline"),
        tag(
            "p",
            "Zoomed out, a column is as high as the share of its time that is busy. Press ? for the keys.",
            class_="note",
        ),
        tag("div", tag("p", "The timeline needs JavaScript.", class_="note"), id="timeline"),
        id="section-timeline",
    )


def _data(drawn: dict[str, Any]) -> Html:
    """The timeline's data: JSON text, gzip-compressed, in base64, which holds no character that HTML knows."""
    packed = base64.b64encode(timeline.pack(drawn)).decode("ascii")
    text = json.dumps({"schema": _SCHEMA, "timeline": packed}).replace("<", "\\u003c")
    return tag("script", Html(text), type="application/json", id="data")


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
