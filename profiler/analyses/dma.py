"""`dma`: what the DMA engines moved, in which sizes, how well, and what was loaded more than once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from ..errors import NotInProfileError
from ..profile import Profile
from .base import Answer, Shown
from .intervals import fresh_ns
from .machine import added, hardware, total_ns
from .spills import spills

SMALL_BYTES = 512
"""Below this a packet costs mostly its overhead: 27 ns for 512 bytes against 156 ns for 4 KiB (measured, trn2)."""

_ISSUE = "DMA"
_LARGEST = 1 << 40


@dataclass(frozen=True, slots=True)
class Dma(Answer):
    """DMA of a run.

    Attributes:
        rows: one row per queue: queue, queue_type, packets, bytes, mean_bytes (of a packet), small (share of packets
            below `SMALL_BYTES`), active_ns (union), busy_ns (durations added up over engines), engines (that took part),
            bytes_per_s (bytes / active_ns), efficiency (bytes / busy_ns against one engine's peak; null where unknown).
        sizes: per power of two of the packet's size: up_to_bytes, packets, bytes, mean_ns, bytes_per_s of one engine.
        engines: per DMA engine: engine_idx, packets, bytes, busy_ns, share (busy_ns / total).
        issue: per engine that issues DMA: engine, dmas, mean_interval_ns between its triggers.
        tensors: per tensor: variable, type, size_bytes, loaded_bytes, dmas, reload (loaded / size).
        spilled_bytes: bytes of intermediate tensors saved to HBM and loaded again for want of SBUF;
            null where the profile does not tell.
        named: share of the bytes whose tensor the profile names, 0 to 1.
        duplicates: packets that the source marks as recorded twice; null where it does not mark them.
        total_ns: length of the run, ns; null where unknown.
        simulated: whether times are modelled.
    """

    title: ClassVar[str] = "DMA"
    shown: ClassVar[tuple[Shown, ...]] = (
        Shown("queue", "queue"), Shown("queue_type", "type"), Shown("packets", "packets", "count"), Shown("bytes", "bytes", "bytes"),
        Shown("mean_bytes", "mean", "bytes", "of a packet"), Shown("small", "small", "percent", f"packets below {SMALL_BYTES} bytes"),
        Shown("active_ns", "active us", "us", "time with a packet in flight (union)"), Shown("gb_s", "GB/s", "number", "bytes / active us"),
        Shown("efficiency", "efficiency", "percent", "bytes per busy time of an engine, against one engine's peak"), Shown("engines", "engines", "count"),
    )  # fmt: skip

    rows: pl.DataFrame
    sizes: pl.DataFrame
    engines: pl.DataFrame
    issue: pl.DataFrame
    tensors: pl.DataFrame
    spilled_bytes: float | None
    named: float
    duplicates: int | None
    total_ns: float | None
    simulated: bool

    def printed(self) -> pl.DataFrame:
        """The rows with the rate in GB/s."""
        return self.rows.with_columns(gb_s=(pl.col("bytes_per_s") / 1e9).round(1))

    def remarks(self) -> list[str]:
        """What has a name, what was spilled, what was loaded more than once, and duplicated packets."""
        again = self.tensors.filter(pl.col("reload") > 1.01).head(5).select("variable", "reload").rows()
        words = ", ".join(f"{name} {times:.2f} times" for name, times in again)
        twice = [f"{self.duplicates} packets were recorded twice"] if self.duplicates else []
        spilled = (
            [f"{self.spilled_bytes:,.0f} bytes saved and loaded again for want of SBUF"] if self.spilled_bytes else []
        )
        again_words = [f"loaded more than once: {words}"] if words else []
        return [f"{self.named:.1%} of the bytes have a tensor's name", *again_words, *spilled, *twice]


def dma(p: Profile) -> Dma:
    """Queues, sizes, engines, issue rate, reloads.

    Raises:
        NotInProfileError: the profile has no DMA.
    """
    name = next((name for name in ("DmaPacket", "DmaPacketAggregated") if p.has(name)), "")
    if not name:
        raise NotInProfileError("this profile has no DMA", fix="`doctor` says whether notifications were lost")
    rows, total = p.table(name).sort("start_ts"), total_ns(p)
    hw = hardware(p)
    peak = hw.dma.engine_gbps if hw else None
    duplicates = int(rows["duplicate"].sum()) if p.has(name, "duplicate") else None
    return Dma(
        _queues(rows, peak),
        _sizes(rows),
        _engines(rows, total),
        _issue(p),
        _tensors(p),
        spills(p).size,
        _named(rows),
        duplicates,
        total,
        p.origin.simulated,
    )


def _named(rows: pl.DataFrame) -> float:
    """Share of the bytes of transfers whose tensor is named."""
    moved = added(rows["transfer_bytes"])
    known = rows.filter(~pl.col("variable").is_in(["", "unknown", "Unknown"]))
    return added(known["transfer_bytes"]) / moved if moved else 0.0


def _moved() -> list[pl.Expr]:
    """Packets, bytes and added durations of a group."""
    return [
        pl.len().cast(pl.Int64).alias("packets"),
        pl.col("transfer_bytes").sum().alias("bytes"),
        (pl.col("end_ts") - pl.col("start_ts")).sum().alias("busy_ns"),
    ]


def _queues(rows: pl.DataFrame, peak: float | None) -> pl.DataFrame:
    """One row per queue, most bytes first; queues without a name go by their number."""
    number = pl.format("queue {}", pl.col("queue_idx"))
    shared = pl.col("queue_name").str.replace(r"^(Q\d+)-E\d+$", "$1")
    engine = pl.col("engine_idx") if "engine_idx" in rows.columns else pl.lit(None, pl.Int64)
    named = rows.with_columns(queue=pl.coalesce(shared, number, pl.lit("unknown")), engine=engine)
    keys = ["queue", "queue_type"]
    small = (pl.col("transfer_bytes") < SMALL_BYTES).mean().alias("small")
    sums = named.with_columns(fresh=fresh_ns(keys)).group_by(keys).agg(
        *_moved(), small, active_ns=pl.col("fresh").sum(), engines=pl.col("engine").drop_nulls().n_unique().cast(pl.Int64)
    )  # fmt: skip
    rate = pl.col("bytes") / pl.col("busy_ns")
    return sums.with_columns(
        mean_bytes=pl.col("bytes") / pl.col("packets"),
        bytes_per_s=pl.when(pl.col("active_ns") > 0).then(pl.col("bytes") / pl.col("active_ns") * 1e9),
        efficiency=pl.when(pl.col("busy_ns") > 0).then(rate / peak) if peak else pl.lit(None, pl.Float64),
    ).sort("bytes", "queue", descending=[True, False])


def _sizes(rows: pl.DataFrame) -> pl.DataFrame:
    """Packets by the power of two that holds their size."""
    size = pl.col("transfer_bytes").clip(1, _LARGEST)
    up_to = pl.lit(2, pl.Int64).pow(size.log(2).ceil().cast(pl.Int64)).cast(pl.Int64)
    sums = rows.drop_nulls("transfer_bytes").group_by(up_to_bytes=up_to).agg(*_moved()).sort("up_to_bytes")
    return sums.select(
        "up_to_bytes", "packets", "bytes", mean_ns=pl.col("busy_ns") / pl.col("packets"),
        bytes_per_s=pl.when(pl.col("busy_ns") > 0).then(pl.col("bytes") / pl.col("busy_ns") * 1e9),
    )  # fmt: skip


def _engines(rows: pl.DataFrame, total: float | None) -> pl.DataFrame:
    """One row per DMA engine; none where the source has only transfers."""
    if "engine_idx" not in rows.columns:
        return pl.DataFrame(
            schema={
                "engine_idx": pl.Int64,
                "packets": pl.Int64,
                "bytes": pl.Int64,
                "busy_ns": pl.Float64,
                "share": pl.Float64,
            }
        )
    sums = rows.drop_nulls("engine_idx").group_by("engine_idx").agg(*_moved()).sort("engine_idx")
    return sums.with_columns(share=pl.col("busy_ns") / total if total else pl.lit(None, pl.Float64))


def _issue(p: Profile) -> pl.DataFrame:
    """Engines that issue DMA and how far apart."""
    rows = p.rows("Instruction").filter(pl.col("opcode").str.starts_with(_ISSUE)).sort("start_ts")
    span = pl.col("start_ts").max() - pl.col("start_ts").min()
    return rows.group_by("engine").agg(
        dmas=pl.len().cast(pl.Int64), mean_interval_ns=pl.when(pl.len() > 1).then(span / (pl.len() - 1))
    ).sort("engine")  # fmt: skip


def _tensors(p: Profile) -> pl.DataFrame:
    """Tensors in HBM with what was loaded of them, most reloaded first."""
    schema = {
        "variable": pl.String,
        "type": pl.String,
        "size_bytes": pl.Int64,
        "loaded_bytes": pl.Int64,
        "dmas": pl.Int64,
        "reload": pl.Float64,
    }
    if not p.has("TensorInfo", "load_to_sbuf_total_size_bytes"):
        return pl.DataFrame(schema=schema)
    rows = p.table("TensorInfo").select(
        "type", variable="variable_name", size_bytes="size", loaded_bytes="load_to_sbuf_total_size_bytes", dmas="load_to_sbuf_dma_count",
        reload=pl.coalesce("load_to_sbuf_repeat_factor", pl.col("load_to_sbuf_total_size_bytes") / pl.col("size")),
    )  # fmt: skip
    return rows.select(*schema).sort("reload", "variable", descending=[True, False], nulls_last=True)
