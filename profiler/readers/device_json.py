"""The vendor's full device JSON (`neuron-profile view --output-format json`), tools 2.2x to SDK 2.33.

One object of tables, each a list of row objects. The names differ from those of the Explorer's Parquet; `_TABLES` is
the mapping. Columns that it does not name are kept under the vendor's name. Facts: format note, section 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl

from ..profile import Origin, Profile
from . import device_json_parts as parts
from .jsontables import frame, outline
from .source import bytes_of, json_start, unreadable
from .wire import malformed

Build = Callable[[pl.DataFrame], pl.DataFrame]

MARKERS = ("instruction", "profile_info", "metadata", "summary", "dma")

_TABLES: Mapping[str, tuple[tuple[str, Build], ...]] = {
    "instruction": (("Instruction", parts.instruction), ("Flow", parts.flow)),
    "dma": (("DmaPacket", parts.dma_packet),),
    "active_time": (("ActiveTime", parts.active_time),),
    "semaphore_update": (("SemaphoreUpdate", parts.on_core),),
    "ham": (("Throttle", parts.on_core),),
    "cc_ops": (("CcOp", parts.cc_op),),
    "pending_dma": (("PendingDma", parts.on_core),),
    "dma_throughput": (("DmaUsage", parts.dma_usage),),
    "instruction_usage": (("SbufUsage", parts.sbuf_usage), ("PsumUsage", parts.psum_usage)),
    "neff_node": (("TensorInfo", parts.tensor_info),),
    "dma_queues_info": (("DmaQueuesInfo", parts.dma_queues),),
    "nc_mem_usage": (("HbmUsageSummaryByType", parts.hbm_usage),),
    "summary": (("Summary", parts.summary),),
    "neff_header": (("NeffHeader", parts.facts),),
    "metadata": (("Metadata", parts.metadata),),
    "profile_info": (("Metadata", parts.metadata),),
    "model_info": (("ModelInfo", parts.as_it_is),),
    "layer_summary": (("LayerSummary", parts.layer_summary),),
    "warnings": (("Warning", parts.as_it_is),),
    "terminology": (("Terminology", parts.facts),),
}
_SILENT = ("summary_groups", "summary_group_order")


def read(path: Path) -> Profile:
    """The profile in a device JSON.

    Raises:
        InputError: not an object of tables, cut short, deeper than JSON of this kind is, or without any table of ours.
    """
    data = bytes_of(path)
    start = json_start(data)
    if start < 0:
        raise unreadable(path, "no JSON object in it")
    tables: dict[str, pl.DataFrame] = {}
    unknown = []
    for span in outline(data, str(path), start):
        if span.name in _TABLES:
            rows = frame(data, str(path), span)
            try:
                _add(tables, span.name, rows)
            except pl.exceptions.PolarsError as error:
                raise malformed(str(path), span.name, span.start, str(error).partition("\n")[0]) from error
        elif span.name not in _SILENT and span.rows.size:
            unknown.append(span.name)
            tables[span.name] = frame(data, str(path), span)
    if not any(name in tables for name in ("Instruction", "DmaPacket", "Summary", "Metadata")):
        if {"trace_event", "trace_events", "system_profile_metadata"} & set(tables):
            raise unreadable(path, "the JSON of a system profile", "open the inspect folder that it was made from")
        raise unreadable(path, "JSON, but none of the tables of a device profile")
    facts = Profile.build({name: tables[name] for name in ("Metadata",) if name in tables}, Origin("device-json")).facts
    origin = Origin("device-json", str(path), facts.get("profiler_version", ""))
    return Profile.build(tables, origin, _notes(tables, unknown))


def _add(tables: dict[str, pl.DataFrame], name: str, rows: pl.DataFrame) -> None:
    """Add what one vendor table becomes; two that become the same one are joined."""
    if rows.is_empty():
        return
    for target, build in _TABLES[name]:
        built = build(rows)
        if built.is_empty():
            continue
        have = tables.get(target)
        tables[target] = built if have is None else pl.concat([have, built], how="diagonal_relaxed")


def _notes(tables: Mapping[str, pl.DataFrame], unknown: list[str]) -> tuple[str, ...]:
    """What a reader of the numbers should know."""
    notes = ["times are whole nanoseconds in this format (the device counts picoseconds)"]
    if "Instruction" not in tables:
        notes.append(
            "no instructions: the NEFF given to the vendor's tool was of another program, or notifications were lost"
        )
    if unknown:
        notes.append("tables kept under the vendor's name: " + ", ".join(sorted(unknown)))
    return tuple(notes)
