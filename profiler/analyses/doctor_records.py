"""Checks of `doctor` on what the device recorded: losses, doubles, clocks, counters."""

from __future__ import annotations

import re

import polars as pl

from ..profile import Profile
from .doctor_row import Row, Rows
from .machine import WAIT_OPCODES, added, table_total_ns

_PACKET = ("engine_idx", "queue_idx", "start_ts", "end_ts", "transfer_bytes", "crc")
_UNPAIRED = re.compile(r"^(\d+) instruction and (\d+) DMA records have no partner")
_MANY = 0.01
_EXECUTION = re.compile(r"_exec_(\d{1,9})(?=[_.]|$)")
_SLACK_NS = 1.0
_CLOCKS = "clocks of units disagree, or several executions are in one file: compare times of one engine only"


def dropped(p: Profile) -> Rows:
    """Notifications that the device lost."""
    fix = "profile a shorter run: the notification buffers overflowed"
    for text in p.rows("Warning").filter(pl.col("message").str.contains("dropped"))["message"].to_list():
        yield Row("wrong", "dropped records", text, fix)
    for note in p.notes:
        match = _UNPAIRED.match(note)
        for name, count in zip(("Instruction", "DmaPacket"), match.groups() if match else (), strict=False):
            if int(count) > _MANY * max(p.rows(name).height, 100):
                what = f"{count} records of {name} have no partner: more than the ends of a trace cut off"
                yield Row("wrong", "dropped records", what, fix)


def dge(p: Profile) -> Rows:
    """Dynamic DMA without its metadata."""
    if not p.has("DmaPacket") or p.origin.simulated:
        return
    rows = p.table("DmaPacket").filter(pl.col("queue_type").str.contains("dynamic"))
    named = rows.filter(pl.col("variable").is_not_null() & (pl.col("variable") != "unknown")).height
    if not rows.height or named:
        return
    what = "dynamic DMA has no tensor names (byte totals are right): reloads per tensor cannot be told"
    fix = "capture with --enable-dge-notifs or NEURON_RT_ENABLE_DGE_NOTIFICATIONS=1"
    if p.origin.kind == "ntff":
        fix += "; names are not decoded from an NTFF: --with-vendor-tool, or open what the vendor's tool exports"
    yield Row("missing", "DGE notifications", what, fix)


def first(p: Profile) -> Rows:
    """The first execution, which loads what later ones find loaded."""
    facts = p.facts
    index = facts.get("execution") or facts.get("execution_index")
    if index is None and (match := _EXECUTION.search(facts.get("ntff_filename", ""))):
        index = match[1]
    if index == "1" and not p.origin.simulated:
        what = "the first execution is slower than later ones"
        yield Row("suspect", "first execution", what, "capture with --num-exec=2 --profile-nth-exec=2")


def duplicates(p: Profile) -> Rows:
    """Packets recorded twice: marked so, or equal in every column."""
    rows = p.rows("DmaPacket")
    twice = int(added(rows["duplicate"].cast(pl.Int64)))
    timed = rows.filter(pl.col("end_ts") > pl.col("start_ts"))
    if not twice and p.has("DmaPacket", *_PACKET):
        twice = timed.height - timed.select(_PACKET).n_unique()
    if twice:
        what = f"{twice} DMA packets were recorded twice and count twice in bytes"
        yield Row("suspect", "duplicate packets", what, "capture again")


def outside(p: Profile) -> Rows:
    """Rows outside the run, and rows that end before they start."""
    length, start = table_total_ns(p), p.fact("first_hw_timestamp") or 0.0
    for name in ("Instruction", "DmaPacket"):
        if not p.has(name) or not length:
            continue
        rows = p.table(name)
        end = start + length
        away = rows.filter((pl.col("start_ts") < start - _SLACK_NS) | (pl.col("end_ts") > end + _SLACK_NS)).height
        if away:
            yield Row("suspect", "clocks", f"{away} rows of {name} lie outside the execution", _CLOCKS)
        backwards = rows.filter(pl.col("end_ts") < pl.col("start_ts")).height
        if backwards:
            yield Row("wrong", "clocks", f"{backwards} rows of {name} end before they start", "capture again")


def order(p: Profile) -> Rows:
    """Instructions that end before one that they depend on begins: impossible on one clock."""
    flows = p.rows("Flow").filter((pl.col("in_table") == "Instruction") & (pl.col("out_table") == "Instruction"))
    if not flows.height or not p.has("Instruction", "id"):
        return
    spans = p.table("Instruction").select("id", "start_ts", "end_ts")
    both = flows.join(spans, left_on="in_id", right_on="id")
    both = both.join(spans, left_on="out_id", right_on="id", suffix="_out")
    early = both.filter(pl.col("end_ts_out") < pl.col("start_ts") - _SLACK_NS).height
    if early:
        what = f"{early} of {both.height} instructions end before one that they depend on begins"
        yield Row("suspect", "clocks", what, _CLOCKS)


def waits(p: Profile) -> Rows:
    """Wait counters that still show an earlier wait."""
    if not p.has("Instruction", "evt_wait_time_ns"):
        return
    rows = p.table("Instruction").sort("pcore_idx", "engine", "start_ts")
    gap = pl.col("start_ts") - pl.col("end_ts").cum_max().shift(1).over("pcore_idx", "engine")
    counted = pl.col("evt_wait_time_ns") > gap.clip(lower_bound=0) + 100
    stale = rows.filter(~pl.col("opcode").is_in(WAIT_OPCODES) & counted).height
    if stale:
        what = (
            f"{stale} of {rows.height} wait counters are longer than the gap they stand behind: a 16-bit counter that is "
            "not reset"
        )
        fix = "nkilab uses gaps, dependences and semaphores instead; never add the counters up"
        yield Row("note", "wait counters", what, fix)
