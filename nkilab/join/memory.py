"""Tables about memory: use over time, each tensor's stay on chip, and the tensors in HBM."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from nkilab.join.columns import HBM, PSUM, SBUF, Joinable, frame, named
from nkilab.join.operands import LOAD, operands

Floats = npt.NDArray[np.float64]

_PARTITIONS = (0, 32, 64, 96)
"""The partitions whose use the vendor's schema has a column for."""


def usage(joined: Joinable, space: int) -> pl.DataFrame:
    """SbufUsage or PsumUsage at each change: bytes in use per partition, and shares of all, of some partitions, of each bank."""
    capacity = (joined.hardware.psum if space == PSUM else joined.hardware.sbuf).partition_bytes
    rows = frame(joined.timing.occupancy, "row").filter(pl.col("space") == space)
    stays = _stays(joined).filter(pl.col("space") == space)
    shares = _bank_shares(joined, stays) if space == PSUM else _partition_shares(stays, capacity)
    return rows.select(
        timestamp="t",
        avg_util_percent=pl.col("bytes") / capacity,
        used_bytes=pl.col("bytes").cast(pl.Int64),
        pcore_idx=pl.col("core").cast(pl.Int64),
        **{f"{name}_util_percent": _level(rows, stays, share) for name, share in shares.items()},
    )


def _stays(joined: Joinable) -> pl.DataFrame:
    """Where the clock placed each tensor, and when: start, end, address, bytes, partition, partitions, core, space."""
    chip = joined.accesses().filter(pl.col("space") != HBM)
    first = chip.group_by("tensor").agg(partition=pl.col("p0").min().cast(pl.Int64))
    stays = frame(joined.timing.placements, "row").select(
        pl.col("tensor").cast(pl.Int64), "start", "end", "address", size=pl.col("bytes").cast(pl.Int64)
    )
    return stays.join(first, on="tensor").join(joined.tensors().drop("address"), on="tensor")


def _bank_shares(joined: Joinable, stays: pl.DataFrame) -> dict[str, Floats]:
    """The share of each bank of PSUM that each tensor takes."""
    psum = joined.hardware.psum
    low = stays["address"].to_numpy()
    high = np.where(low < 0, low, low + stays["size"].to_numpy())
    return {
        f"bank_{bank}": np.clip(
            np.minimum(high, (bank + 1) * psum.bank_bytes) - np.maximum(low, bank * psum.bank_bytes), 0, None
        )
        / psum.bank_bytes
        for bank in range(psum.banks)
    }


def _partition_shares(stays: pl.DataFrame, capacity: int) -> dict[str, Floats]:
    """The share of some partitions that each tensor takes."""
    first, count, size = (stays[name].to_numpy() for name in ("partition", "partitions", "size"))
    return {f"partition_{p}": np.where((first <= p) & (p < first + count), size, 0) / capacity for p in _PARTITIONS}


def _level(rows: pl.DataFrame, stays: pl.DataFrame, share: Floats) -> pl.Series:
    """The sum of the shares of the tensors that are there at each change, with all that comes and goes at that moment."""
    level = np.zeros(rows.height)
    for core in rows["core"].unique().to_list():
        at, mine = (rows["core"] == core).to_numpy(), (stays["core"] == core).to_numpy()
        for name, sign in (("start", 1.0), ("end", -1.0)):
            times = stays[name].to_numpy()[mine]
            order = np.argsort(times, kind="stable")
            total = np.r_[0.0, np.cumsum(share[mine][order])]
            level[at] += sign * total[np.searchsorted(times[order], rows["t"].to_numpy()[at], "right")]
    return pl.Series(np.maximum(level, 0.0))


def allocations(joined: Joinable) -> pl.DataFrame:
    """SbufAllocation: each SBUF and PSUM tensor where the clock placed it, from its first write to its last use."""
    rows = _stays(joined).join(_made(joined), on="tensor", how="left", maintain_order="left")
    placed = pl.when(pl.col("address") >= 0).then(pl.col("address").cast(pl.Int64))
    return rows.sort("start", "tensor").select(
        "partition",
        "op_source_type",
        "opcode",
        "operands",
        "queue_name",
        start_ts="start",
        end_ts="end",
        start_address=placed,
        end_address=placed + pl.col("size"),
        tensor_name="label",
        pcore_idx=pl.col("core").cast(pl.Int64),
        space="space_name",
        partitions=pl.col("partitions").cast(pl.Int64),
    )


