"""`doctor`: what is missing or suspect in a profile, what that means for the numbers, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import polars as pl

from ..profile import Profile
from ..schema import TABLES
from .base import Answer, Shown
from .machine import WAIT_OPCODES, added, table_total_ns, working

Check = Callable[[Profile], Iterator[tuple[str, str, str, str]]]
_SCHEMA = {"level": pl.String, "check": pl.String, "what": pl.String, "fix": pl.String}
_ORDER = {"wrong": 0, "missing": 1, "suspect": 2, "note": 3}
_EXPECTED = (
    "Instruction",
    "DmaPacket",
    "SemaphoreUpdate",
    "Throttle",
    "Flow",
    "TensorInfo",
    "SbufUsage",
    "PsumUsage",
    "Metadata",
)
KNOWN_NTFF = ("4", "5", "6")


@dataclass(frozen=True, slots=True)
class Doctor(Answer):
    """Findings about a profile itself.

    Attributes:
        rows: level ("wrong": numbers cannot be trusted; "missing": some answers cannot be given; "suspect": read with
            care; "note"), check, what, fix.
        healthy: whether nothing is wrong or missing.
    """

    title: ClassVar[str] = "Doctor"
    shown: ClassVar[tuple[Shown, ...]] = (
        Shown("level", "level"),
        Shown("check", "check"),
        Shown("what", "what"),
        Shown("fix", "do"),
    )

    rows: pl.DataFrame
    healthy: bool

    def remarks(self) -> list[str]:
        """Whether anything is wrong."""
        return ["nothing is wrong or missing"] if self.healthy else []


def doctor(p: Profile) -> Doctor:
    """Every check on a profile, worst first."""
    found = [row for check in CHECKS for row in check(p)]
    rows = pl.DataFrame(found, schema=_SCHEMA, orient="row")
    rank = pl.col("level").replace_strict(_ORDER, return_dtype=pl.Int64)
    levels = set(rows["level"].to_list())
    return Doctor(rows.sort(rank, maintain_order=True), not levels & {"wrong", "missing"})


Rows = Iterator[tuple[str, str, str, str]]


def _dropped(p: Profile) -> Rows:
    """Notifications that the device lost."""
    texts = p.rows("Warning").filter(pl.col("message").str.contains("dropped"))["message"].to_list()
    for text in texts:
        yield "wrong", "dropped records", text, "profile a shorter run: the notification buffers overflowed"


def _instructions(p: Profile) -> Rows:
    """No instructions at all, or instructions of another program."""
    if p.has("Instruction"):
        return
    if p.origin.kind in {"ntff", "device-json"}:
        yield (
            "wrong",
            "no instructions",
            "the NEFF is of another program or rank, or every record was lost",
            "give the NEFF that ran",
        )
    elif p.origin.kind == "summary":
        yield "missing", "no instructions", "a summary holds totals only", "open the NTFF or the full JSON of the run"


def _empty(p: Profile) -> Rows:
    """Nothing at all."""
    if not any(p.has(name) for name in p.names):
        yield "wrong", "empty", "no table of this profile has a row", "open another file of the run"


def _lines(p: Profile) -> Rows:
    """Source lines."""
    if not p.has("Instruction"):
        return
    rows = working(p)
    spent = rows["end_ts"] - rows["start_ts"]
    share = added(spent.filter(rows["line"].is_not_null())) / added(spent) if added(spent) else 0.0
    if not share:
        what = "no instruction has a source line: `lines` cannot attribute time"
        yield (
            "missing",
            "source lines",
            what,
            "set NKI_DEBUG_INFO=True (or NEURON_FRAMEWORK_DEBUG=1) before compiling, profile again",
        )
    elif share < 0.9:
        yield (
            "note",
            "source lines",
            f"{share:.1%} of instruction time has a source line",
            "the rest is the runtime's and the compiler's",
        )


def _sources(p: Profile) -> Rows:
    """Source files that are not on this machine."""
    files = p.rows("Instruction")["file"].drop_nulls().unique().sort().to_list()
    carried = set(p.rows("Source")["file"].to_list())
    away = [file for file in files if file not in carried and not Path(file).is_file()]
    if away:
        yield (
            "note",
            "source text",
            f"{len(away)} source files are not here, such as {away[0]}",
            "give source_root= the folder that holds them",
        )


def _dge(p: Profile) -> Rows:
    """Dynamic DMA without its metadata."""
    if not p.has("DmaPacket") or p.origin.simulated:
        return
    rows = p.table("DmaPacket").filter(pl.col("queue_type").str.contains("dynamic"))
    named = rows.filter(pl.col("variable").is_not_null() & (pl.col("variable") != "unknown")).height
    if rows.height and not named:
        what = "dynamic DMA has no tensor names (byte totals are right): reloads per tensor cannot be told"
        yield (
            "missing",
            "DGE notifications",
            what,
            "capture with --enable-dge-notifs or NEURON_RT_ENABLE_DGE_NOTIFICATIONS=1",
        )


def _first(p: Profile) -> Rows:
    """The first execution, which loads what later ones find loaded."""
    index = p.facts.get("execution") or p.facts.get("execution_index")
    if index == "1" and not p.origin.simulated:
        yield (
            "suspect",
            "first execution",
            "the first execution is slower than later ones",
            "capture with --num-exec=2 --profile-nth-exec=2",
        )


def _duplicates(p: Profile) -> Rows:
    """Packets recorded twice."""
    twice = int(added(p.rows("DmaPacket")["duplicate"].cast(pl.Int64)))
    if twice:
        yield (
            "suspect",
            "duplicate packets",
            f"{twice} DMA packets were recorded twice and count twice in bytes",
            "capture again",
        )


def _waits(p: Profile) -> Rows:
    """Wait counters that still show an earlier wait."""
    if not p.has("Instruction", "evt_wait_time_ns"):
        return
    rows = p.table("Instruction").sort("pcore_idx", "engine", "start_ts")
    gap = pl.col("start_ts") - pl.col("end_ts").cum_max().shift(1).over("pcore_idx", "engine")
    stale = rows.filter(
        ~pl.col("opcode").is_in(WAIT_OPCODES) & (pl.col("evt_wait_time_ns") > gap.clip(lower_bound=0) + 100)
    ).height
    if stale:
        what = f"{stale} of {rows.height} wait counters are longer than the gap they stand behind: a 16-bit counter that is not reset"
        yield (
            "note",
            "wait counters",
            what,
            "nkilab uses gaps, dependences and semaphores instead; never add the counters up",
        )


def _mfu(p: Profile) -> Rows:
    """An active TensorE without FLOPs."""
    matmul = p.rows("Instruction").filter(opcode="MATMUL")
    if matmul.height and matmul["raw_flops"].null_count() == matmul.height:
        yield (
            "missing",
            "FLOPs",
            "TensorE multiplies, but the source has no FLOPs: MFU cannot be told",
            "open the profile with its NEFF",
        )


def _opcodes(p: Profile) -> Rows:
    """Opcodes without a name."""
    rows = p.rows("Instruction").filter(pl.col("opcode").str.contains("0x"))
    if rows.height:
        names = ", ".join(rows["opcode"].unique().sort().head(8).to_list())
        yield (
            "note",
            "unknown opcodes",
            f"{rows.height} instructions have opcodes without a proven name: {names}",
            "times are right, names and bytes are not known",
        )


def _clocks(p: Profile) -> Rows:
    """Rows outside the run."""
    end = table_total_ns(p)
    start = p.fact("first_hw_timestamp") or 0.0
    for name in ("Instruction", "DmaPacket"):
        if not p.has(name) or not end:
            continue
        rows = p.table(name)
        outside = rows.filter((pl.col("start_ts") < start - 1) | (pl.col("end_ts") > start + end + 1)).height
        if outside:
            yield (
                "suspect",
                "clocks",
                f"{outside} rows of {name} lie outside the execution",
                "clocks of units disagree, or several executions are in one file",
            )
        backwards = rows.filter(pl.col("end_ts") < pl.col("start_ts")).height
        if backwards:
            yield "wrong", "clocks", f"{backwards} rows of {name} end before they start", "capture again"


def _version(p: Profile) -> Rows:
    """A format newer than the ones known."""
    version = p.facts.get("ntff_version", "")
    if version and version not in KNOWN_NTFF:
        yield (
            "suspect",
            "version",
            f"NTFF version {version} is newer than the known {', '.join(KNOWN_NTFF)}",
            "look for a newer nkilab",
        )


def _modelled(p: Profile) -> Rows:
    """How well the costs of a simulation are known."""
    if not p.origin.simulated:
        return
    shares = dict(p.rows("CostClass").select("cost_class", "share").drop_nulls().iter_rows())
    words = ", ".join(f"{share:.0%} {name}" for name, share in shares.items())
    yield (
        "note",
        "modelled",
        f"times are modelled, not measured{': ' + words if words else ''}",
        "profile on a device to be sure",
    )


def _warnings(p: Profile) -> Rows:
    """What the producer warned of, and what the reader noted."""
    for text in p.rows("Warning").filter(~pl.col("message").str.contains("dropped"))["message"].drop_nulls().to_list():
        yield "note", "producer", text, ""
    for note in p.notes:
        yield "note", "reader", note, ""


def _tables(p: Profile) -> Rows:
    """Tables that analyses read and this profile does not have."""
    absent = [name for name in _EXPECTED if not p.has(name)]
    if absent and p.has("Instruction"):
        what = "; ".join(f"{name} ({TABLES[name].row})" for name in absent)
        yield "note", "absent tables", f"not in this profile: {what}", ""


CHECKS: tuple[Check, ...] = (
    _empty, _dropped, _instructions, _lines, _dge, _mfu, _first, _duplicates, _clocks, _version, _opcodes, _sources, _waits, _modelled, _tables,
    _warnings,
)  # fmt: skip
