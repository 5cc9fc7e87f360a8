"""Commands that ask a profile one question: an analysis each, printed as it prints itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from nkilab.command import options
from nkilab.command.result import Result

# Command: (the analysis of that name in one sentence, an example of what to ask it about).
ANALYSES = {
    "summary": (
        "Total time and every metric of the vendor's summary, with the vendor's names and units.",
        "profile.json",
    ),
    "engines": ("Busy time, instructions and FLOPs of every engine and of the DMA.", "profile.json"),
    "overlap": ("How much of the data movement hides behind compute.", "profile.json"),
    "lines": ("Time, bytes and FLOPs of every source line.", "nkilab-out/matmul_tiled"),
    "hierarchy": ("Time from layer through function and line to opcode.", "nkilab-out/matmul_tiled"),
    "stalls": ("Every gap of every engine, and what it waited for.", "nkilab-out/matmul_tiled"),
    "bounds": ("What the run could take at best, by each of its limits, and the roofline.", "nkilab-out/matmul_tiled"),
    "dma": ("Queues, transfer sizes and repeated loads.", "profile.json"),
    "memory": ("Use of SBUF and PSUM over time.", "nkilab-out/matmul_tiled"),
    "collectives": ("Bandwidth and outliers of collective operations.", "profile.json"),
    "system": ("The host's side: runtime events, CPU and memory use.", "inspect-output"),
    "advice": ("What to change first, with the numbers that say so.", "nkilab-out/matmul_tiled"),
}


def diff(
    before: options.ProfilePath,
    after: Annotated[Path, typer.Argument(metavar="PROFILE", help="The profile to compare with it.")],
    *,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            help='End with status 1 if this holds: "total_us>+5%", "hbm_read_bytes>1000000". May be given again.'
        ),
    ] = None,
    source_root: options.SourceRoot = None,
) -> Result:
    """What changed from one run to another: metrics, engines, lines, opcodes; a gate with --fail-if.

    \b
    nkilab diff nkilab-out/matmul_tiled nkilab-out/matmul_blocked
    nkilab diff before after --fail-if "total_us>+5%"
    """
    first, second = (opened(path, None, source_root) for path in (before, after))
    answer = first.diff(getattr(second, "profile", second))
    broken = [sentence for rule in fail_if or [] if (sentence := answer.broken(rule)) is not None]
    text = (answer, *(Text(sentence, style="red") for sentence in broken))
    return Result(data={**answer.to_json(), "broken": broken}, text=text, failed=bool(broken))


def opened(
    path: Path,
    neff: Path | None,
    source_root: Path | None,
    select: str | None = None,
    *,
    with_vendor_tool: bool = False,
) -> Any:
    """The run or profile at `path`."""
    from nkilab.run import load

    return load(path, neff, source_root, select=select, with_vendor_tool=with_vendor_tool)


def doctor(
    path: Annotated[Path | None, typer.Argument(metavar="[PROFILE]", help="A profile; none: this machine.")] = None,
    *,
    neff: options.Neff = None,
    source_root: options.SourceRoot = None,
    select: options.Select = None,
    with_vendor_tool: options.VendorTool = False,
) -> Result:
    """What is missing or suspect in a profile, and what to do about it; without a profile, on this machine.

    Exit status 1 if something is wrong.

    \b
    nkilab doctor
    nkilab doctor profile.json
    """
    from nkilab.environment import environment

    if path is None:
        answer = environment()
    else:
        answer = opened(path, neff, source_root, select, with_vendor_tool=with_vendor_tool).doctor()
    return Result(data=answer.to_json(), text=(answer,), failed=answer.wrong)


def _asking(name: str) -> Callable[..., Result]:
    """The command of one analysis."""

    def ask(
        path: options.ProfilePath,
        *,
        neff: options.Neff = None,
        source_root: options.SourceRoot = None,
        select: options.Select = None,
        with_vendor_tool: options.VendorTool = False,
    ) -> Result:
        answer = getattr(opened(path, neff, source_root, select, with_vendor_tool=with_vendor_tool), name)()
        return Result(data=answer.to_json(), text=(answer,))

    sentence, example = ANALYSES[name]
    ask.__doc__ = f"{sentence}\n\n\b\nnkilab {name} {example}\nnkilab {name} {example} --json"
    return ask


COMMANDS: dict[str, Callable[..., Result]] = {
    **{name: _asking(name) for name in ANALYSES}, "doctor": doctor, "diff": diff,
}  # fmt: skip
