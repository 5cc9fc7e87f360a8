"""The small tables of an NTFF: counts, queues and memory of each core."""

from __future__ import annotations

import polars as pl

from ..neff.program import queue_name
from .metadata import Graph
from .rows import CoreRows

_QUEUE_TYPES = {2: "weights"}
_MEMORY = {
    "generic": "Generic", "pe": "Tensor Instructions", "act": "Scalar Instructions", "pool": "GpSimd Instructions",
    "io": "IO", "spill": "DRAM Spill", "weight": "Weights", "profiler buffers": "Profiler Buffers",
    "act table": "Scalar Table", "dve": "Vector Instructions", "sp": "Sync Instructions",
    "shared scratchpad": "Shared Scratchpad", "tensor": "Tensors", "ucode": "Ucode lib", "pool stdio": "GpSimd STDIO",
    "collectives": "Collectives", "scratchpad": "Scratchpad", "xt cc": "XT CC (unused)",
    "dma rings runtime": "DMA Rings Runtime", "dma rings spill": "DMA Rings Spill", "dma rings io": "DMA Rings IO",
    "dma rings collectives": "DMA Rings Collectives",
}  # fmt: skip


def model(graph: Graph, core: CoreRows, clock_ghz: float | None) -> pl.DataFrame:
    """ModelInfo of one core.

    Its cycles are counted to the end of the last instruction; what was traced is events, instructions and packets. Both
    were found by comparison with the vendor's table on eight cores of four runs.
    """
    ran, packets = core.tables["Instruction"], core.tables["DmaPacket"]
    end_ps = round(float(ran["end_ts"].to_numpy().max(initial=0)) * 1000)
    cycles = int(end_ps * round(clock_ghz * 10) // 10_000) if clock_ghz and end_ps else None
    columns = {
        "sg_name": graph.name,
        "nc_idx": graph.nc,
        "neuroncore_cycle_count": cycles,
        "event_count": core.events,
        "trace_count": core.events + ran.height + packets.height,
        "dma_queue_count": len(graph.queues),
    }
    types = {name: pl.String if name == "sg_name" else pl.Int64 for name in columns}
    return pl.DataFrame({name: [value] for name, value in columns.items()}, types)


def queues(graph: Graph) -> pl.DataFrame:
    """DmaQueuesInfo: one row per queue name, with its last engine, as the vendor's table has it."""
    last = {queue.name: queue for queue in graph.queues}
    rows = [
        (
            queue_name(q.name),
            _QUEUE_TYPES.get(q.type),
            graph.core,
            q.index,
            q.engine,
            q.channel if q.channel >= 0 else None,
        )
        for q in last.values()
    ]
    schema = {
        "name": pl.String, "type": pl.String, "pcore_idx": pl.Int64, "idx": pl.Int64, "engine_idx": pl.Int64,
        "dram_channel": pl.Int64,
    }  # fmt: skip
    return pl.DataFrame(rows, schema, orient="row")


def memory(graph: Graph) -> pl.DataFrame:
    """HbmUsageSummaryByType of one core, with the vendor's names and its total."""
    rows = [(graph.nc, _MEMORY.get(name, name), size) for _, size, name in graph.memory if name]
    rows += [(graph.nc, "Total", sum(size for *_, size in rows))] if rows else []
    return pl.DataFrame(
        rows, {"neuroncore_idx": pl.Int64, "usage_type": pl.String, "usage_bytes": pl.Int64}, orient="row"
    )
