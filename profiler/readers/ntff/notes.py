"""What a reader of the numbers should know about one NTFF, one sentence each, with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from ..neff.program import Neff
from .metadata import Capture
from .program_table import ProgramTable

if TYPE_CHECKING:
    from .reader import Losses


def notes(
    what: Capture,
    neff: Neff | None,
    table: ProgramTable,
    losses: Losses,
    tables: Mapping[str, pl.DataFrame],
    calls: str,
) -> tuple[str, ...]:
    """The notes of one NTFF."""
    return tuple(
        note
        for note in (
            *_program(what, neff, table),
            *_records(what, losses),
            _opcodes(tables["Instruction"]),
            _lines(neff, tables),
            calls,
            "hbm, sbuf and psum bytes, operands and FLOPs are given only where the encoding was compared with the "
            "vendor's tool; others are null"
            if table.rows.height
            else "",
        )
        if note
    )


def _program(what: Capture, neff: Neff | None, table: ProgramTable) -> list[str]:
    """What is said about the compiled program."""
    found = []
    if neff is None:
        found.append(
            f"no NEFF with uuid {what.uuid} beside the NTFF: names and source lines are missing; give it as neff="
            if what.uuid
            else "the NTFF states no uuid and no NEFF was given: names and source lines are missing; give it as neff="
        )
    elif not what.uuid:
        found.append("the NTFF states no uuid: whether the NEFF belongs to it cannot be checked")
    if neff and not neff.header.intact:
        found.append("the NEFF does not have the checksum that its header states: it may be damaged")
    if table.mismatches:
        found.append(
            f"{table.mismatches} instructions differ from the NEFF's program: it may be the NEFF of another compilation"
        )
    return found


def _records(what: Capture, losses: Losses) -> list[str]:
    """What is said about the records."""
    found = []
    if losses.unpaired_instructions or losses.unpaired_packets:
        found.append(
            f"{losses.unpaired_instructions} instruction and {losses.unpaired_packets} DMA records have no partner "
            "(cut off at the ends of the trace, or dropped) and are left out"
        )
    if losses.table_packets:
        found.append(
            f"{losses.table_packets} DMA packets of the runtime's instruction and table rings are left out: these rings "
            "were busy when the execution began (the vendor's tool leaves them out too)"
        )
    if what.version < 6:
        found.append(f"version {what.version} states no start: it is taken from the preamble's last NOTIFY")
    if what.version == 4:
        found.append("version 4 has one clock per engine: times of different engines agree to about 0.5 us")
    if what.execution == 1:
        found.append("the first execution: it includes loading; profile a later one (--profile-nth-exec)")
    return found


def _opcodes(rows: pl.DataFrame) -> str:
    """Executed opcodes without a proven name."""
    found = rows["opcode"].unique().sort().to_list() if rows.height else []
    unknown = [name for name in found if name.startswith("OPCODE_")]
    return "opcodes without a proven name: " + ", ".join(unknown) if unknown else ""


def _lines(neff: Neff | None, tables: Mapping[str, pl.DataFrame]) -> str:
    """What is said about source lines."""
    if (
        neff is None
        or tables["Instruction"].is_empty()
        or tables["Instruction"]["line"].null_count() < tables["Instruction"].height
    ):
        return ""
    return "no source lines in the NEFF: set NEURON_FRAMEWORK_DEBUG=1 before compiling"
