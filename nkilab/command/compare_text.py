"""A comparison as a table for the terminal and as markdown for a pull request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from nkilab.bench.compare import Change, Comparison

_COLOURS = {
    "slower": "bold red",
    "refused": "bold red",
    "removed": "yellow",
    "unclear": "yellow",
    "faster": "green",
    "fixed": "green",
}


def comparison_text(compared: Comparison, failed: Sequence[str]) -> tuple[Table | Text | str, ...]:
    """The table, the mean, what differs between the environments, and what the gates object to."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("point", f"{compared.old} us", f"{compared.new} us", "ratio", "95 % interval", "verdict"):
        grid.add_column(name, justify="left" if name in {"point", "verdict"} else "right")
    for change in compared.changes:
        grid.add_row(change.label, *_numbers(change), Text(change.verdict, _COLOURS.get(change.verdict, "")))
    return (
        grid,
        _mean(compared),
        *_environment(compared),
        *_diffs(compared),
        *(Text(f"FAIL {text}", "bold red") for text in failed),
    )


def markdown(compared: Comparison, failed: Sequence[str]) -> str:
    """A comment for a pull request: the verdict first, then the points that moved, the rest folded away."""
    moved = [c for c in compared.changes if c.verdict not in {"same", "untimed"}]
    still = [c for c in compared.changes if c not in moved]
    head = "**Failed**" if failed else "**Passed**"
    lines = [f"### nkilab: {compared.old} → {compared.new}", "", f"{head}. {_mean(compared)}", ""]
    lines += [f"- {text}" for text in failed] + ([""] if failed else [])
    lines += _markdown_table(compared, moved) if moved else ["No point moved.", ""]
    if still:
        lines += [
            "<details><summary>Points that did not move</summary>",
            "",
            *_markdown_table(compared, still),
            "</details>",
            "",
        ]
    lines += [f"- {text}" for text in _environment(compared)]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_table(compared: Comparison, changes: Sequence[Change]) -> list[str]:
    lines = [
        f"| point | {compared.old} µs | {compared.new} µs | ratio | 95 % interval | verdict |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for change in changes:
        found = f" (new findings: {', '.join(change.findings)})" if change.findings else ""
        cells = (change.label, *_numbers(change), change.verdict + found)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return [*lines, ""]


def _numbers(change: Change) -> list[str]:
    interval = change.interval
    if interval is None:
        inside = "–"
    else:
        inside = "exact" if interval.coverage == 1.0 else f"{interval.low:.3f} to {interval.high:.3f}"
    times = ["–" if us is None else f"{us:.2f}" for us in (change.old_us, change.new_us)]
    return [*times, "–" if change.ratio is None else f"{change.ratio:.3f}", inside]


def _mean(compared: Comparison) -> str:
    if compared.geometric_mean is None:
        return "no point has a time in both sets"
    kinds = {
        "modelled": "modelled, not measured",
        "measured": "measured on the device",
        "wall": "wall times of the host",
    }
    return f"geometric mean of the ratios: {compared.geometric_mean:.3f} (times are {kinds[str(compared.kind)]})"


def _environment(compared: Comparison) -> list[str]:
    return [f"{name} differs: {old} → {new}" for name, (old, new) in compared.environment.items()]


def _diffs(compared: Comparison) -> list[str]:
    """The command that says why, for the points that moved and have both profiles."""
    moved = [c for c in compared.changes if c.verdict in {"slower", "faster", "unclear"}]
    pairs = [(c.old_profile, c.new_profile) for c in moved if c.old_profile and c.new_profile]
    return [f"why: nkilab diff {old} {new}" for old, new in pairs[:5]]
