"""What a command gives back, and how it becomes text or a JSON envelope."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from nkilab.errors import InputError, NkilabError
from nkilab.version import VERSION

WIDTH_OF_A_PIPE = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The outcome of a command.

    Attributes:
        data: what `--json` prints, made of dataclasses, mappings, sequences and scalars.
        text: what is printed otherwise, top to bottom.
        failed: a gate or check failed: exit status 1.
    """

    data: Any
    text: tuple[RenderableType, ...] = ()
    failed: bool = False

    @property
    def status(self) -> int:
        """The exit status."""
        return 1 if self.failed else 0


def envelope(command: str, result: Result) -> dict[str, Any]:
    """The JSON object of a command that ran."""
    return {"schema": f"nkilab.{command}/1", "nkilab": VERSION, "data": plain(result.data)}


def error_envelope(error: NkilabError) -> dict[str, Any]:
    """The JSON object of an error."""
    names = ("code", "what", "values", "rule", "source", "fix", "where")
    return {
        "schema": "nkilab.error/1",
        "nkilab": VERSION,
        "error": {name: plain(getattr(error, name)) for name in names},
    }


def plain(value: Any) -> Any:
    """`value` in the types of JSON; what is not a finite number becomes null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "to_dicts"):
        return plain(value.to_dicts())
    return value


def print_json(value: Any) -> None:
    """Write one JSON document to standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


class _Console(Console):
    """A console that leaves a closed pipe to `main`, and shows control characters instead of sending them."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Names and texts come from files of other machines: none may steer the terminal."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))

    def on_broken_pipe(self) -> None:
        """Raise again what rich would turn into exit status 1."""
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal; in a pipe 160 columns, unless COLUMNS says otherwise. NO_COLOR is honoured."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else WIDTH_OF_A_PIPE
    return _Console(file=stream, width=width, highlight=False, soft_wrap=False)


def visible(text: str) -> str:
    """`text` with control characters, line feeds apart, written as \\x1b."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def print_text(result: Result) -> None:
    """Print a result's text. Strings are printed as they are, without markup."""
    out = console()
    for part in result.text:
        out.print(part, markup=False, soft_wrap=isinstance(part, str))


def print_error(error: NkilabError) -> None:
    """Print an error to standard error: one line for unreadable input, else a line for each thing that it knows."""
    first, *rest = str(error).splitlines()
    if isinstance(error, InputError):
        first, rest = _one_line(error), []
    out = console(stderr=True)
    out.print(Text.assemble(("error", "bold red"), " ", first), soft_wrap=True)
    for line in rest:
        out.print(line, markup=False, soft_wrap=True)


def _one_line(error: InputError) -> str:
    """What is wrong, where in the file, and what to do about it."""
    _, _, place = error.values.partition(", offset ")
    known = (f"offset {place.removesuffix(', field ')}" if place else "", error.rule, error.fix)
    return "; ".join([error.what, *(part for part in known if part)]).replace("\n", "\\n")
