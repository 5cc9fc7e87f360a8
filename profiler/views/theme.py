"""The one palette of every view: Okabe and Ito's colours for colour-blind readers, with a tint for dark pages.

Source of the hues: M. Okabe and K. Ito, "Color Universal Design", 2008 (jfly.uni-koeln.de/color).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shade:
    """One class of spans: its name as legends show it, and its colour on light and on dark pages (#rrggbb)."""

    name: str
    light: str
    dark: str


SHADES = (
    Shade("Tensor", "#0072B2", "#2B8FD0"),
    Shade("Tensor: weights and transposes", "#9AC4E0", "#1F4E6E"),
    Shade("Vector", "#009E73", "#14B487"),
    Shade("Scalar", "#E69F00", "#E69F00"),
    Shade("GpSimd", "#CC79A7", "#CC79A7"),
    Shade("Sync", "#8A8F98", "#7D8590"),
    Shade("Waiting", "#E4E6EA", "#2B3138"),
    Shade("DMA", "#56B4E9", "#6CC3F5"),
    Shade("Collective", "#D55E00", "#E8702A"),
    Shade("Throttled", "#F0E442", "#D8CC2E"),
    Shade("Full rate", "#D5D9DF", "#3A424D"),
    Shade("Host", "#B8A58B", "#A08C70"),
    Shade("Other", "#5E6570", "#9AA3AF"),
)
_INDEX = {shade.name: index for index, shade in enumerate(SHADES)}
NAMES = tuple(_INDEX)


def index(name: str) -> int:
    """Position of a class in `SHADES`; that of "Other" for a name that is not there."""
    return _INDEX.get(name, _INDEX["Other"])


def shade(name: str) -> Shade:
    """The class of that name, "Other" if there is none."""
    return SHADES[index(name)]


def variables() -> str:
    """The palette as CSS custom properties `--c0` … that follow the page's colour scheme."""
    return "".join(f"--c{i}:light-dark({s.light},{s.dark});" for i, s in enumerate(SHADES))


def fills() -> str:
    """CSS classes `fill-0` … that paint a bar in a class's colour."""
    return "".join(f".fill-{i}{{background:var(--c{i})}}" for i in range(len(SHADES)))
