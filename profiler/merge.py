"""One profile of several ranks, so that timeline, report and Perfetto show them on one time axis."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from .fleet import Fleet
from .profile import Origin, Profile

_IDS = {
    "Instruction": {"id": "instruction", "stack_frame_id": "stack", "iteration_variable_id": "iteration"},
    "DmaPacketAggregated": {"id": "transfer", "instruction_id": "instruction"},
    "DmaPacket": {"id": "packet", "packet_aggregation_id": "transfer"},
    "KernelStackFrames": {"stack_frame_id": "stack", "parent_stack_frame_id": "stack"},
    "KernelIterationVariables": {"iteration_variable_id": "iteration", "parent_iteration_variable_id": "iteration"},
}
_TABLES = (
    *_IDS, "ActiveTime", "Flow", "CcOp", "Throttle", "PendingDma", "DmaUsage", "SbufUsage", "PsumUsage", "SbufAllocation", "Finding",
)  # fmt: skip
CORES = "merged_cores"


def merge(fleet: Fleet) -> Profile:
    """All ranks of `fleet` as one profile; physical cores are numbered through, rank after rank.

    Its Metadata holds `merged_cores`, the names of those cores ("rank 3" or "rank 3 core 1", separated by semicolons).
    Summaries are left out, as they belong to one rank each. Times are those of each rank's own execution.
    """
    parts: dict[str, list[pl.DataFrame]] = {}
    names: list[str] = []
    facts: dict[str, str] = {}
    simulated, sources = True, []
    for number, rank in enumerate(fleet.ranks):
        p = fleet[rank]
        for name, rows in _tables(p, number, rank, len(names)).items():
            parts.setdefault(name, []).append(rows)
        names += _core_names(p, rank)
        facts = facts or _shared(p)
        simulated = simulated and p.origin.simulated
        sources.append(p.rows("Source"))
    facts |= {CORES: ";".join(names), "num_physical_cores": str(len(names)), "profile_name": fleet.title or "ranks"}
    tables = {name: pl.concat(rows, how="diagonal_relaxed") for name, rows in parts.items()}
    tables["Source"] = pl.concat(sources).unique("file", keep="first", maintain_order=True)
    tables["Metadata"] = pl.DataFrame({"key": list(facts), "value": list(facts.values())})
    kind = "simulated" if simulated else "folder"
    return Profile.build(
        {name: rows for name, rows in tables.items() if rows.height}, Origin(kind, fleet.title), (f"merged: {fleet}",)
    )


def _core_names(p: Profile, rank: int) -> list[str]:
    """What the cores of one rank are called."""
    cores = _cores(p)
    return [f"rank {rank}"] if cores == 1 else [f"rank {rank} core {core}" for core in range(cores)]


def _cores(p: Profile) -> int:
    """Physical cores of one rank."""
    highest = p.rows("Instruction")["pcore_idx"].max()
    return int(highest) + 1 if isinstance(highest, int) else 1


def _shared(p: Profile) -> dict[str, str]:
    """What the first rank says of the machine, without its own times."""
    own = ("body", "total", "first_hw", "last_hw", "execution")
    return {key: value for key, value in p.facts.items() if not key.startswith(own)}


def _tables(p: Profile, number: int, rank: int, core: int) -> dict[str, pl.DataFrame]:
    """One rank's tables with ids and cores that no other rank has."""
    base = number << 40
    ids = {kind: _numbers(p, table, column, base) for kind, table, column in _KINDS}
    tables = {name: _renumbered(p.table(name), _IDS.get(name, {}), ids) for name in _TABLES if p.has(name)}
    if "Flow" in tables:
        tables["Flow"] = _flows(tables["Flow"], ids)
    if "CcOp" in tables:
        tables["CcOp"] = tables["CcOp"].with_columns(
            operation=pl.format("rank {}: {}", pl.lit(rank), pl.col("operation").fill_null("collective")),
            stream_id=pl.col("stream_id").fill_null(0) + 1000 * rank,
        )
    moved = pl.col("pcore_idx").fill_null(0) + core
    return {
        name: rows.with_columns(pcore_idx=moved) if "pcore_idx" in rows.columns else rows
        for name, rows in tables.items()
    }


_KINDS = (
    ("instruction", "Instruction", "id"),
    ("transfer", "DmaPacketAggregated", "id"),
    ("packet", "DmaPacket", "id"),
    ("stack", "KernelStackFrames", "stack_frame_id"),
    ("iteration", "KernelIterationVariables", "iteration_variable_id"),
)


def _numbers(p: Profile, table: str, column: str, base: int) -> pl.DataFrame:
    """New numbers of the ids of one table: old, new."""
    old = p.rows(table)[column].drop_nulls().unique(maintain_order=True)
    return pl.DataFrame({"old": old, "new": pl.int_range(base, base + old.len(), eager=True)})


def _renumbered(rows: pl.DataFrame, columns: Mapping[str, str], ids: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Rows with new ids; one that its table does not define becomes null."""
    for column, kind in columns.items():
        if column in rows.columns:
            joined = rows.join(ids[kind], left_on=column, right_on="old", how="left", maintain_order="left")
            rows = joined.with_columns(pl.col("new").alias(column)).drop("new")
    return rows


def _flows(rows: pl.DataFrame, ids: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Dependences between renumbered rows; those with an end elsewhere are left out."""
    known = pl.concat([ids[kind].with_columns(kind=pl.lit(kind)) for kind in ("instruction", "transfer")])
    for end in ("in", "out"):
        lower = pl.col(f"{end}_table").str.to_lowercase()
        kind = pl.when(lower.str.starts_with("dma")).then(pl.lit("transfer")).otherwise(lower)
        joined = rows.with_columns(kind=kind).join(known, left_on=[f"{end}_id", "kind"], right_on=["old", "kind"])
        rows = joined.with_columns(pl.col("new").alias(f"{end}_id")).drop("new", "kind")
    return rows
