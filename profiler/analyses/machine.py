"""The machine and the length of the run, as the profile states them or its hardware table has them."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from nkilab.errors import UsageError
from nkilab.hardware import Hardware, load

from ..profile import Profile

WAIT_OPCODES = ("EVENT_SEMAPHORE",)
"""Instructions that only wait; the vendor's active times leave them out ("excluding semaphore waits")."""


CONTROL_OPCODES = (
    *WAIT_OPCODES, "ACT_TABLE_LOAD", "COMPARE_BRANCH", "DRAIN", "EVENT_SEMAPHORE_RANGE_CLEAR", "NOP", "NOTIFY",
    "SET_ORDERING_MODE", "TENSOR_LOAD", "WRITE",
)  # fmt: skip
"""Instructions that move no tensor data: the vendor's tool gives them no bytes."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Peak rates of what the profile ran on; None where neither the profile nor its target says.

    Attributes:
        cores: physical cores of the logical core (LNC).
        core_flops: peak FLOP/s of one core's TensorE: 2 x rows x columns x clock.
        hbm_bytes_per_s: bandwidth of the HBM stack, shared by the cores of an LNC pair.
        dma_bytes_per_s: bandwidth of one core's DMA engines.
        clock_ghz: the NeuronCore clock in which cycles are counted.
        name: trn1, trn2, trn3, or "" where unknown.
    """

    cores: int
    core_flops: float | None
    hbm_bytes_per_s: float | None
    dma_bytes_per_s: float | None
    clock_ghz: float | None
    name: str

    @property
    def peak_flops(self) -> float | None:
        """Peak FLOP/s of all cores."""
        return None if self.core_flops is None else self.core_flops * self.cores


def machine(p: Profile) -> Machine:
    """The machine of a profile: its Metadata first, then the hardware table of its target or instance type."""
    hw = hardware(p)
    rows = p.fact("tensor_engine_num_rows") or (hw.tensor.rows if hw else None)
    columns = p.fact("tensor_engine_num_cols") or (hw.tensor.columns if hw else None)
    clock = p.fact("tensor_engine_clock_freq") or (hw.tensor.clock_ghz if hw else None)
    return Machine(
        cores=int(p.fact("num_physical_cores") or _cores(p)),
        core_flops=2e9 * rows * columns * clock if rows and columns and clock else None,
        hbm_bytes_per_s=p.fact("hbm_ddr_bandwidth") or (hw.hbm.gbps * 1e9 if hw else None),
        dma_bytes_per_s=p.fact("dma_ddr_bandwidth") or (hw.dma.engines * hw.dma.engine_gbps * 1e9 if hw else None),
        clock_ghz=p.fact("neuroncore_clock_freq") or (hw.scalar.clock_ghz if hw else None),
        name=hw.name if hw else "",
    )


def _cores(p: Profile) -> int:
    """Cores that have instructions; 1 where the profile does not tell them apart."""
    return max(p.table("Instruction")["pcore_idx"].n_unique(), 1) if p.has("Instruction", "pcore_idx") else 1


def hardware(p: Profile) -> Hardware | None:
    """The hardware table of the profile's target or instance type, None where it names neither."""
    facts = p.facts
    name = facts.get("target") or facts.get("instance_type", "").partition(".")[0]
    try:
        return load(name.removesuffix("n").removesuffix("u")) if name else None
    except UsageError:
        return None


def total_ns(p: Profile) -> float | None:
    """Length of the execution, ns: the vendor's `total_time` where there is one, else as the tables say."""
    stated = p.rows("Summary").filter(pl.col("metric") == "total_time")["value"].drop_nulls()
    return float(stated[0]) * 1e9 if len(stated) else table_total_ns(p)


def table_total_ns(p: Profile) -> float | None:
    """Length of the execution without the vendor's summary: Metadata, else the last end of any row."""
    first, last = p.fact("first_hw_timestamp"), p.fact("last_hw_timestamp")
    if last is not None:
        return last - (first or 0.0)
    if (modelled := p.fact("total_ns")) is not None:
        return modelled
    ends = [
        p.table(name)["end_ts"].max() for name in ("Instruction", "DmaPacket", "DmaPacketAggregated") if p.has(name)
    ]
    known = [float(end) for end in ends if isinstance(end, float)]
    return max(known) if known else None


def working(p: Profile) -> pl.DataFrame:
    """Instructions other than waits, with their span, sorted by start."""
    rows = p.rows("Instruction").drop_nulls(["start_ts", "end_ts"])
    return rows.filter(~pl.col("opcode").is_in(WAIT_OPCODES).fill_null(value=False)).sort("start_ts")


def added(values: pl.Series) -> float:
    """Sum of a numeric column; 0 for one without rows."""
    return float(values.sum())
