"""Tables about memory: use over time, each tensor's stay on chip, and the tensors in HBM."""

from __future__ import annotations

import polars as pl

from nkilab.join.columns import HBM, PSUM, SBUF, Joinable, frame


def usage(joined: Joinable, space: int) -> pl.DataFrame:
    """SbufUsage or PsumUsage: bytes in use per partition and their share of a partition, at each change."""
    capacity = (joined.hardware.psum if space == PSUM else joined.hardware.sbuf).partition_bytes
    rows = frame(joined.timing.occupancy, "row").filter(pl.col("space") == space)
    return rows.select(
        timestamp="t",
        avg_util_percent=pl.col("bytes") / capacity,
        used_bytes=pl.col("bytes").cast(pl.Int64),
        pcore_idx=pl.col("core").cast(pl.Int64),
    )


def allocations(joined: Joinable) -> pl.DataFrame:
    """SbufAllocation: each SBUF and PSUM tensor where the clock placed it, from its first write to its last use."""
    chip = joined.accesses().filter(pl.col("space") != HBM)
    first = chip.group_by("tensor").agg(partition=pl.col("p0").min().cast(pl.Int64))
    stays = frame(joined.timing.placements, "row").select(pl.col("tensor").cast(pl.Int64), "start", "end", "address")
    rows = stays.join(first, on="tensor").join(joined.tensors().drop("address"), on="tensor")
    placed = pl.when(pl.col("address") >= 0).then(pl.col("address").cast(pl.Int64))
    return rows.sort("start", "tensor").select(
        "partition",
        start_ts="start",
        end_ts="end",
        start_address=placed,
        end_address=placed + pl.col("bytes").cast(pl.Int64),
        tensor_name="label",
        pcore_idx=pl.col("core").cast(pl.Int64),
        space="space_name",
        partitions=pl.col("partitions").cast(pl.Int64),
    )


def tensors(joined: Joinable) -> pl.DataFrame:
    """TensorInfo: each HBM tensor, and how often its bytes were loaded into SBUF."""
    accesses = joined.accesses()
    to_sbuf = accesses.filter(pl.col("write") & (pl.col("space") == SBUF)).select("trace_row").unique()
    reads = accesses.filter(~pl.col("write") & (pl.col("space") == HBM)).join(to_sbuf, on="trace_row", how="semi")
    loads = reads.group_by("tensor").agg(loaded=pl.col("bytes").sum(), count=pl.col("trace_row").n_unique())
    kinds = pl.Series(list(joined.names["kind"]), dtype=pl.String)
    types = pl.Series(list(joined.names["dtype"]), dtype=pl.String)
    rows = joined.tensors().filter(pl.col("space") == HBM).join(loads, on="tensor", how="left").sort("tensor")
    size = pl.col("bytes").cast(pl.Int64)
    return rows.select(
        variable_name="label",
        type=kinds.gather(rows["kind"].cast(pl.Int64)),
        format=types.gather(rows["dtype"].cast(pl.Int64)),
        size=size,
        pcore_idx=pl.col("core").cast(pl.Int64),
        load_to_sbuf_total_size_bytes=pl.col("loaded").fill_null(0),
        load_to_sbuf_dma_count=pl.col("count").cast(pl.Int64).fill_null(0),
        load_to_sbuf_repeat_factor=pl.col("loaded").fill_null(0) / size,
    )


_USAGE = {"input": "Tensors", "output": "Tensors", "constant": "Weights", "internal": "Scratchpad"}


def hbm(joined: Joinable) -> pl.DataFrame:
    """HbmUsageSummaryByType: bytes of a kernel's HBM tensors by kind, under the vendor's names for device memory."""
    kinds = pl.Series(list(joined.names["kind"]), dtype=pl.String)
    rows = joined.tensors().filter(pl.col("space") == HBM)
    rows = rows.with_columns(usage_type=kinds.gather(rows["kind"].cast(pl.Int64)).replace_strict(_USAGE))
    found = rows.group_by("rank", "core", "usage_type", maintain_order=True).agg(pl.col("bytes").sum())
    return found.select(
        neuron_device_idx=pl.col("rank").cast(pl.Int64),
        neuroncore_idx=pl.col("core").cast(pl.Int64),
        usage_type="usage_type",
        usage_bytes=pl.col("bytes").cast(pl.Int64),
    )
