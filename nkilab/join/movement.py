"""Tables about data in motion: DMA transfers, their share on each engine, and dependences."""

from __future__ import annotations

import polars as pl

from nkilab.join.columns import COST_CLASSES, HBM, SPACES, Joinable, frame, named
from nkilab.join.operands import boxes

SAVED, RELOADED = 1, 2
"""What the timing says of a transfer that spills."""
_BOXES = [
    f"{way}_{what}"
    for way in ("read", "write")
    for what in ("sbuf_partitions", "num_sbuf_partitions", "shape", "offset")
]
_TABLES = {False: "Instruction", True: "DmaPacketAggregated"}


def tables(joined: Joinable) -> dict[str, pl.DataFrame]:
    """DmaPacketAggregated, DmaPacket and Flow."""
    pieces = _pieces(joined)
    transfers = _transfers(joined, pieces)
    return {
        "DmaPacketAggregated": transfers,
        "DmaPacket": _packets(pieces, transfers),
        "Flow": _flows(joined, pieces, transfers),
    }


def _pieces(joined: Joinable) -> pl.DataFrame:
    """The timing's DMA rows with their transfer's number: the rows of one issue are one transfer."""
    columns = joined.timing.dma
    rows = frame(columns, "piece").with_columns(
        pl.col("trace_row").cast(pl.Int64),
        queue_type=named(columns["queue_type"], joined.timing.names["queue_type"]),
        queue_name=named(columns["queue"], joined.timing.names["queue"]),
    )
    core = pl.Series(joined.trace["instructions"]["core"]).cast(pl.Int64)
    return rows.with_columns(
        transfer=pl.col("issue").rank("dense").cast(pl.Int64) - 1, core=core.gather(rows["trace_row"])
    )


def _transfers(joined: Joinable, pieces: pl.DataFrame) -> pl.DataFrame:
    """DmaPacketAggregated: one row per transfer."""
    whole = pieces.group_by("transfer", maintain_order=True).agg(
        pl.col("trace_row", "issue", "queue", "queue_name", "queue_type", "spill").first(),
        start=pl.col("start").min(),
        end=pl.col("end").max(),
        bytes=pl.col("bytes").sum().cast(pl.Int64),
        packets=pl.col("elements").sum().cast(pl.Int64),
    )
    rows = whole.join(_ends(joined), on="trace_row", how="left", maintain_order="left")
    transpose = 1 << list(joined.names["flag"]).index("dma_transpose")
    duration = pl.col("end") - pl.col("start")
    issue = frame(joined.timing.instructions, "issue").select(
        pl.col("issue"), cost_class=named(joined.timing.instructions["cost_class"], COST_CLASSES)
    )
    rows = rows.with_columns(pl.col("issue").cast(pl.Int64)).join(issue, on="issue", how="left", maintain_order="left")
    rows = rows.join(boxes(joined), on="trace_row", how="left", maintain_order="left")
    whole_row = (pl.len().over("trace_row") == 1) & (pl.col("spill") == 0)
    return rows.select(
        pl.when(whole_row).then(pl.col(_BOXES)),
        id="transfer",
        start_ts="start",
        end_ts="end",
        duration_ns=duration,
        pcore_idx=pl.col("core").cast(pl.Int64),
        queue_idx=pl.col("queue").cast(pl.Int64),
        queue_name="queue_name",
        queue_type="queue_type",
        semaphore_id="queue_name",
        op="api",
        variable="variable",
        read_bytes="bytes",
        write_bytes="bytes",
        transfer_bytes="bytes",
        throughput=pl.when(duration > 0).then(pl.col("bytes") / duration * 1e9),
        source=pl.when(pl.col("spill") == 0)
        .then("source")
        .when(pl.col("spill") == SAVED)
        .then(pl.lit("sbuf"))
        .otherwise(pl.lit("hbm")),
        dest=pl.when(pl.col("spill") == 0)
        .then("dest")
        .when(pl.col("spill") == SAVED)
        .then(pl.lit("hbm"))
        .otherwise(pl.lit("sbuf")),
        is_transpose_mode=(pl.col("flags").cast(pl.Int64) & transpose) != 0,
        instruction_id="issue",
        packets="packets",
        cost_class="cost_class",
    )