def _made(joined: Joinable) -> pl.DataFrame:
    """What writes each tensor first: `op_source_type`, of an instruction opcode and operands, of a DMA its queue."""
    timing = joined.timing
    device = frame(timing.instructions, "id").select(
        "id", pl.col("trace_row").cast(pl.Int64), opcode=named(timing.instructions["opcode"], timing.names["opcode"])
    )
    works = device.filter(~pl.col("opcode").str.starts_with(LOAD)).unique(
        "trace_row", keep="first", maintain_order=True
    )
    moves = frame(timing.dma, "piece").select(
        pl.col("trace_row").cast(pl.Int64), queue_name=named(timing.dma["queue"], timing.names["queue"])
    )
    rows = joined.accesses().filter(pl.col("write") & (pl.col("space") != HBM)).sort("trace_row")
    rows = rows.unique("tensor", keep="first", maintain_order=True).select("tensor", "trace_row")
    rows = rows.join(works, on="trace_row", how="left").join(
        moves.unique("trace_row", keep="first"), on="trace_row", how="left"
    )
    text = operands(joined, rows.filter(pl.col("queue_name").is_null()))
    rows = rows.join(text, on="trace_row", how="left")
    dma = pl.col("queue_name").is_not_null()
    return rows.select(
        "tensor",
        "queue_name",
        op_source_type=pl.when(dma)
        .then(pl.lit("dma"))
        .when(pl.col("opcode").is_not_null())
        .then(pl.lit("instruction")),
        opcode=pl.when(~dma).then("opcode"),
        operands="operands",
    )


def _in_hbm(joined: Joinable) -> pl.DataFrame:
    """The tensors in HBM, without what stands in the trace for registers."""
    rows, roles = joined.tensors().filter(pl.col("space") == HBM), list(joined.names["role"])
    if "register" not in roles:
        return rows
    return rows.join(joined.accesses().filter(pl.col("role") == roles.index("register")), on="tensor", how="anti")


def tensors(joined: Joinable) -> pl.DataFrame:
    """TensorInfo: each HBM tensor, and how often its bytes were loaded into SBUF."""
    accesses = joined.accesses()
    to_sbuf = accesses.filter(pl.col("write") & (pl.col("space") == SBUF)).select("trace_row").unique()
    reads = accesses.filter(~pl.col("write") & (pl.col("space") == HBM)).join(to_sbuf, on="trace_row", how="semi")
    loads = reads.group_by("tensor").agg(loaded=pl.col("bytes").sum(), count=pl.col("trace_row").n_unique())
    kinds = pl.Series(list(joined.names["kind"]), dtype=pl.String)
    types = pl.Series(list(joined.names["dtype"]), dtype=pl.String)
    rows = _in_hbm(joined).join(loads, on="tensor", how="left").sort("tensor")
    size = pl.col("bytes").cast(pl.Int64)
    shapes = pl.Series(list(joined.names["shape"]), dtype=pl.String)
    return rows.select(
        variable_name="label",
        shape=shapes.str.replace_all(", ", " ").gather(rows["shape"].cast(pl.Int64)),
        type=kinds.gather(rows["kind"].cast(pl.Int64)),
        format=types.gather(rows["dtype"].cast(pl.Int64)),
        size=size,
        pcore_idx=pl.col("core").cast(pl.Int64),
        load_to_sbuf_avg_size_bytes=(pl.col("loaded") // pl.col("count")).cast(pl.Int64),
        load_to_sbuf_total_size_bytes=pl.col("loaded").fill_null(0),
        load_to_sbuf_dma_count=pl.col("count").cast(pl.Int64).fill_null(0),
        load_to_sbuf_repeat_factor=pl.col("loaded").fill_null(0) / size,
    )


_USAGE = {"input": "Tensors", "output": "Tensors", "constant": "Weights", "internal": "Scratchpad"}


def hbm(joined: Joinable) -> pl.DataFrame:
    """HbmUsageSummaryByType: bytes of a kernel's HBM tensors by kind, under the vendor's names for device memory."""
    kinds = pl.Series(list(joined.names["kind"]), dtype=pl.String)
    rows = _in_hbm(joined)
    rows = rows.with_columns(usage_type=kinds.gather(rows["kind"].cast(pl.Int64)).replace_strict(_USAGE))
    found = rows.group_by("rank", "core", "usage_type", maintain_order=True).agg(pl.col("bytes").sum())
    return found.select(
        neuron_device_idx=pl.col("rank").cast(pl.Int64),
        neuroncore_idx=pl.col("core").cast(pl.Int64),
        usage_type="usage_type",
        usage_bytes=pl.col("bytes").cast(pl.Int64),
    )
