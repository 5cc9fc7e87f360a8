"""Whole launches against the clock: matmuls by their latency, replayed profiles engine by engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import nkilab
from nkilab import clock, hardware
from nkilab.arrays import Array
from nkilab.kernels import matmul
from nkilab.simulator import Sim, execute

from . import accuracy_attention
from .accuracy_points import Residual, rows

ENGINES = ("tensor", "vector", "scalar", "gpsimd", "sync")


@dataclass(frozen=True, slots=True)
class Matmul:
    """One of the measured matmuls: its latency, the modelled range, the modelled and the known measured HBM bytes."""

    latency: Residual
    low_us: float
    high_us: float
    bytes: int
    measured_bytes: float | None


@dataclass(frozen=True, slots=True)
class Launch:
    """One replayed launch: its body and the range of that, the active time of each engine, and counts that must agree."""

    name: str
    body: Residual
    low_ns: float
    high_ns: float
    engines: tuple[Residual, ...]
    matmuls: tuple[int, int]
    hbm_bytes: tuple[int, int]


def timing_of(
    kernel: Callable[..., object],
    arguments: tuple[Array, ...],
    table: hardware.Hardware,
    policy: hardware.Policy | None = None,
) -> clock.Timing:
    """Time a kernel on a table, without its values."""
    sim = Sim(target=table.name, values=False, on_finding="collect")
    trace = execute(kernel, arguments, {}, sim).trace
    return clock.time(trace.columns(), trace.names, table, policy)


def matmuls(largest: bool = True, policy: hardware.Policy | None = None) -> list[Matmul]:
    """The measured matmuls; without `largest` those whose traces are below 100 000 instructions."""
    found = []
    for row in rows("matmuls.csv"):
        m, k, n = (int(row[axis]) for axis in "mkn")
        if not largest and m * k * n > 1 << 34:
            continue
        dtype = nkilab.dtype(row["dtype"])
        given = np.zeros((k, m), dtype), np.zeros((k, n), dtype)
        timing = timing_of(getattr(matmul, f"matmul_{row['step']}"), given, hardware.load(row["target"]), policy)
        name = f"{row['target']} {row['dtype']} {m} x {k} x {n} {row['step'].replace('_', ' ')}"
        outside = timing.total_ns - timing.body_ns
        latency = Residual(name, "total", float(row["total_us"]), timing.total_ns / 1e3, "us")
        low, high = ((value + outside) / 1e3 for value in timing.range_ns)
        known = float(row["hbm_gb"]) * 1e9 if row["hbm_gb"] else None
        found.append(Matmul(latency, low, high, int(timing.dma["bytes"].sum()), known))
    return found


def launches(phase: bool = False) -> list[Launch]:
    """The replayed launches; with `phase` the throttle's grid lies as it did in each launch, else as in the table."""
    found = []
    for row in rows("launches.csv"):
        kernel = getattr(accuracy_attention, row["kernel"])
        given = tuple(np.zeros((128, int(row["sequence"])), nkilab.dtype(row["dtype"])) for _ in range(3))
        table = hardware.load("trn2")
        table = table.replace(**{"throttle.phase_ns": float(row["phase_ns"])}) if phase else table
        found.append(_launch(row, timing_of(kernel, given, table)))
    return found


def _launch(row: dict[str, str], timing: clock.Timing) -> Launch:
    name = row["launch"]
    active = [
        Residual(name, engine, float(row[f"{engine}_ns"]), active_ns(timing, code))
        for code, engine in enumerate(ENGINES)
    ]
    opcodes = np.array(timing.names["opcode"])[timing.instructions["opcode"]]
    return Launch(
        name=name,
        body=Residual(name, "body", float(row["body_ns"]), timing.body_ns),
        low_ns=timing.range_ns[0],
        high_ns=timing.range_ns[1],
        engines=tuple(active),
        matmuls=(int(row["matmuls"]), int((opcodes == "MATMUL").sum())),
        hbm_bytes=(int(row["hbm_bytes"]), int(timing.dma["bytes"].sum())),
    )


def active_ns(timing: clock.Timing, engine: int) -> float:
    """Time in which at least one instruction of an engine runs, as the vendor's summary counts it."""
    mine = timing.instructions["engine"] == engine
    order = np.argsort(timing.instructions["start"][mine], kind="stable")
    start, end = (timing.instructions[name][mine][order] for name in ("start", "end"))
    if not len(start):
        return 0.0
    reach = np.maximum.accumulate(end)
    begins = np.r_[True, start[1:] > reach[:-1]]
    last = np.r_[np.flatnonzero(begins)[1:] - 1, len(start) - 1]
    return float((reach[last] - start[begins]).sum())
