"""Joins the simulator's trace and the clock's times into the tables of a profile; nothing is computed anew here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from nkilab.join import activity, collectives, instructions, memory, movement, source, throttle, waits
from nkilab.join.columns import Joinable
from nkilab.join.ranks import of_rank

__all__ = ["Joinable", "of_rank", "tables"]


def tables(joined: Joinable, facts: Mapping[str, Any], findings: tuple[Any, ...]) -> dict[str, pl.DataFrame]:
    """Every table of `nkilab.profiler.schema` that a simulation can fill.

    Args:
        joined: columns of the trace and of the timing.
        facts: what the Metadata table says about the run.
        findings: what the simulator's checks found.
    """
    metadata = pl.DataFrame({"key": list(facts), "value": [str(value) for value in facts.values()]})
    sometimes = {
        "CcOp": collectives.table(joined),
        "CoreBarriers": collectives.barriers(joined),
        "Throttle": throttle.table(joined),
    }
    rows, moved = instructions.table(joined), movement.tables(joined)
    return {
        **{name: table for name, table in sometimes.items() if table is not None},
        "Instruction": rows,
        **moved,
        "SemaphoreUpdate": waits.updates(joined, moved["DmaPacketAggregated"]),
        **activity.tables(rows, moved["DmaPacketAggregated"], moved["DmaPacket"]),
        "SbufUsage": memory.usage(joined, space=1),
        "PsumUsage": memory.usage(joined, space=2),
        "SbufAllocation": memory.allocations(joined),
        "TensorInfo": memory.tensors(joined),
        "HbmUsageSummaryByType": memory.hbm(joined),
        "ExecutionInfo": activity.execution(joined.timing.body_ns),
        "KernelStackFrames": source.stack_frames(joined),
        "KernelIterationVariables": source.iteration_variables(joined),
        "Source": source.files(joined.names["file"]),
        "Finding": source.findings(findings),
        "CostClass": instructions.cost_classes(joined),
        "Metadata": metadata,
        "Warning": source.warnings(joined),
    }