def _ends(joined: Joinable) -> pl.DataFrame:
    """Of each NKI instruction: the memory it reads from and writes to, and the HBM tensor's name."""
    columns = joined.trace["instructions"]
    program = frame(columns, "trace_row").select(
        "trace_row", "core", "flags", api=named(columns["api"], joined.names["api"])
    )
    accesses = joined.accesses().with_columns(label=joined.tensors()["label"].gather(joined.accesses()["tensor"]))
    accesses = accesses.with_columns(memory=named(joined.trace["accesses"]["space"], SPACES))
    ends = accesses.group_by("trace_row").agg(
        source=pl.col("memory").filter(~pl.col("write")).first(),
        dest=pl.col("memory").filter(pl.col("write")).first(),
        variable=pl.col("label").filter(pl.col("space") == HBM).first(),
    )
    return program.join(ends, on="trace_row", how="left", maintain_order="left")


def _packets(pieces: pl.DataFrame, transfers: pl.DataFrame) -> pl.DataFrame:
    """DmaPacket: the clock models a transfer's share on each DMA engine, so that is one row here."""
    duration = pl.col("end") - pl.col("start")
    size = pl.col("bytes").cast(pl.Int64)
    return pieces.with_columns(variable=transfers["variable"].gather(pieces["transfer"])).select(
        "variable",
        id="piece",
        start_ts="start",
        end_ts="end",
        duration_ns=duration,
        pcore_idx="core",
        packet_idx=pl.int_range(pl.len(), dtype=pl.Int64).over("transfer"),
        packet_aggregation_id="transfer",
        engine_idx=pl.col("engine").cast(pl.Int64),
        queue_idx=pl.col("queue").cast(pl.Int64),
        queue_name="queue_name",
        queue_type="queue_type",
        read_bytes=size,
        write_bytes=size,
        transfer_bytes=size,
        throughput=pl.when(duration > 0).then(size / duration * 1e9),
        is_cc_dma=pl.lit(value=False),
        duplicate=pl.lit(value=False),
        semaphore_id="queue_name",
    )


def _flows(joined: Joinable, pieces: pl.DataFrame, transfers: pl.DataFrame) -> pl.DataFrame:
    """Flow: from producer (in) to consumer (out), and the gap between; a DMA row stands for its transfer."""
    columns = joined.timing.flows
    rows = frame(columns, "row").with_columns(kind=named(columns["kind"], joined.timing.names["kind"]))
    transfer = pieces["transfer"]

    def end(name: str) -> pl.Expr:
        index = pl.col(name).cast(pl.Int64)
        if transfer.is_empty():
            return index
        piece = pl.when(pl.col(f"{name}_is_dma")).then(index).otherwise(0)
        of_piece = piece.map_batches(transfer.gather, return_dtype=pl.Int64)
        return pl.when(pl.col(f"{name}_is_dma")).then(of_piece).otherwise(index)

    def table(name: str) -> pl.Expr:
        return pl.col(f"{name}_is_dma").replace_strict(_TABLES, return_dtype=pl.String)

    found = rows.select(
        in_id=end("producer"),
        out_id=end("consumer"),
        in_table=table("producer"),
        out_table=table("consumer"),
        dependency_type="kind",
    )
    begins = _gathered("out", frame(joined.timing.instructions, "id")["start"], transfers["start_ts"])
    ends = _gathered("in", frame(joined.timing.instructions, "id")["end"], transfers["end_ts"])
    return found.with_columns(gap_time=begins - ends)


def _gathered(side: str, instructions: pl.Series, transfers: pl.Series) -> pl.Expr:
    """Of each dependence's instruction or transfer on one side its value."""
    moved = pl.col(f"{side}_table") != "Instruction"

    def of(values: pl.Series, where: pl.Expr) -> pl.Expr:
        row = pl.when(where).then(f"{side}_id")
        return row.map_batches(values.gather, return_dtype=pl.Float64)

    return pl.when(moved).then(of(transfers, moved)).otherwise(of(instructions, ~moved))
