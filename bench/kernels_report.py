"""Regenerate `docs/kernels.md`: how well the fast kernels use one trn2 core, on the simulator's clock.

`make kernels-report` runs it. Every number is modelled in this run; the pictures and reasons are the docstrings of the
kernels' own files.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl

import nkilab
from nkilab import hardware
from nkilab.bench.efficiency import peak_tflops
from nkilab.bench.kernels_entries import FAMILIES, Entry, Family

TARGET = "trn2"
DOCUMENT = Path("docs") / "kernels.md"
HEAD = """# Fast kernels

Made by `make kernels-report`. All times are **modelled** by the simulator's clock for one core of Trainium2, not measured:
`body` is the kernel's own instructions, without launch. The range comes from the uncertainty of the costs used, and the
confidence says which share of the engines' time rests on calibrated, documented and guessed costs. TensorE's share is
useful FLOPs over its peak for the dtype (78.6 TFLOPS bf16, 157.3 fp8, 19.7 fp32; causal attention counts half); DMA's
share is the bytes that must move over 435 GB/s. Tables of changes are modelled anew; notes give what was seen when they
were written.
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
        time = f"{self.run.body_us:,.1f} ({low:,.0f} to {high:,.0f})"
        return f"| `{self.entry.kernel.__name__}` | {self.entry.title} | {time} | {what} | {floor} | {sure} |"


def model(entry: Entry) -> Result:
    """Time one entry without computing values."""
    sim = nkilab.Sim(target=TARGET, values=False, on_finding="collect")
    run = nkilab.simulate(entry.kernel, *entry.arguments(), sim=sim, **entry.meta)
    hw = hardware.load(TARGET)
    if entry.by_bytes:
        rate = hw.dma.engines * hw.dma.engine_gbps * 1e3
        return Result(entry, run, entry.work / run.body_us / rate)
    return Result(entry, run, entry.work / run.body_us / (peak_tflops(hw, entry.dtype) * 1e6))


def document() -> str:
    """The whole page."""
    results = {family.title: [model(entry) for entry in family.entries] for family in FAMILIES}
    table = [
        "| kernel | sizes | body us (range) | share | floor | confidence |",
        "|---|---|---|---|---|---|",
        *(result.row for family in results.values() for result in family),
    ]
    sections = [_section(family, results[family.title]) for family in FAMILIES]
    return "\n".join([HEAD, *table, "", *sections])


def _section(family: Family, results: Sequence[Result]) -> str:
    picture = (family.module.__doc__ or "").strip()
    lines = [f"## {family.title}", "", picture, ""]
    shown = [result for result in results if result.entry.detail]
    lines += [line for result in shown for line in _detail(result)]
    if family.variants:
        lines += ["### What was tried", "", "| change | sizes | body us | share |", "|---|---|---|---|"]
        entry = next(e for e in family.entries if e.detail)
        lines += [_variant(family.module, entry, label, change) for label, change in family.variants]
        lines.append("")
    lines += [*(f"- {note}" for note in family.notes), ""] if family.notes else []
    return "\n".join(lines)


def _detail(result: Result) -> list[str]:
    """Engine utilisation and bound of one entry."""
    run, body = result.run, result.run.body_us * 1e3
    engines = run.engines().table().filter(pl.col("core") == "all")
    busiest = engines.sort("active_ns", descending=True).row(0, named=True)
    bars = [
        f"    {row['engine']:<8}{_bar(row['active_ns'] / body)} {row['active_ns'] / body:6.1%}  {row['instructions']:,}"
        for row in engines.iter_rows(named=True)
    ]
    ceiling = busiest["active_ns"] / body
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
        "",
    ]


def _bar(share: float) -> str:
    filled = round(min(share, 1.0) * 30)
    return "█" * filled + "·" * (30 - filled)


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
    DOCUMENT.write_text(document(), encoding="utf-8")
    sys.stdout.write(f"wrote {DOCUMENT}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
