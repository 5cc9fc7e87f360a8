"""What is drawn of a profile: spans of every table, counters, dependences, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from ...profile import Profile
from . import counters, spans
from .counters import Counter
from .spans import Spans

MOST_PACKETS = 600_000
_HOST_ONLY = "Nothing of the device in this profile: host and runtime events only."


@dataclass(frozen=True, slots=True)
class Drawn:
    """The drawable parts of a profile.

    Attributes:
        spans: per table, those with rows; their rows are numbered through in this order.
        counters: step functions of time.
        notes: what is missing or left out, one sentence each.
    """

    spans: tuple[Spans, ...]
    counters: tuple[Counter, ...]
    notes: tuple[str, ...]


def gather(profile: Profile, most_packets: int = MOST_PACKETS) -> Drawn:
    """Spans and counters of the device; of the host where the profile has nothing of the device.

    Device and host have clocks of their own, so they are never drawn on one axis.

    Args:
        profile: a simulated or measured profile.
        most_packets: with more DMA packets than this they are left out, and a note says so.
    """
    device = _device(profile, most_packets)
    zero = _host_zero(profile)
    if not device and zero is not None:
        events = spans.host(profile, zero)
        return Drawn((events,) if events.frame.height else (), tuple(counters.host(profile, zero)), (_HOST_ONLY,))
    notes = _missing(profile, most_packets)
    if zero is not None:
        notes.append("Host events are on another clock than the device's and are not drawn here.")
    return Drawn(device, tuple(counters.device(profile)), tuple(notes))


def _device(profile: Profile, most_packets: int) -> tuple[Spans, ...]:
    executed = spans.instructions(profile)
    issuers = executed.frame.select("key", "file", "line", "function")
    parts = [executed, spans.transfers(profile, issuers), spans.collectives(profile), spans.throttles(profile)]
    if profile.rows("DmaPacket").height <= most_packets:
        parts.append(spans.packets(profile))
    return tuple(part for part in parts if part.frame.height)


def _missing(profile: Profile, most_packets: int) -> list[str]:
    """What a reader would look for and this profile does not hold, said in one sentence each."""
    rules = (
        (("Instruction",), "No instructions in this profile: engine tracks are absent."),
        (("Instruction", "line"), "No source lines in this profile: nothing links instructions to a kernel's lines."),
        (("Flow",), "No dependences between instructions in this profile: no arrows."),
        (
            ("DmaPacketAggregated",),
            "DMA packets are not grouped into transfers in this profile: tracks per DMA engine, none per queue."
            if profile.has("DmaPacket")
            else "No DMA transfers in this profile: their tracks are absent.",
        ),
    )
    notes = [sentence for need, sentence in rules if not profile.has(*need)]
    packets = profile.rows("DmaPacket").height
    if packets > most_packets:
        notes.append(f"{packets:,} DMA packets are more than the timeline draws: no tracks per DMA engine.")
    return notes


def _host_zero(profile: Profile) -> int | None:
    """Unix time in ns of the first host event or sample, None if there is none."""
    columns = (("SystemProfileEvents", "start_ts"), ("CpuUsage", "timestamp"), ("HostMemUsage", "timestamp"))
    starts = [profile.table(table)[column].min() for table, column in columns if profile.has(table, column)]
    return min((start for start in starts if isinstance(start, int)), default=None)


def dependences(profile: Profile, parts: tuple[Spans, ...]) -> pl.DataFrame:
    """The Flow rows whose two ends are drawn, sorted by the one that waits.

    Returns:
        Flow with in_row (producer) and out_row (consumer): rows over all of `parts`, numbered through.
    """
    flows = profile.rows("Flow").with_columns(in_family=_family("in_table"), out_family=_family("out_table"))
    table = _rows_by_key(parts)
    for end in ("in", "out"):
        known = table.rename({"key": f"{end}_id", "family": f"{end}_family", "row": f"{end}_row"})
        flows = flows.join(known, on=[f"{end}_id", f"{end}_family"], how="inner")
    return flows.sort("out_row", "in_row")


def _rows_by_key(parts: tuple[Spans, ...]) -> pl.DataFrame:
    """Row of each drawn span by family of tables and id."""
    known = [pl.DataFrame(schema={"key": pl.Int64, "family": pl.String, "row": pl.Int64})]
    first = 0
    for part in parts:
        rows = pl.Series("row", np.arange(first, first + part.frame.height), dtype=pl.Int64)
        family = "dma" if part.table == "DmaPacketAggregated" else part.table.lower()
        known.append(part.frame.select("key", family=pl.lit(family)).with_columns(rows).drop_nulls("key"))
        first += part.frame.height
    return pl.concat(known).unique(["key", "family"], keep="first", maintain_order=True)


def _family(column: str) -> pl.Expr:
    """Which spans a flow's table names: the vendor writes `instruction` and `dma_block`, nkilab its table names."""
    name = pl.col(column).str.to_lowercase()
    return pl.when(name.str.starts_with("dma")).then(pl.lit("dma")).otherwise(name)
