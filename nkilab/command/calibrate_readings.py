"""Numbers of a hardware table that device profiles show as such: DMA issue and elements, hand-overs, the launch's ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from nkilab.clock import Number
from nkilab.hardware import Hardware
from nkilab.profiler import Profile

_LEAST = 8
"""Fewest observations of a number that change a table; of launches one is enough."""
_ONCE = ("launch.prologue_ns", "launch.tail_ns")
_NEAR = 150.0
"""A dependent that starts later than this after its last producer has waited for something else, in ns."""
_APART = 1000.0
"""DMAs of one engine further apart than this were not held up by their issue alone, in ns."""
_QUIET = 3000.0
"""Packets within this time after a trigger that met idle DMA engines are its own, in ns."""
_ISSUE = {"Sync": "dma.sync_issue_ns", "Scalar": "dma.scalar_issue_ns"}
_DATA = 8
"""Packets of at most this many bytes are semaphore writes."""

Observed = dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Readings:
    """What profiles say of numbers, and of DMA elements by their bytes."""

    numbers: Mapping[str, list[float]]
    elements: Mapping[int, list[float]]

    def changes(self, hw: Hardware) -> tuple[dict[str, Any], tuple[Number, ...]]:
        """New values for a table, and what each one rests on."""
        changes: dict[str, Any] = {}
        counts: dict[str, int] = {}
        for key, values in self.numbers.items():
            if len(values) >= (1 if key in _ONCE else _LEAST):
                changes[key], counts[key] = float(pl.Series(values).median()), len(values)  # type: ignore[arg-type]
        if "handover.wait_ns" in changes:
            changes["handover.wait_ns"] = max(changes["handover.wait_ns"] - hw.handover.signal_ns, 0.0)
        known = {size: values for size, values in self.elements.items() if len(values) >= _LEAST}
        if known:
            sizes, times = _merged(hw, known)
            changes |= {"dma.element_bytes": sizes, "dma.element_ns": times}
            counts["dma.element_bytes"] = counts["dma.element_ns"] = sum(map(len, known.values()))
        return changes, tuple(Number(key, hw.source(key).value, value, counts[key]) for key, value in changes.items())


def _merged(hw: Hardware, known: Mapping[int, list[float]]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The table's sizes and times with the measured ones in place of or between them; times do not fall with size."""
    table = dict(zip(hw.dma.element_bytes, hw.dma.element_ns, strict=True))
    table |= {size: float(pl.Series(values).median()) for size, values in known.items()}  # type: ignore[arg-type]
    sizes = tuple(sorted(table))
    times = pl.Series([table[size] for size in sizes]).cum_max().to_list()
    return sizes, tuple(times)


def readings_of(profiles: Iterable[Profile]) -> Readings:
    """What some device profiles show; a profile without a table adds nothing of it."""
    numbers: Observed = {}
    elements: dict[int, list[float]] = {}
    for p in profiles:
        for part in (_issues(p), _handovers(p), _latencies(p), _launch(p), _packets(p, elements)):
            for key, values in part.items():
                numbers.setdefault(key, []).extend(values)
    return Readings(numbers, elements)


def _triggers(p: Profile) -> pl.DataFrame:
    """Instructions that issue DMAs, in order on each core and engine."""
    rows = p.table("Instruction").filter(pl.col("opcode").str.starts_with("DMA_DIRECT"))
    return rows.sort("pcore_idx", "engine", "start_ts")


def _issues(p: Profile) -> Observed:
    if not p.has("Instruction"):
        return {}
    rows = _triggers(p).with_columns(
        gap=(pl.col("start_ts").shift(-1) - pl.col("start_ts")).over("pcore_idx", "engine")
    )
    found = {key: rows.filter(pl.col("engine") == engine)["duration_ns"].to_list() for engine, key in _ISSUE.items()}
    software = rows.filter(pl.col("engine") == "GpSimd")
    found["dma.software_row_ns"] = software["duration_ns"].to_list()
    found["dma.software_issue_ns"] = software.filter(pl.col("gap") < _APART)["gap"].to_list()
    return found


