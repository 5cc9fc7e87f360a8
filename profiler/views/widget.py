"""The timeline in a notebook, as an anywidget. Imported only when a notebook asks for it."""

from __future__ import annotations

from typing import Any

from nkilab.errors import UsageError

from ..profile import Profile
from .timeline import pack, script, style, timeline

try:
    import anywidget
    import traitlets
except ImportError as error:
    raise UsageError(
        "the timeline widget needs anywidget, which is not installed", fix='pip install "nkilab[notebook]"'
    ) from error

SCHEMES = ("auto", "light", "dark")


class TimelineWidget(anywidget.AnyWidget):
    """An interactive timeline of one profile, for JupyterLab and VS Code.

    Attributes:
        data: the timeline's JSON (schema nkilab.timeline/1), gzip-compressed.
        height: of the chart, in CSS pixels.
        scheme: "auto" follows the notebook's theme; "light" or "dark".
        selected: row number of the selected span, -1 if none; set by the reader's click.
        place: {"file", "line"} of the selected span, {} where it has none.
        marks: times of the marks in ns, at most two.
    """

    _esm = script()
    _css = style()
    data = traitlets.Bytes(b"").tag(sync=True)
    height = traitlets.Int(560, min=200).tag(sync=True)
    scheme = traitlets.Enum(SCHEMES, "auto").tag(sync=True)
    selected = traitlets.Int(-1).tag(sync=True)
    place = traitlets.Dict().tag(sync=True)
    marks: traitlets.List[float] = traitlets.List().tag(sync=True)


def timeline_widget(profile: Profile, title: str = "", *, height: int = 560, scheme: str = "auto") -> Any:
    """A widget that shows the timeline of `profile`.

    Args:
        profile: a simulated or measured profile.
        title: shown above the timeline.
        height: of the chart, in CSS pixels, at least 200.
        scheme: "auto", "light" or "dark".

    Raises:
        UsageError: an unknown scheme or too small a height.
    """
    if scheme not in SCHEMES or height < 200:
        raise UsageError(
            "the timeline cannot be shown that way",
            values=f"scheme={scheme!r}, height={height}",
            rule=f"scheme is one of {', '.join(SCHEMES)}; height is at least 200",
        )
    return TimelineWidget(data=pack(timeline(profile, title)), height=height, scheme=scheme)
