"""`calibrate`: refit a hardware table to device profiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table

from nkilab.command import options
from nkilab.command.files import place
from nkilab.command.result import Result
from nkilab.errors import UsageError

if TYPE_CHECKING:
    from nkilab.clock import Fit, Point


def calibrate(
    profiles: Annotated[
        list[Path], typer.Argument(metavar="PROFILE...", help="Device profiles: NTFF with its NEFF, or JSON.")
    ],
    *,
    target: options.Target = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to write; in ./nkilab-out/ where not given.")
    ] = None,
    force: options.Force = False,
) -> Result:
    """Fit the numbers of a hardware table to device profiles, and write the table.

    Costs of instructions are fitted; DMA issue and elements, hand-overs between engines and the ends of a launch are read
    off. Only numbers that something measured depends on are changed; the others keep their value, class and source. Use
    the table with `nkilab sim --hardware my.toml` or `Sim(hardware=nkilab.hardware.load("my.toml"))`.

    \b
    nkilab calibrate profile.ntff -o my.toml
    nkilab calibrate a.ntff b.ntff --target trn2 -o my.toml
    """
    from nkilab.clock import fit
    from nkilab.command.calibrate_points import measured, points_of
    from nkilab.command.calibrate_readings import readings_of
    from nkilab.hardware import load

    given = [measured(path) for path in profiles]
    points = [point for p in given for point in points_of(p)]
    table = load(target or "trn2")
    changes, read = readings_of(given).changes(table)
    if not points and not read:
        raise UsageError(
            "nothing in these profiles can be used",
            values=", ".join(map(str, profiles)),
            rule="calibration needs opcodes with decoded operands, or DMA packets",
            fix="give device profiles as NTFF with their NEFF, or as the vendor's full JSON",
        )
    source = f"nkilab calibrate: {', '.join(path.name for path in profiles)}"
    result = fit(points, table.calibrated(changes, source), source)
    result = replace(result, numbers=(*result.numbers, *read))
    file = place(out or Path("nkilab-out") / f"{table.name}-calibrated.toml", "", force=force)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(result.hardware.toml(), encoding="utf-8")
    return Result(data=_data(result, points, file), text=(*_text(result, points), f"wrote {file}"))


COMMANDS: dict[str, Callable[..., Result]] = {"calibrate": calibrate}


def _data(result: Fit, points: Sequence[Point], file: Path) -> dict[str, Any]:
    return {
        "hardware": file,
        "target": result.hardware.name,
        "points": len(points),
        "error_before": result.error_before,
        "error_after": result.error_after,
        "fitted": [
            {"key": number.key, "before": number.before, "after": number.after, "measurements": number.points}
            for number in result.numbers
        ],
        "unfitted": list(result.unfitted),
        "unused_opcodes": dict(_unused(result)),
    }


def _shown(value: Any) -> str:
    return ", ".join(map(_shown, value)) if isinstance(value, tuple) else f"{value:.4g}"


def _unused(result: Fit) -> Counter[str]:
    """Opcodes without a cost in the clock, and how many instructions of each were seen."""
    found: Counter[str] = Counter()
    for point in result.unused:
        found[point.opcode] += point.count
    return found


def _text(result: Fit, points: Sequence[Point]) -> tuple[RenderableType, ...]:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("number", "before", "after", "measurements"):
        table.add_column(name, justify="left" if name == "number" else "right")
    for number in result.numbers:
        table.add_row(number.key, _shown(number.before), _shown(number.after), str(number.points))
    unused = ", ".join(f"{name} ({count})" for name, count in _unused(result).most_common())
    lines = [
        f"{len(points)} kinds of instruction; median error {result.error_before:.1%} before, {result.error_after:.1%} after",
        f"not measured, left as they are: {', '.join(result.unfitted) or 'none'}",
    ]
    return (table, *lines, *([f"opcodes without a cost in the clock: {unused}"] if unused else []))
