"""What a gap on an engine waited for: dependences where they are known, else the semaphores in the operands."""

from __future__ import annotations

import polars as pl

from ..profile import Profile
from ..schema import ENGINES
from .machine import WAIT_OPCODES

DISPATCH_NS = 60.0
"""Gaps up to this long are the hand-over between instructions: 34 ns on one engine, up to 58 ns across engines, measured on trn2."""

ISSUE_NS = 1300.0
"""A DMA trigger this soon after another instruction was being prepared: one DMA every 580 ns, 1 230 ns with its address in a
register, measured on trn2; the trigger's own row shows only its last part."""

_WAITED = r"S\[\d+\] \(([^)]+)\)\s*(?:>=|==|>)"
_BARRIER = r"\$S\[\d+\]\s*(?:>=|==|>)"


def blamed(p: Profile, gaps: pl.DataFrame) -> pl.DataFrame:
    """`gaps` (id, start_ts, end_ts, operands, cause or null) with cause, by, cause_file and cause_line.

    In this order: the producer of a dependence that ended last, if it ended inside the gap; the semaphore that the
    longest wait in the gap, or the instruction itself, names; preparing a DMA; the hand-over, if the gap is short; of a
    DMA trigger, its own queue, if a transfer that the same engine had issued ended inside the gap (the ring was full);
    unknown.
    """
    rows = gaps.join(_producers(p, gaps), on="id", how="left").join(_waits(p, gaps), on="id", how="left")
    rows = rows.join(_full_rings(p, gaps), on="id", how="left")
    name = pl.coalesce("waited", pl.col("operands").str.extract(_WAITED))
    barrier = pl.col("barrier").fill_null(value=False)
    cause = (
        pl.when(pl.col("cause").is_not_null()).then("cause")
        .when(pl.col("producer").is_not_null()).then(pl.when(pl.col("by_dma")).then(pl.lit("dma")).otherwise(pl.lit("dependence")))
        .when(name.is_in(ENGINES)).then(pl.lit("semaphore"))
        .when(name.is_not_null()).then(pl.lit("dma"))
        .when(barrier).then(pl.lit("barrier"))
        .when(pl.col("opcode").str.starts_with("DMA") & (pl.col("gap_ns") <= ISSUE_NS)).then(pl.lit("issue"))
        .when(pl.col("gap_ns") <= DISPATCH_NS).then(pl.lit("dispatch"))
        .when(pl.col("ring").is_not_null()).then(pl.lit("dma"))
        .otherwise(pl.lit("unknown"))
    )  # fmt: skip
    by = pl.coalesce("producer", name, pl.when(cause == "dma").then("ring"))
    return rows.with_columns(cause=cause, by=by).drop("producer", "by_dma", "waited", "barrier", "operands", "ring")


def producers(p: Profile) -> pl.DataFrame:
    """Everything that others may depend on: table, id, start_ts, end_ts, by (engine or queue), file, line, opcode, issuer.

    The issuer of an instruction is itself, of a transfer the instruction that triggered it (an id).
    """
    own = ["id", "start_ts", "end_ts"]
    instructions = p.rows("Instruction").select(
        *own, "file", "line", by="engine", table=pl.lit("Instruction"), opcode="opcode", issuer="id"
    )
    lines = instructions.select(pl.col("id").alias("instruction_id"), "file", "line").unique("instruction_id")
    moved = p.rows("DmaPacketAggregated").join(lines, on="instruction_id", how="left")
    transfers = moved.select(
        *own,
        "file",
        "line",
        by=pl.coalesce("queue_name", pl.lit("DMA")),
        table=pl.lit("DmaPacketAggregated"),
        opcode=pl.coalesce("op", pl.lit("DMA")),
        issuer="instruction_id",
    )
    return pl.concat([instructions, transfers])


def _producers(p: Profile, gaps: pl.DataFrame) -> pl.DataFrame:
    """For each gap the producer that ended last, if it ended inside the gap."""
    of = producers(p).select(
        in_table="table",
        in_id="id",
        done="end_ts",
        producer="by",
        cause_file="file",
        cause_line="line",
        cause_id="issuer",
    )
    flows = _into_instructions(p)
    met = flows.join(gaps.select("id", "start_ts", "end_ts"), on="id").join(of, on=["in_table", "in_id"])
    inside = met.filter((pl.col("done") > pl.col("start_ts")) & (pl.col("done") <= pl.col("end_ts")))
    last = inside.sort("done").unique("id", keep="last", maintain_order=True)
    return last.select(
        "id", "producer", "cause_file", "cause_line", "cause_id", by_dma=pl.col("in_table") != "Instruction"
    )


def _into_instructions(p: Profile) -> pl.DataFrame:
    """Dependences of instructions: in_table, in_id, id. A trigger waits for what its transfer needs."""
    flows = p.rows("Flow").select("in_table", "in_id", "out_table", "out_id")
    own = flows.filter(pl.col("out_table") == "Instruction").select("in_table", "in_id", id="out_id")
    issued = p.rows("DmaPacketAggregated").select(out_id="id", id="instruction_id").drop_nulls()
    moved = flows.filter(pl.col("out_table") != "Instruction").join(issued, on="out_id")
    return pl.concat([own, moved.select("in_table", "in_id", "id")])


def _full_rings(p: Profile, gaps: pl.DataFrame) -> pl.DataFrame:
    """For each gap in front of a DMA trigger the queue of a transfer of the same engine that ended inside the gap."""
    issuers = p.rows("Instruction").select("engine", instruction_id="id").unique("instruction_id")
    core = pl.col("pcore_idx").fill_null(0)
    moved = p.rows("DmaPacketAggregated").join(issuers, on="instruction_id")
    ended = moved.select(core, "engine", done="end_ts", ring=pl.coalesce("queue_name", pl.lit("DMA"))).sort("done")
    triggers = gaps.filter(pl.col("opcode").str.starts_with("DMA")).with_columns(core).sort("end_ts")
    met = triggers.join_asof(
        ended,
        left_on="end_ts",
        right_on="done",
        by=["pcore_idx", "engine"],
        strategy="backward",
        check_sortedness=False,
    )
    return met.filter(pl.col("done") > pl.col("start_ts")).select("id", "ring").unique("id", keep="first")


def _waits(p: Profile, gaps: pl.DataFrame) -> pl.DataFrame:
    """For each gap the semaphore of the longest wait instruction that lies in it."""
    waits = (
        p.rows("Instruction")
        .filter(pl.col("opcode").is_in(WAIT_OPCODES))
        .with_columns(pl.col("pcore_idx").fill_null(0))
    )
    rows = waits.select(
        "pcore_idx", "engine", "operands", at="start_ts", length=pl.col("end_ts") - pl.col("start_ts")
    ).sort("at")
    ends = gaps.select("pcore_idx", "engine", "id", at="end_ts", since="start_ts").sort("at")
    met = rows.join_asof(
        ends, on="at", by=["pcore_idx", "engine"], strategy="forward", check_sortedness=False
    ).drop_nulls("id")
    inside = met.filter(pl.col("at") >= pl.col("since"))
    named = inside.with_columns(
        waited=pl.col("operands").str.extract(_WAITED), barrier=pl.col("operands").str.contains(_BARRIER)
    )
    return named.sort("length").unique("id", keep="last", maintain_order=True).select("id", "waited", "barrier")
