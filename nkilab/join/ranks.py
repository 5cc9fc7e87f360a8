"""One rank's part of a trace and its timing, with rows numbered anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nkilab.join.columns import Columns, Joinable


def of_rank(joined: Joinable, rank: int) -> Joinable:
    """The instructions, operands, tensors and times of one rank, with all its cores; sources stay as they are.

    The body ends with the rank's last instruction; confidence and range are those of the whole simulation.
    """
    trace = joined.trace
    rows, row = _kept(trace["instructions"]["rank"] == rank)
    tensors, tensor = _kept(trace["tensors"]["rank"] == rank)
    access = _picked(trace["accesses"], rows[trace["accesses"]["instruction"]])
    met = _picked(trace["collectives"], trace["collectives"]["rank"] == rank)
    columns = {
        **trace,
        "instructions": _picked(trace["instructions"], rows),
        "accesses": {**access, "instruction": row[access["instruction"]], "tensor": tensor[access["tensor"]]},
        "tensors": _picked(trace["tensors"], tensors),
        "collectives": {**met, "instruction": row[met["instruction"]]},
    }
    return replace(joined, trace=columns, timing=_timing(joined.timing, rank, (rows, row), (tensors, tensor)))


Kept = tuple[NDArray[np.bool_], NDArray[np.int64]]
"""Which rows stay, and their new numbers."""


def _kept(mask: NDArray[np.bool_]) -> Kept:
    return mask, np.cumsum(mask) - 1


def _picked(table: Columns, mask: NDArray[Any]) -> dict[str, NDArray[Any]]:
    return {name: column[mask] for name, column in table.items()}


def _timing(timing: Any, rank: int, rows: Kept, tensors: Kept) -> Any:
    instructions, instruction = _kept(rows[0][timing.instructions["trace_row"]])
    transfers, transfer = _kept(rows[0][timing.dma["trace_row"]])
    device = _renumbered(_picked(timing.instructions, instructions), trace_row=rows[1])
    dma = _renumbered(_picked(timing.dma, transfers), trace_row=rows[1], issue=instruction)
    met = _picked(timing.collectives, rows[0][timing.collectives["trace_row"].astype(np.int64)])
    met = _renumbered(met, trace_row=rows[1])
    ends = [table["end"].max() for table in (device, dma, met) if len(table["end"])]
    body = float(max(ends, default=0.0))
    scale = body / timing.body_ns if timing.body_ns else 1.0
    return replace(
        timing,
        instructions=device,
        dma=dma,
        flows=_flows(timing.flows, (instructions, instruction), (transfers, transfer)),
        occupancy=_picked(timing.occupancy, timing.occupancy["rank"] == rank),
        placements=_renumbered(_picked(timing.placements, tensors[0][timing.placements["tensor"]]), tensor=tensors[1]),
        throttle=_picked(timing.throttle, timing.throttle["rank"] == rank),
        collectives=met,
        body_ns=body,
        total_ns=timing.total_ns - timing.body_ns + body,
        range_ns=(timing.range_ns[0] * scale, timing.range_ns[1] * scale),
    )


def _renumbered(table: Mapping[str, NDArray[Any]], **numbers: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """The columns that hold row numbers with their new ones."""
    return {**table, **{name: new[table[name].astype(np.int64)] for name, new in numbers.items()}}


def _flows(flows: Columns, instructions: Kept, transfers: Kept) -> dict[str, NDArray[Any]]:
    """Both ends of a dependence are on one core."""
    side = flows["producer_is_dma"]
    mine = np.where(side, _of(transfers[0], flows["producer"], side), _of(instructions[0], flows["producer"], ~side))
    kept = _picked(flows, mine)
    for name in ("producer", "consumer"):
        side = kept[f"{name}_is_dma"]
        moved = _of(transfers[1], kept[name], side)
        kept[name] = np.where(side, moved, _of(instructions[1], kept[name], ~side))
    return kept


def _of(values: NDArray[Any], rows: NDArray[Any], where: NDArray[np.bool_]) -> NDArray[Any]:
    """`values` at the rows where the mask holds, 0 elsewhere."""
    found = np.zeros(len(rows), values.dtype)
    found[where] = values[rows[where].astype(np.int64)]
    return found
