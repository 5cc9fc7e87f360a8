"""Checks of `doctor` on the source as a whole: its version, what its reader and its producer said, what it lacks."""

from __future__ import annotations

import re

import polars as pl

from ..profile import Profile
from ..schema import TABLES
from .doctor_row import Row, Rows

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
KNOWN = {"ntff_version": ("NTFF version", 6), "profile_schema_version": ("schema version", 12), "trace_format": ("trace format", 3)}  # fmt: skip
_NUMBER = re.compile(r"\d{1,9}")
# What a reader noted and a check names: part of the note, level, check, what to do.
_NOTED = (
    ("differ from the NEFF's program", "wrong", "wrong NEFF", "give the NEFF that ran: neff= or --neff"),
    ("the NEFF does not have the checksum", "suspect", "damaged NEFF", "copy it again from the machine that compiled it"),
    ("no NEFF with uuid", "missing", "no NEFF", "put the NEFF that ran beside the NTFF, or name it with --neff"),
    ("states no uuid and no NEFF", "missing", "no NEFF", "name the NEFF that ran with --neff"),
    ("one clock per engine", "suspect", "clocks", "compare times of different engines to 0.5 us only"),
    ("starts or stops of runtime events", "note", "reader", "record a longer trace if the events at its ends matter"),
    ("have no partner", "note", "reader", "nothing: a trace begins and ends in the midst of work; if many, records were lost"),
    ("table rings are left out", "note", "reader", "nothing: these rings carry none of the kernel's data"),
    ("operands that are not understood", "note", "operands", "--with-vendor-tool fills them in; times and lines are right"),
    ("are whole nanoseconds in", "note", "reader", "open the NTFF with its NEFF where sums of many short times matter"),
    ("states no start", "note", "reader", "trust durations; the offset of all times hangs on this"),
    ("unknown columns are kept", "note", "schema", "compare a number or two with the vendor's own view; look for a newer nkilab"),
)  # fmt: skip


def empty(p: Profile) -> Rows:
    """Nothing at all."""
    if not any(p.has(name) for name in p.names):
        yield Row("wrong", "empty", "no table of this profile has a row", "open another file of the run")


def versions(p: Profile) -> Rows:
    """A format newer than the ones known."""
    for fact, (name, newest) in KNOWN.items():
        version = p.facts.get(fact, "")
        major = _NUMBER.match(version)
        if major and int(major[0]) > newest:
            what = f"{name} {version} is newer than any that nkilab knows, {newest}"
            yield Row("suspect", "version", what, "look for a newer nkilab; columns are read by their names")


def reader(p: Profile) -> Rows:
    """What the reader noted: some of it makes numbers wrong or answers impossible."""
    for note in p.notes:
        known = next(
            ((level, check, fix) for part, level, check, fix in _NOTED if part in note), ("note", "reader", "")
        )
        level, check, fix = known
        yield Row(level, check, note, fix)


def producer(p: Profile) -> Rows:
    """What the producer warned of, losses apart."""
    said = p.rows("Warning").filter(~pl.col("message").str.contains("dropped"))["message"]
    for text in said.drop_nulls().to_list():
        yield Row("note", "producer", text, "")


def modelled(p: Profile) -> Rows:
    """How well the costs of a simulation are known."""
    if not p.origin.simulated:
        return
    shares = dict(p.rows("CostClass").select("cost_class", "share").drop_nulls().iter_rows())
    words = ", ".join(f"{share:.0%} {name}" for name, share in shares.items())
    what = f"times are modelled, not measured{': ' + words if words else ''}"
    yield Row("note", "modelled", what, "profile on a device to be sure")


def tables(p: Profile) -> Rows:
    """Tables that analyses read and this profile does not have."""
    absent = [name for name in _EXPECTED if not p.has(name)]
    if absent and p.has("Instruction"):
        what = "; ".join(f"{name} ({TABLES[name].row})" for name in absent)
        fix = "nothing, if no answer needs them; the vendor's tool works out some of them: --with-vendor-tool"
        yield Row("note", "absent tables", f"not in this profile: {what}", "" if p.origin.simulated else fix)
