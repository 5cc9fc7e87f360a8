"""A part of a run's timeline as an SVG picture: a row for each engine, a block for each instruction, coloured by opcode."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

import polars as pl

import nkilab

ROWS = ("Tensor", "Vector", "Scalar", "GpSimd", "Sync", "DMA")
COPY, TRANSPOSE = "DMA copy", "DMA transpose"
FIXED = {"LDWEIGHTS": "#9ecae9", "MATMUL": "#2f5f9e", COPY: "#8a8a8a", TRANSPOSE: "#c9a227", "DMA_DIRECT2D": "#4d4d4d"}
COLOURS = ("#f58518", "#54a24b", "#e45756", "#b279a2", "#72b7b2", "#9d755d", "#ff9da6", "#bab0ac")
LEFT, WIDTH, ROW, TOP = 60, 900, 26, 8
FINE = 2.0
"""Blocks of one opcode narrower than so many pixels that touch become one."""


@dataclass(frozen=True, slots=True)
class Block:
    """What one engine does from `start` to `end`, in microseconds."""

    row: str
    name: str
    start: float
    end: float


def timeline_svg(run: nkilab.Run, start_us: float, stop_us: float) -> str:
    """The instructions and transfers of a run between two times, in microseconds from its start, as an SVG document."""
    blocks = [block for row in ROWS for block in _merged(_of_row(run, row, start_us, stop_us), stop_us - start_us)]
    rows = [row for row in ROWS if any(block.row == row for block in blocks)]
    names = list(dict.fromkeys(block.name for block in blocks))
    others = [name for name in names if name not in FIXED]
    colours = {**FIXED, **{name: COLOURS[index % len(COLOURS)] for index, name in enumerate(others)}}
    scale = WIDTH / (stop_us - start_us)
    bottom = TOP + ROW * len(rows)
    legend, height = _legend({name: colours[name] for name in names}, bottom + 26)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 20}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{LEFT + WIDTH + 20}" height="{height}" fill="white"/>',
    ]
    for index, row in enumerate(rows):
        y = TOP + ROW * index
        lines.append(f'<text x="4" y="{y + 16}">{row}</text>')
        lines.append(f'<rect x="{LEFT}" y="{y + 2}" width="{WIDTH}" height="{ROW - 4}" fill="#f2f2f2"/>')
        for block in blocks:
            if block.row == row:
                x, width = LEFT + (block.start - start_us) * scale, (block.end - block.start) * scale
                lines.append(
                    f'<rect x="{x:.1f}" y="{y + 2}" width="{max(width - 0.6, 0.5):.1f}" height="{ROW - 4}" '
                    f'fill="{colours[block.name]}"/>'
                )
    lines += _axis(start_us, stop_us, bottom)
    lines += legend
    return "\n".join([*lines, "</svg>", ""])


def _of_row(run: nkilab.Run, row: str, start_us: float, stop_us: float) -> list[Block]:
    """Blocks of one engine, cut to the window; for DMA the transfers, by what they move."""
    table = run.profile.table("DmaPacketAggregated" if row == "DMA" else "Instruction")
    table = table.filter((pl.col("end_ts") > start_us * 1e3) & (pl.col("start_ts") < stop_us * 1e3))
    if row == "DMA":
        turned = pl.when(pl.col("is_transpose_mode")).then(pl.lit(TRANSPOSE)).otherwise(pl.lit(COPY))
        table = table.with_columns(name=turned)
    else:
        table = table.filter(pl.col("engine") == row).with_columns(name=pl.col("opcode"))
    columns = (table.sort("start_ts")[column].to_list() for column in ("name", "start_ts", "end_ts"))
    return [
        Block(row, name, max(start / 1e3, start_us), min(end / 1e3, stop_us))
        for name, start, end in zip(*columns, strict=True)
    ]


def _merged(blocks: list[Block], span_us: float) -> Iterator[Block]:
    """Neighbours of one name as one block, where the eye could not part them."""
    fine = FINE * span_us / WIDTH
    held: Block | None = None
    for block in blocks:
        narrow = block.end - block.start <= fine
        if held is not None and held.name == block.name and narrow and block.start - held.end <= fine / 4:
            held = Block(held.row, held.name, held.start, max(held.end, block.end))
            continue
        if held is not None:
            yield held
        held = block
    if held is not None:
        yield held


def _axis(start_us: float, stop_us: float, y: int) -> list[str]:
    """Times at six places below the rows."""
    ticks = [(LEFT + WIDTH * part / 5, start_us + (stop_us - start_us) * part / 5) for part in range(6)]
    anchor = ("start", "middle", "middle", "middle", "middle", "end")
    return [
        f'<text x="{x:.0f}" y="{y + 14}" text-anchor="{side}">{at:,.1f} us</text>'
        for (x, at), side in zip(ticks, anchor, strict=True)
    ]


def _legend(colours: dict[str, str], y: int) -> tuple[list[str], int]:
    """A square and a name for each opcode, in as many lines as they need, and where the last one ends."""
    lines: list[str] = []
    x = LEFT
    for name, colour in colours.items():
        size = 26 + 7.4 * len(name)
        if x + size > LEFT + WIDTH:
            x, y = LEFT, y + 18
        lines.append(f'<rect x="{x}" y="{y}" width="11" height="11" fill="{colour}"/>')
        lines.append(f'<text x="{x + 15}" y="{y + 10}" font-size="11">{escape(name)}</text>')
        x += round(size)
    return lines, y + 20
