"""How close the clock is: every measured data point against the modelled one, written to docs/accuracy.md.

python -m nkilab.bench.accuracy [FILE]
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console

from nkilab import hardware

from .accuracy_launches import Launch, Matmul, launches, matmuls
from .accuracy_points import Residual, element_residuals, residuals

PAGE = Path(__file__).parents[1] / "docs" / "accuracy.md"
HEAD = """# How close the clock is

Written by `make accuracy`; every modelled number is made anew. Errors are modelled over measured, less one. *Held out*
is the error of a table refitted to all other points of the list, so that a point does not vouch for itself.

The measurements are medians of public device profiles of trn2 (tools 2.28) and public end-to-end latencies; the numbers
stand in `bench/measured/`. They cover fp32 arithmetic on VectorE and ScalarE, matmuls of bf16 and fp32, and DMAs. Nothing
measured covers bf16 arithmetic on VectorE, scans, GpSimdE compute, DMA transposes, collectives, or trn3.
"""
SMALL = 64


def main(path: Path = PAGE) -> None:
    """Write the page."""
    hw = hardware.load("trn2")
    single, parts = residuals(hw), element_residuals(hw)
    text = "\n".join(
        [HEAD, *_summary(single, parts), *_instructions(single), *_elements(parts), *_matmuls(matmuls()), *_launches()]
    )
    path.write_text(text.rstrip() + "\n", encoding="utf-8")
    Console(highlight=False).print(f"wrote {path}")


def median_error(found: Iterable[Residual], *, left_out: bool = False) -> float:
    """Median absolute relative error."""
    values = [abs(r.held_out if left_out and r.held_out is not None else r.error) for r in found]
    return statistics.median(values)


def large(found: Sequence[Residual]) -> list[Residual]:
    """Compute instructions of 64 elements and more, matmuls apart."""
    return [r for r in found if not _is_matmul(r) and not _is_table(r) and _elements_of(r) >= SMALL]


def intervals(found: Sequence[Residual]) -> list[Residual]:
    """Intervals between matmuls."""
    return [r for r in found if r.name.startswith("MATMUL") and r.metric == "interval"]


def _is_matmul(found: Residual) -> bool:
    return found.name.startswith(("MATMUL", "LDWEIGHTS"))


def _is_table(found: Residual) -> bool:
    return found.name.startswith("ACT_TABLE_LOAD")


def _elements_of(found: Residual) -> int:
    return int(found.name.removesuffix(" half clock").rpartition(" ")[2])


def _summary(single: Sequence[Residual], parts: Sequence[Residual]) -> list[str]:
    big = [r for r in parts if int(r.name.split()[1]) >= 512]
    groups = (
        ("compute instructions, 64 elements and more", large(single), 10),
        ("intervals between matmuls", intervals(single), 5),
        ("DMA elements of 512 bytes and more", big, 15),
    )
    lines = ["## In short", "", "| what | points | median error | held out | at most |", "|---|---|---|---|---|"]
    for name, found, limit in groups:
        left_out = median_error(found, left_out=True)
        lines.append(f"| {name} | {len(found)} | {median_error(found):.1%} | {left_out:.1%} | {limit} % |")
    return [*lines, ""]


def _table(found: Iterable[Residual]) -> list[str]:
    lines = ["| what | metric | measured | modelled | error | held out |", "|---|---|---|---|---|---|"]
    for r in found:
        held = "" if r.held_out is None else f"{r.held_out:+.1%}"
        lines.append(f"| {r.name} | {r.metric} | {r.measured:,.1f} | {r.modelled:,.1f} | {r.error:+.1%} | {held} |")
    return [*lines, ""]


def _instructions(single: Sequence[Residual]) -> list[str]:
    small = [r for r in single if not _is_matmul(r) and not _is_table(r) and _elements_of(r) < SMALL]
    rest = [r for r in single if _is_matmul(r) or _is_table(r)]
    lines = ["## Instructions on trn2 (ns)", "", *_by_opcode(single)]
    for title, found in (
        ("64 elements and more", large(single)),
        ("Fewer than 64 elements", small),
        ("TensorE and table loads", rest),
    ):
        lines += [f"### {title}", "", *_table(found)]
    return lines


def _by_opcode(single: Sequence[Residual]) -> list[str]:
    lines = ["| opcode | points | median error | largest | held out |", "|---|---|---|---|---|"]
    for opcode in sorted({r.name.split()[0] for r in single}):
        found = [r for r in single if r.name.split()[0] == opcode]
        largest = max(found, key=lambda r: abs(r.error)).error
        left_out = median_error(found, left_out=True)
        lines.append(f"| {opcode} | {len(found)} | {median_error(found):.1%} | {largest:+.1%} | {left_out:.1%} |")
    return [*lines, ""]


def _elements(parts: Sequence[Residual]) -> list[str]:
    notes = (
        "Instruction fetches share the engines with data: their large packets wait, which the clock does not model. The",
        "software descriptors of 256 bytes cast from fp32 to bf16: one every 28 ns, as modelled, each 41 ns long.",
    )
    return ["## DMA elements on trn2 (ns, one engine)", "", *notes, "", *_table(parts)]


def _matmuls(found: Sequence[Matmul]) -> list[str]:
    lines = [
        "## Matmuls, end to end (us, `total_time`)",
        "",
        "These measurements informed the policies and trn1's DMA rate. HBM bytes are known where the measurements give them, and",
        "where the device moved what the source asks for; of the smaller tiled step it loaded lhsT half as often as that.",
        "So does the clock, by a rule that this step decided (`Policy.repeats`); below the table, the same with every load done.",
        "",
    ]
    lines += [
        "| what | measured | modelled | error | range | HBM measured, GB | modelled | error |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for m in found:
        r = m.latency
        cells = f"{r.measured:,.0f} | {r.modelled:,.0f} | {r.error:+.1%} | {m.low_us:,.0f} to {m.high_us:,.0f}"
        known = m.measured_bytes
        moved = (
            f"{known / 1e9:.3f}" if known else "–",
            f"{m.bytes / 1e9:.3f}",
            f"{m.bytes / known - 1:+.1%}" if known else "–",
        )
        lines.append(f"| {r.name} | {cells} | {' | '.join(moved)} |")
    return [*lines, "", f"Median error {median_error(m.latency for m in found):.1%}.", "", *_every_load(found), ""]


def _every_load(found: Sequence[Matmul]) -> list[str]:
    """The matmuls whose bytes change where the compiler does every load that the source asks for."""
    given = {m.latency.name: m.bytes for m in found}
    others = [m for m in matmuls(False, hardware.Policy(repeats=0.0)) if m.bytes != given[m.latency.name]]
    parts = [
        f"{m.latency.name} takes {m.latency.modelled:,.0f} us ({m.latency.error:+.1%}) and moves {m.bytes / 1e9:.3f} GB"
        + (f" ({m.bytes / m.measured_bytes - 1:+.1%})" if m.measured_bytes else "")
        for m in others
    ]
    return [f"With `Policy(repeats=0)`, {'; '.join(parts)}.", "The other small ones move the same bytes as above."]


def _launches() -> list[str]:
    lines = [
        "## Replayed launches (ns)",
        "",
        "Attention of one head, rebuilt from what its profiles show (`bench/accuracy_attention.py`). Body: first trigger to",
        "last packet; engines: time with an instruction of the kernel. The start-up times of DMAs and the throttle's thresholds were read off",
        "the same launches, row by row; nothing was fitted to the sums below.",
        "",
    ]
    for title, phase in (
        ("The throttle's grid as in the table", False),
        ("The throttle's grid as it lay in each launch", True),
    ):
        lines += [f"### {title}", ""]
        lines += ["| launch | what | measured | modelled | error |", "|---|---|---|---|---|"]
        for launch in launches(phase):
            lines += _launch(launch)
        lines.append("")
    return lines


def _launch(launch: Launch) -> list[str]:
    found = [
        f"| {launch.name} | {r.metric} | {r.measured:,.0f} | {r.modelled:,.0f} | {r.error:+.1%} |"
        for r in (launch.body, *launch.engines)
    ]
    found[0] = found[0].replace("| body |", f"| body, {launch.low_ns:,.0f} to {launch.high_ns:,.0f} |")
    pairs = (("multiplies", launch.matmuls), ("HBM bytes", launch.hbm_bytes))
    return found + [f"| {launch.name} | {name} | {a:,} | {b:,} | {b / a - 1:+.1%} |" for name, (a, b) in pairs]


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
