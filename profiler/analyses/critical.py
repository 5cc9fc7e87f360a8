"""The critical path: from the end of the run back to its start, always over what was waited for last."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..profile import Profile
from .causes import producers

_STEP = {"table": pl.String, "id": pl.Int64, "start_ts": pl.Float64, "end_ts": pl.Float64, "by": pl.String, "opcode": pl.String, "file": pl.String, "line": pl.Int64, "lead_ns": pl.Float64}  # fmt: skip


def critical_path(p: Profile) -> pl.DataFrame:
    """The steps in the order of time: table, id, start_ts, end_ts, by (engine or queue), opcode, file, line, lead_ns.

    A step's predecessor is, of its producers (Flow), of the instruction before it on its engine, and of a transfer's
    issuing instruction, the one that ended last. lead_ns is the time from the predecessor's end to the step's start
    (negative where they overlap in the pipeline). In a simulated run the time before its first row (the first DMA is
    being prepared) and after its last (a DMA's completion is still to be noticed) are steps too: table "Run", opcodes
    "begin" and "completion". Empty without dependences.
    """
    if not p.has("Flow"):
        return pl.DataFrame(schema=_STEP)
    nodes = producers(p).drop_nulls(["start_ts", "end_ts"]).with_row_index("node")
    before = _before(p, nodes)
    chain = _chain(before, int(np.argmax(nodes["end_ts"].to_numpy())))
    found = nodes[chain].sort("start_ts", "end_ts")
    steps = pl.concat([found, _edges(p, found)], how="diagonal").sort("start_ts", "end_ts")
    lead = steps["start_ts"] - steps["end_ts"].shift(1)
    return steps.with_columns(lead_ns=lead).select(*_STEP)


def waited(p: Profile) -> pl.DataFrame:
    """For each instruction the end of what it waited for last in its own run: id, waited_ns; absent where for nothing."""
    nodes = producers(p).drop_nulls(["start_ts", "end_ts"]).with_row_index("node")
    before = _before(p, nodes)
    end = nodes["end_ts"].to_numpy()[before]
    known = nodes.with_columns(waited_ns=pl.Series(end), has=pl.Series(before != np.arange(nodes.height)))
    return known.filter("has", table="Instruction").select("id", "waited_ns")


def _edges(p: Profile, steps: pl.DataFrame) -> pl.DataFrame:
    """What a simulated run's body holds before its first and after its last step."""
    body = p.fact("body_ns")
    if body is None or "first_hw_timestamp" in p.facts:  # measured, or a window of the run
        return pl.DataFrame(schema=_STEP)
    first, last = float(steps["start_ts"][0]), float(steps["end_ts"][-1])
    spans = (("begin", 0.0, first), ("completion", last, body))
    rows = [{"table": "Run", "start_ts": a, "end_ts": b, "by": "DMA", "opcode": name} for name, a, b in spans if b > a]
    return pl.DataFrame(rows, schema=_STEP)


def _before(p: Profile, nodes: pl.DataFrame) -> NDArray[np.int64]:
    """Each node's predecessor, itself where it has none; a predecessor always starts earlier, so chains end."""
    key = nodes.select("table", "id", "node")
    into = key.select(out_table="table", out_id="id", node="node")
    out_of = key.select(in_table="table", in_id="id", source="node")
    flows = (
        p.rows("Flow")
        .join(into, on=["out_table", "out_id"])
        .join(out_of, on=["in_table", "in_id"])
        .select("node", "source")
    )
    pairs = pl.concat([flows, _in_order(p, key), _issued(p, key)])
    times = nodes.select("node", "start_ts", "end_ts")
    sources = times.select(source="node", source_start="start_ts", source_end="end_ts")
    met = pairs.join(times, on="node").join(sources, on="source").filter(pl.col("source_start") < pl.col("start_ts"))
    last = met.select("node", "source", "source_end").sort("source_end", maintain_order=True)
    before = np.arange(nodes.height, dtype=np.int64)
    before[last["node"].to_numpy()] = last["source"].to_numpy()  # of several for one node the last stays
    return before


def _in_order(p: Profile, key: pl.DataFrame) -> pl.DataFrame:
    """Instructions and the one before them on their engine: engines work in order."""
    rows = (
        p.table("Instruction")
        .select("id", "engine", "pcore_idx", "start_ts")
        .join(key.filter(table="Instruction"), on="id")
    )
    ordered = rows.sort("start_ts").with_columns(source=pl.col("node").shift(1).over("pcore_idx", "engine"))
    return ordered.drop_nulls("source").select("node", "source")


def _issued(p: Profile, key: pl.DataFrame) -> pl.DataFrame:
    """Transfers and the instruction that issued them."""
    moved = (
        p.rows("DmaPacketAggregated")
        .select("id", "instruction_id")
        .join(key.filter(table="DmaPacketAggregated"), on="id")
    )
    issuer = key.filter(table="Instruction").select(instruction_id="id", source="node")
    return moved.join(issuer, on="instruction_id").select("node", "source")


def _chain(before: NDArray[np.int64], last: int) -> list[int]:
    """All nodes from `last` back to the start; every step depends on the one before it."""
    earlier, chain = before.tolist(), [last]
    while earlier[chain[-1]] != chain[-1]:
        chain.append(earlier[chain[-1]])
    return chain
