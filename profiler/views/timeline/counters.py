"""Counter tracks of the timeline: memory in use, DMA in flight and its rate, host CPU and memory."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from ...profile import Profile
from .. import theme


@dataclass(frozen=True, slots=True)
class Counter:
    """One step function of time: `frame` has `t` (ns) and `v` (in `unit`), sorted; `top` is the top of its axis."""

    group: str
    name: str
    unit: str
    shade: int
    frame: pl.DataFrame
    top: float


@dataclass(frozen=True, slots=True)
class _Kind:
    table: str
    column: str
    group: str
    name: str
    unit: str
    shade: str
    top: float | None = None


_DEVICE = (
    _Kind("SbufUsage", "avg_util_percent", "Memory", "SBUF", "fraction", "Vector", 1.0),
    _Kind("PsumUsage", "avg_util_percent", "Memory", "PSUM", "fraction", "Scalar", 1.0),
    _Kind("PendingDma", "value", "DMA", "in flight", "transfers", "DMA"),
    _Kind("DmaUsage", "current_throughput", "DMA", "rate", "bytes/s", "DMA"),
)
_HOST = (
    _Kind("CpuUsage", "util_percent", "Host", "CPU", "%", "Host", 100.0),
    _Kind("HostMemUsage", "used_bytes", "Host", "memory", "bytes", "Host"),
)


def device(profile: Profile) -> list[Counter]:
    """Counters of the device, one per core, in nanoseconds since the start of the execution."""
    return [counter for kind in _DEVICE for counter in _per_core(profile, kind)]


def host(profile: Profile, zero_ns: int) -> list[Counter]:
    """Counters of the host, in nanoseconds after `zero_ns` (unix time); CPUs are averaged."""
    counters = []
    for kind in _HOST:
        if profile.has(kind.table, kind.column):
            table = profile.table(kind.table).select(
                t=(pl.col("timestamp") - zero_ns).cast(pl.Float64), v=pl.col(kind.column).cast(pl.Float64)
            )
            counters.append(_counter(kind, "", table.drop_nulls().group_by("t").agg(pl.col("v").mean())))
    return counters


def _per_core(profile: Profile, kind: _Kind) -> list[Counter]:
    if not profile.has(kind.table, kind.column):
        return []
    table = profile.table(kind.table).select(
        core=pl.col("pcore_idx").fill_null(0), t="timestamp", v=pl.col(kind.column).cast(pl.Float64)
    )
    parts = table.drop_nulls().partition_by("core", as_dict=True, include_key=False)
    return [_counter(kind, f", core {key[0]}", parts[key]) for key in sorted(parts)]


def _counter(kind: _Kind, suffix: str, frame: pl.DataFrame) -> Counter:
    values = frame.sort("t", maintain_order=True).select("t", "v")
    top = kind.top if kind.top is not None else float(values.select(pl.col("v").max()).item() or 1.0)
    return Counter(kind.group, kind.name + suffix, kind.unit, theme.index(kind.shade), values, top)
