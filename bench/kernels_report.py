"""Regenerate `docs/kernels.md`: how well the fast kernels use one trn2 core, on the simulator's clock.

`make kernels-report` runs it. Every number is modelled in this run; the pictures and reasons are the docstrings of the
kernels' own files. The timelines go to `docs/kernels/`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl

import nkilab
from nkilab import hardware
from nkilab.bench.efficiency import peak_tflops
from nkilab.bench.kernels_entries import FAMILIES, Entry, Family
from nkilab.bench.kernels_picture import timeline_svg

TARGET = "trn2"
DOCUMENT = Path("docs") / "kernels.md"
PICTURES = Path("docs") / "kernels"
PICTURE_US = 15.0
"""What a timeline shows, from the middle of the body; all of a shorter one."""
LEFT_OUT = "their data is still in SBUF ([how](clock.md#policies-what-the-compiler-decides))."
"""Why the clock leaves loads out."""

HEAD = """# Fast kernels

Made by `make kernels-report`. All times are **modelled** by the simulator's clock for one core of Trainium2, not measured:
`body` is the kernel's own instructions, without launch. The range comes from the uncertainty of the costs used, and the
confidence says which share of the engines' time rests on calibrated, documented and guessed costs. TensorE's share is
useful FLOPs over its peak for the dtype (78.6 TFLOPS bf16, 157.3 fp8, 19.7 fp32; causal attention counts half); DMA's
share is the bytes that must move over 435 GB/s. Tables of changes are modelled anew; notes give what was seen when they
were written. A timeline shows 15 us from the middle of the body: what each engine runs, and what DMA moves.
"""


@dataclass(frozen=True, slots=True)
class Result:
    """One modelled entry. `share` is of TensorE's peak or of the DMA rate, as the entry says; a fraction."""

    entry: Entry
    run: nkilab.Run
    share: float

    @property
    def row(self) -> str:
        """Its row of the efficiency table."""
        low, high = self.run.body_range_us
        floor = "–" if self.entry.floor is None else f"{self.entry.floor:.0%}"
        sure = ", ".join(f"{share:.0%} {name}" for name, share in self.run.confidence.items() if share >= 0.005)
        what = f"{self.share:.1%} of {'DMA' if self.entry.by_bytes else 'TensorE'}"
        where = f" on each of {self.entry.ranks} ranks" if self.entry.ranks > 1 else ""
        time = f"{self.run.body_us:,.1f} ({low:,.0f} to {high:,.0f})"
        return f"| `{self.entry.kernel.__name__}` | {self.entry.title}{where} | {time} | {what} | {floor} | {sure} |"


def model(entry: Entry, changed: Mapping[str, Any] | None = None) -> Result:
    """Time one entry without computing values, on a machine with some numbers changed."""
    hw = hardware.load(TARGET).replace(**(changed or {}))
    sim = nkilab.Sim(target=TARGET, hardware=hw, ranks=entry.ranks, values=False, on_finding="collect")
    run = nkilab.simulate(entry.kernel, *entry.arguments(), sim=sim, **entry.meta)
    if entry.by_bytes:
        rate = hw.dma.engines * hw.dma.engine_gbps * 1e3
        return Result(entry, run, entry.work / run.body_us / rate)
    return Result(entry, run, entry.work / run.body_us / (peak_tflops(hw, entry.dtype) * 1e6))


def document(pictures: Path) -> str:
    """The whole page; its timelines are written to the folder `pictures`."""
    results = {family.title: [model(entry) for entry in family.entries] for family in FAMILIES}
    table = [
        "| kernel | sizes | body us (range) | share | floor | confidence |",
        "|---|---|---|---|---|---|",
        *(result.row for family in results.values() for result in family),
    ]
    sections = [_section(family, results[family.title], pictures) for family in FAMILIES]
    return "\n".join([HEAD, *table, "", *sections])


def _section(family: Family, results: Sequence[Result], pictures: Path) -> str:
    picture = (family.module.__doc__ or "").strip()
    lines = [f"## {family.title}", "", picture, ""]
    shown = [result for result in results if result.entry.detail]
    for number, result in enumerate(shown):
        lines += _detail(result, pictures / f"{family.title}{f'-{number + 1}' if number else ''}.svg")
    lines += _gathers(results)
    lines += _doubts(family)
    if family.variants:
        lines += ["### What was tried", "", "| change | sizes | body us | share |", "|---|---|---|---|"]
        entry = next(e for e in family.entries if e.detail)
        lines += [_variant(family.module, entry, label, change) for label, change in family.variants]
        lines.append("")
    lines += [*(f"- {note}" for note in family.notes), ""] if family.notes else []
    return "\n".join(lines)


