"""What every answer can do: print itself, show itself in a notebook, become a table, a frame, plain data."""

from __future__ import annotations

import dataclasses
import html
import io
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

WIDTH = 120
_FOLDED = ("text", "code")
_GAP, _LEAST, _SHORT = 2, 12, 28
"""Cells up to this long are never broken; longer ones give way first."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One column as people see it: its label and how its values are written.

    `kind` is one of us (ns shown as microseconds), percent (of a fraction), bytes, count, number, text, code (text on one
    line, cut where there is no room). `means` is the definition that stands beside the number, where its label does not
    say it all.
    """

    column: str
    label: str
    kind: str = "text"
    means: str = ""


class Answer:
    """Base of the answers. A subclass is a frozen dataclass with a frame `rows` and says how to show it.

    Numbers in `rows` keep their units (`_ns`, `_bytes`, fractions); only the printed text scales them. Printed are at
    most `most` rows.
    """

    title: ClassVar[str]
    shown: ClassVar[tuple[Shown, ...]]
    most: ClassVar[int] = 60
    rows: pl.DataFrame
    __slots__ = ()

    def table(self) -> pl.DataFrame:
        """The rows as a polars DataFrame."""
        return self.rows

    def scan(self) -> pl.LazyFrame:
        """The rows, lazily."""
        return self.rows.lazy()

    def remarks(self) -> list[str]:
        """What must be said beside the numbers, before them."""
        return []

    def printed(self) -> pl.DataFrame:
        """The rows as they are printed; a subclass may add columns."""
        return self.rows

    def definitions(self) -> dict[str, str]:
        """What the printed columns mean, by label, where the label does not say it all."""
        return {c.label: c.means for c in present(self.printed(), self.shown) if c.means}

    def to_json(self) -> dict[str, Any]:
        """Plain data: fields by name, frames as lists of rows, NaN and infinities as None; remarks and definitions."""
        fields = {f.name: plain(getattr(self, f.name)) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {**fields, "remarks": self.remarks(), "definitions": self.definitions()}

    def __str__(self) -> str:
        console = Console(file=io.StringIO(), width=WIDTH, no_color=True, highlight=False, legacy_windows=False)
        console.print(self)
        return console.file.getvalue().rstrip()  # type: ignore[attr-defined,no-any-return]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Group(Text(self.title, style="bold"), *(Text(line, style="yellow") for line in self.remarks()))
        yield rich_table(self.printed().head(self.most), self.shown, options.max_width)
        if self.rows.height > self.most:
            yield Text(f"… {self.rows.height - self.most} more rows: table() has them all")
        for label, means in self.definitions().items():
            yield Text(f"{label}: {means}", style="dim")

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What IPython prints where it shows no HTML."""
        printer.text(self.title if cycle else str(self))

    def _repr_html_(self) -> str:
        rows = self.printed().head(self.most)
        columns = present(rows, self.shown)
        heads = "".join(f"<th>{html.escape(c.label)}</th>" for c in columns)
        texts = [[html.escape(written(value, c.kind)) for value in rows[c.column].to_list()] for c in columns]
        body = "".join(
            "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in zip(*texts, strict=True)
        )
        remarks = "".join(f"<p>{html.escape(line)}</p>" for line in self.remarks())
        meanings = "".join(f"<p>{html.escape(f'{label}: {means}')}</p>" for label, means in self.definitions().items())
        notes = f"<details><summary>definitions</summary>{meanings}</details>" if meanings else ""
        return f"<h4>{html.escape(self.title)}</h4>{remarks}<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>{notes}"


def present(rows: pl.DataFrame, shown: tuple[Shown, ...]) -> list[Shown]:
    """The columns of `shown` that `rows` has with any value in it; all that it has where it is empty."""
    return [
        s for s in shown if s.column in rows.columns and (rows.is_empty() or rows[s.column].null_count() < rows.height)
    ]


def rich_table(rows: pl.DataFrame, shown: tuple[Shown, ...], width: int = WIDTH) -> Table:
    """`rows` as a rich table of at most `width` characters; a number is shown whole or its column is left out.

    Columns without room are named in the caption, the last ones first to go.
    """
    columns = present(rows, shown)
    texts = {c.column: [written(value, c.kind) for value in rows[c.column].to_list()] for c in columns}
    lengths = {c.column: max([len(c.label), *map(len, texts[c.column])]) for c in columns}
    kept = _fitting(columns, lengths, width)
    room = width - sum(_needed(c, lengths[c.column]) + _GAP for c in kept if c.kind not in _FOLDED)
    words = [c for c in kept if c.kind in _FOLDED]
    tight = sum(lengths[c.column] + _GAP for c in words) > room
    gone = [c.label for c in columns if c not in kept]
    caption = f"no room here for: {', '.join(gone)}" if gone else None
    table = Table(header_style="bold", box=None, pad_edge=False, caption=caption, caption_justify="left")
    for column in kept:
        length = lengths[column.column]
        whole = column.kind not in _FOLDED or column.kind == "code" or (length <= _SHORT and not tight)
        table.add_column(
            column.label, justify="left" if column.kind in _FOLDED else "right", overflow="fold", no_wrap=whole,
            min_width=length if column.kind not in _FOLDED else None,
        )  # fmt: skip
    code = room - sum(min(lengths[c.column], _SHORT) + _GAP for c in words if c.kind != "code")
    for number in range(rows.height):
        table.add_row(*(Text(_cut(texts[c.column][number], c.kind, code)) for c in kept))
    return table


def _needed(column: Shown, length: int) -> int:
    """The least width at which a column can be read."""
    return min(length, _LEAST) if column.kind in _FOLDED else length


def _fitting(columns: list[Shown], lengths: dict[str, int], width: int) -> list[Shown]:
    """The columns that fit into `width`; the first always does, numbers go before words, the last before the first."""
    kept = list(columns)
    for words in (False, True):
        for column in reversed(columns[1:]):
            if sum(_needed(c, lengths[c.column]) + _GAP for c in kept) - _GAP <= width:
                return kept
            if (column.kind in _FOLDED) == words:
                kept.remove(column)
    return kept


def _cut(cell: str, kind: str, room: int) -> str:
    """A line of code cut to the room that is left for it, `_LEAST` characters at least."""
    most = max(room, _LEAST)
    return cell if kind != "code" or len(cell) <= most else cell[: most - 1] + "…"


def written(value: Any, kind: str) -> str:
    """One value as people read it; "–" for what is not known."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if kind == "us":
        return f"{value / 1e3:,.2f}"
    if kind == "percent":
        return f"{value * 100:.1f} %"
    if kind == "bytes":
        return _scaled(float(value))
    if kind == "count":
        return f"{int(value):,}"
    if kind == "number":
        return f"{value:,.6g}"
    return str(value)


def _scaled(value: float) -> str:
    """Bytes with a binary prefix."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024 or unit == "GiB":
            return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"
        value /= 1024
    return f"{value:,.1f} GiB"


def plain(value: Any) -> Any:
    """`value` as JSON can hold it."""
    if isinstance(value, pl.DataFrame):
        return [plain(row) for row in value.to_dicts()]
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