def _handovers(p: Profile) -> Observed:
    """End of the last producer to start of the dependent, on one engine and across engines (signal and wait together)."""
    if not (p.has("Flow") and p.has("Instruction")):
        return {}
    rows = p.table("Instruction").select("id", "engine", "start_ts", "end_ts")
    flows = p.table("Flow").filter((pl.col("in_table") == "Instruction") & (pl.col("out_table") == "Instruction"))
    pairs = flows.join(rows, left_on="in_id", right_on="id").join(rows, left_on="out_id", right_on="id", suffix="_out")
    last = pairs.sort("end_ts").group_by("out_id", maintain_order=True).last()
    gap = last.with_columns(gap=pl.col("start_ts_out") - pl.col("end_ts")).filter(pl.col("gap").is_between(0.0, _NEAR))
    same = pl.col("engine") == pl.col("engine_out")
    return {
        "handover.same_engine_ns": gap.filter(same)["gap"].to_list(),
        "handover.wait_ns": gap.filter(~same)["gap"].to_list(),
    }


def _latencies(p: Profile) -> Observed:
    """Trigger to first packet, where the DMA engines were idle before."""
    if not (p.has("DmaPacket") and p.has("Instruction")):
        return {}
    packets = p.table("DmaPacket").filter(pl.col("queue_type") != "instruction").sort("start_ts")
    found: Observed = {"dma.hardware_latency_ns": [], "dma.software_latency_ns": []}
    for core in packets["pcore_idx"].unique().to_list():
        own = packets.filter(pl.col("pcore_idx") == core)
        rows = _triggers(p).filter(pl.col("pcore_idx") == core).sort("start_ts")
        rows = rows.with_columns(quiet=pl.col("start_ts") - pl.col("start_ts").shift(1).fill_null(-_QUIET) >= _QUIET)
        first = rows.join_asof(
            own.select(first="start_ts"), left_on="start_ts", right_on="first", strategy="forward"
        ).filter("quiet", pl.col("first") - pl.col("start_ts") < _QUIET)
        software = pl.col("engine") == "GpSimd"
        for key, which in (("dma.hardware_latency_ns", ~software), ("dma.software_latency_ns", software)):
            mine = first.filter(which)
            found[key] += (mine["first"] - mine["start_ts"]).to_list()
    return found


def _launch(p: Profile) -> Observed:
    """From the start of the profile to the first trigger, and from the last packet to the end."""
    if not (p.has("Summary") and p.has("Instruction") and p.has("DmaPacket")):
        return {}
    total = _total_ns(p)
    starts = _triggers(p)["start_ts"]
    ends = p.table("DmaPacket")["end_ts"]
    if not total or not len(starts) or not len(ends):
        return {}
    return {"launch.prologue_ns": [float(starts.min())], "launch.tail_ns": [total - float(ends.max())]}  # type: ignore[arg-type]


def _total_ns(p: Profile) -> float:
    found = p.table("Summary").filter(pl.col("metric") == "total_time")["value"].drop_nulls()
    return float(found[0]) * 1e9 if len(found) else 0.0


def _packets(p: Profile, elements: dict[int, list[float]]) -> Observed:
    """Times of packets of hardware descriptors by their bytes, and how much two in a row overlap."""
    if not p.has("DmaPacket"):
        return {}
    rows = p.table("DmaPacket").filter(~pl.col("duplicate").fill_null(value=False))
    rows = rows.sort("pcore_idx", "engine_idx", "queue_name", "start_ts").with_columns(
        gap=(pl.col("start_ts").shift(-1) - pl.col("start_ts")).over("pcore_idx", "engine_idx", "queue_name"),
    )
    hardware = rows.filter(pl.col("queue_type") == "hardware_dynamic")
    for size, times in hardware.group_by("transfer_bytes").agg("duration_ns").iter_rows():
        if size > _DATA:
            elements.setdefault(size, []).extend(times)
    back = hardware.filter((pl.col("transfer_bytes") > _DATA) & (pl.col("gap") < pl.col("duration_ns")))
    small = rows.filter(pl.col("transfer_bytes") <= _DATA)
    return {
        "dma.element_overlap_ns": (back["duration_ns"] - back["gap"]).to_list(),
        "dma.semaphore_ns": small["duration_ns"].to_list(),
    }