def _detail(result: Result, picture: Path) -> list[str]:
    """Engine utilisation, bound and timeline of one entry; the timeline is written to `picture`."""
    run, body = result.run, result.run.body_us * 1e3
    engines = run.engines().table().filter(pl.col("core") == "all")
    busiest = engines.sort("active_ns", descending=True).row(0, named=True)
    bars = [
        f"    {row['engine']:<8}{_bar(row['active_ns'] / body)} {row['active_ns'] / body:6.1%}  {row['instructions']:,}"
        for row in engines.iter_rows(named=True)
    ]
    ceiling = busiest["active_ns"] / body
    picture.write_text(timeline_svg(run, *window(run.body_us)), encoding="utf-8")
    return [
        f"### {result.entry.title}: {run.body_us:,.1f} us",
        "",
        "Share of the body that each engine is active, and how many instructions (for DMA: pieces) it runs:",
        "",
        *bars,
        "",
        (
            f"{busiest['engine']} bounds it: without a gap there the body would take {busiest['active_ns'] / 1e3:,.1f} us, "
            f"so the schedule reaches {ceiling:.1%} of what this order of work allows."
        ),
        *([f"{run.loads_left_out:,} loads of the source are left out: {LEFT_OUT}"] if run.loads_left_out else []),
        "",
        f"![Timeline of {result.entry.kernel.__name__}, {result.entry.title}](kernels/{picture.name})",
        "",
    ]


def _gathers(results: Sequence[Result]) -> list[str]:
    """For kernels over ranks: how much of the communication the multiplies hide, and what the two would take in turn."""
    rows = []
    for result in results:
        if result.entry.ranks > 1:
            found = result.run.collectives()
            gathers, hidden = float(found.rows["total_ns"].sum()) / 1e3, found.hidden_ns / 1e3
            multiplies = result.entry.work / (peak_tflops(hardware.load(TARGET), result.entry.dtype) * 1e6)
            share = hidden / (hidden + found.exposed_ns / 1e3)
            rows.append(
                f"| {result.entry.ranks} | {gathers:,.1f} | {multiplies:,.1f} | {gathers + multiplies:,.1f} "
                f"| {result.run.body_us:,.1f} | {share:.0%} |"
            )
    head = (
        "| ranks | gathers us | multiplies at TensorE's peak us | one after the other us | body us | gathers hidden |"
    )
    return ["### What is hidden", "", head, "|---|---|---|---|---|---|", *rows, ""] if rows else []


def _doubts(family: Family) -> list[str]:
    """The shares of the entries with a floor on the machines in doubt."""
    entries = [entry for entry in family.entries if entry.floor is not None]
    if not family.doubts:
        return []
    rows = []
    for label, changed, meta in family.doubts:
        results = [model(replace(entry, meta={**entry.meta, **meta}), changed) for entry in entries]
        rows.append(f"| {label} | {' | '.join(f'{result.share:.1%}' for result in results)} |")
    titles = " | ".join(entry.title for entry in entries)
    return ["### What rests on documented rates", "", f"| | {titles} |", "|---" * (len(entries) + 1) + "|", *rows, ""]


def _bar(share: float) -> str:
    filled = round(min(share, 1.0) * 30)
    return "█" * filled + "·" * (30 - filled)


def window(body_us: float) -> tuple[float, float]:
    """The part of a body that a timeline shows, in microseconds."""
    start = max((body_us - PICTURE_US) / 2, 0.0)
    return start, min(start + PICTURE_US, body_us)


def _variant(module: ModuleType, entry: Entry, label: str, change: Mapping[str, Any]) -> str:
    with constants(module, change):
        result = model(entry)
    return f"| {label} | {entry.title} | {result.run.body_us:,.1f} | {result.share:.1%} |"


@contextmanager
def constants(module: ModuleType, change: Mapping[str, Any]) -> Iterator[None]:
    """Give a kernel's file other constants for a while."""
    before = {name: getattr(module, name) for name in change}
    try:
        for name, value in change.items():
            setattr(module, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


def main() -> int:
    """Write the page and say where it is."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    DOCUMENT.write_text(document(PICTURES), encoding="utf-8")
    sys.stdout.write(f"wrote {DOCUMENT}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
