"""The timeline's ES module and style sheet, as the widget and the report embed them."""

from __future__ import annotations

import re
from importlib.resources import files

from .. import theme

MODULES = ("model.js", "paint.js", "panel.js", "input.js", "timeline.js")
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./[a-z]+\.js";\n', re.MULTILINE)


def script() -> str:
    """The ES module: `MODULES` joined in order, their imports of one another taken out.

    Each file is an ES module by itself; joined they share one scope, so a top-level name stands in one file only.
    """
    return "\n".join(_IMPORT.sub("", _read(name)) for name in MODULES)


def style() -> str:
    """The style sheet, with the palette as custom properties on the timeline's root."""
    return f".nkt{{{theme.variables()}}}\n{_read('timeline.css')}"


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
