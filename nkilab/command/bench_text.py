"""Results of measuring as text: one point on one screen, several as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from nkilab.bench.point import Row
    from nkilab.bench.store import ResultSet

_MEANING = {
    "modelled": "modelled on a CPU, not measured on hardware",
    "measured": "measured on the device",
    "wall": "wall time of this host, not a device's",
}


def set_text(results: ResultSet) -> tuple[RenderableType, ...]:
    """A set: its one point on a screen, or a table of its points, and where it lies."""
    body = (
        point_text(results.rows[0], results.folder)
        if len(results.rows) == 1
        else (table(results.rows), *_remarks(results.rows))
    )
    cut = ("interrupted: some points are missing",) if results.status == "interrupted" else ()
    return (*body, *cut, f"result set: {results.folder}")


def point_text(row: Row, folder: Path | None = None) -> tuple[RenderableType, ...]:
    """One point, line by line; `folder` is where its set lies."""
    lines: list[RenderableType] = [
        f"{row.label}",
        f"backend   {row.backend} for {row.target}{_size(row)}",
        f"gate      {_gate(row)}",
    ]
    lines += [Text(f"refused   {refusal_text(r)}", "bold red") for r in row.refused]
    lines += _time_lines(row)
    lines += _bound_lines(row)
    lines += [f"finding   {f['severity']} [{f['code']}] {f['message']}" for f in row.findings]
    lines += [f"note      {note}" for note in row.notes]
    lines += [f"{name:<9} {folder / path if folder else path}" for name, path in row.artifacts.items()]
    return (*lines, *_next(row, folder))


def _next(row: Row, folder: Path | None) -> list[str]:
    """What the profile says would gain most, and the command that says more; nothing where there is no profile."""
    path = row.artifacts.get("profile")
    place = folder / path if folder and path else None
    if place is None or not place.exists():
        return []
    import nkilab

    first = nkilab.load(place).advice().rows.head(1).to_dicts()
    said = "no rule of nkilab finds something to gain"
    if first:
        (found,) = first
        said = f"{found['what']}: up to {found['gain_ns'] / 1e3:.2f} us, because {found['evidence']}"
    return [f"next      {said}", f"          nkilab advice {place}"]


def refusal_text(refusal: Mapping[str, Any]) -> str:
    """A refusal's code, message and seed."""
    seed = "" if refusal.get("seed") is None else f" (seed {refusal['seed']})"
    return f"{refusal['code']}: {refusal['message']}{seed}"


def _size(row: Row) -> str:
    """Cores and ranks, where there are several."""
    cores = f", {row.cores} cores" if row.cores > 1 else ""
    return cores + (f", {row.ranks} ranks: the time of the slowest, FLOPs and bytes of all" if row.ranks > 1 else "")


def _gate(row: Row) -> str:
    if not row.gated:
        return "not run: nothing says that this kernel is right"
    if row.refused:
        return "refused, not timed"
    return f"passed: equals the reference for seeds {', '.join(map(str, row.seeds))}, largest error {row.max_error:.3g}"


def _time_lines(row: Row) -> list[str]:
    stats = row.statistics
    if stats is None:
        return []
    lines = [f"time      {stats.median:.2f} us, {_MEANING[str(row.kind)]} ({row.route})"]
    if row.range_us and row.body_us is not None:
        low, high = row.range_us
        lines.append(
            f"          {low:.2f} to {high:.2f} us by the costs' uncertainty; the kernel's body {row.body_us:.2f} us"
        )
    if row.confidence:
        shares = ", ".join(f"{share:.0%} {name}" for name, share in row.confidence.items())
        lines.append(f"          engine time by how well its cost is known: {shares}")
    if row.stopped != "deterministic":
        interval = stats.interval
        inside = f"{interval.low:.2f} to {interval.high:.2f} us ({interval.coverage:.0%})" if interval else "unknown"
        lines.append(f"          median of {stats.count} runs, interval {inside}")
        lines.append(
            f"          p90 {_us(stats.p90)}, p99 {_us(stats.p99)}, fastest {stats.fastest:.2f}, slowest {stats.slowest:.2f} us"
        )
    return lines


def _bound_lines(row: Row) -> list[str]:
    rated = row.efficiency
    if rated is None:
        return []
    lines = []
    if rated.mfu is not None and rated.tflops is not None:
        body = f", {rated.mfu_body:.1%} of the body" if rated.mfu_body is not None else ""
        lines.append(
            f"MFU       {rated.mfu:.1%}{body}: {rated.tflops:.2f} of {rated.peak_tflops:.1f} TFLOP/s in {rated.dtype}"
        )
    lines.append(
        f"MBU       {rated.mbu:.1%}: {rated.gbps:.1f} of {rated.peak_gbps:.0f} GB/s, {rated.moved_bytes or rated.bytes:,} bytes"
    )
    where = ""
    if rated.intensity is not None:
        where = f"; {rated.intensity:.0f} FLOP/byte, the roofline turns at {rated.ridge:.0f}"
    gap = f"{rated.gap:.2f} times that" + (f", the body {rated.gap_body:.2f}" if rated.gap_body is not None else "")
    lines.append(f"bound     {rated.bound}: no kernel is faster than {rated.bound_us:.2f} us; this is {gap}{where}")
    return lines


def table(rows: Sequence[Row]) -> Table:
    """Several points; columns only for axes and meta-parameters that differ."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    varying = _varying(rows)
    for name in ("case", *varying):
        grid.add_column(name)
    for name in ("us", "± ", "by", "MFU", "MBU", "bound us", "gap"):
        grid.add_column(name, justify="right")
    grid.add_column("gate")
    for row in rows:
        every = {**row.axes, **row.meta}
        grid.add_row(row.case, *(str(every.get(name, "–")) for name in varying), *_numbers(row), _short_gate(row))
    return grid


def _varying(rows: Sequence[Row]) -> list[str]:
    names = dict.fromkeys(name for row in rows for name in (*row.axes, *row.meta))
    return [name for name in names if len({str({**r.axes, **r.meta}.get(name)) for r in rows}) > 1]


def _numbers(row: Row) -> list[str]:
    stats, rated = row.statistics, row.efficiency
    if stats is None:
        return ["–"] * 7
    width = "exact" if row.stopped == "deterministic" else f"{stats.relative_width:.1%}" if stats.interval else "?"
    shares = ["–"] * 4
    if rated is not None:
        mfu = "–" if rated.mfu is None else f"{rated.mfu:.1%}"
        shares = [mfu, f"{rated.mbu:.1%}", f"{rated.bound_us:.2f}", f"{rated.gap:.2f}"]
    return [f"{stats.median:.2f}", width, str(row.kind), *shares]


def _short_gate(row: Row) -> Text:
    if row.refused:
        return Text(", ".join(str(r["code"]) for r in row.refused), "bold red")
    return Text("passed", "green") if row.gated else Text("not run", "yellow")


def _remarks(rows: Sequence[Row]) -> tuple[str, ...]:
    kinds = sorted({_MEANING[row.kind] for row in rows if row.kind})
    refused = [f"{row.label}: {refusal_text(r)}" for row in rows for r in row.refused]
    return (*(f"times are {kind}" for kind in kinds), *refused)


def _us(value: float | None) -> str:
    return "needs more runs" if value is None else f"{value:.2f} us"
