"""What a reader of the numbers should know about one NTFF, one sentence each. What any profile may lack, `doctor` says."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from ..neff.program import Neff
from .metadata import Capture
from .program_table import ProgramTable
from .rows import CoreRows


def notes(
    what: Capture, neff: Neff | None, table: ProgramTable, cores: Sequence[CoreRows], ran: pl.DataFrame, calls: str
) -> tuple[str, ...]:
    """The notes of one NTFF; `ran` are its instructions, `calls` what was said about call stacks."""
    found = (*_program(what, neff, table), *_records(what, cores), calls, _encodings(ran, table))
    return tuple(note for note in found if note)


def _encodings(ran: pl.DataFrame, table: ProgramTable) -> str:
    """What is said about instructions whose encoding is not understood."""
    unknown = table.rows["operands"].is_null().gather(ran["row"]).sum() if ran.height else 0
    if not unknown:
        return ""
    return (
        f"{unknown} of {ran.height} instructions have operands that are not understood, and their bytes and FLOPs may "
        "be null: an encoding counts only where it was compared with the vendor's tool"
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


def _records(what: Capture, cores: Sequence[CoreRows]) -> list[str]:
    """What is said about the records."""
    found = []
    instructions, packets = sum(c.unpaired_instructions for c in cores), sum(c.unpaired_packets for c in cores)
    if instructions or packets:
        found.append(
            f"{instructions} instruction and {packets} DMA records have no partner "
            "(cut off at the ends of the trace, or dropped) and are left out"
        )
    if table_packets := sum(core.table_packets for core in cores):
        found.append(
            f"{table_packets} DMA packets of the runtime's instruction and table rings are left out: these rings "
            "were busy when the execution began (the vendor's tool leaves them out too)"
        )
    if what.version < 6:
        found.append(f"version {what.version} states no start: it is taken from the preamble's last NOTIFY")
    if what.version == 4:
        found.append("version 4 has one clock per engine: times of different engines agree to about 0.5 us")
    return found
