"""The timeline as a value: data for a program, a widget in a notebook, a line of text elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nkilab.errors import UsageError

from ...profile import Profile
from . import data


@dataclass(frozen=True, slots=True)
class Timeline:
    """What `p.timeline()` returns; the last value of a notebook's cell shows as the interactive timeline.

    Attributes:
        profile: what is drawn.
        title: shown above it.
        height: of the chart in a notebook, in CSS pixels.
        scheme: "auto" (the notebook's theme), "light" or "dark".
    """

    profile: Profile = field(repr=False)
    title: str = ""
    height: int = 560
    scheme: str = "auto"

    def to_json(self) -> dict[str, Any]:
        """Plain data of schema `nkilab.timeline/1` (docs/timeline-json.md)."""
        return data.timeline(self.profile, self.title)

    def widget(self) -> Any:
        """The anywidget, whose `selected`, `place` and `marks` follow the reader's clicks.

        Raises:
            UsageError: anywidget is not installed, or height or scheme are not possible.
        """
        from ..widget import timeline_widget

        return timeline_widget(self.profile, self.title, height=self.height, scheme=self.scheme)

    def __str__(self) -> str:
        drawn = self.to_json()
        kind = "modelled" if drawn["modelled"] else "measured"
        head = f"timeline: {drawn['spans']['count']:,} spans in {len(drawn['tracks'])} tracks over {drawn['time']['end'] / 1e3:,.2f} us {kind}"
        return "\n".join((head, *(f"  {note}" for note in drawn["notes"])))

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """What a notebook shows: the widget, or what to install for it."""
        try:
            return self.widget()._repr_mimebundle_(**options)
        except UsageError as error:
            return {"text/plain": f"{self}\n{error}"}
