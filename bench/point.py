"""What is asked for and what comes back: plain data that travels between processes and into files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from nkilab.bench.efficiency import Efficiency
from nkilab.bench.gate import SEEDS
from nkilab.bench.statistics import Interval, Rule, Statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a point is measured; the same for all points of a sweep.

    Attributes:
        backend: sim, trn, vendor-sim or torch.
        target: NeuronCore generation; None as for `nkilab.Sim`.
        changes: numbers of the hardware table that differ from the generation's own.
        nki: release of the NKI API for the simulator.
        gated: whether the gate runs; without it a result says so.
        seed, seeds: first seed of the inputs, and how many the gate tries.
        rule: when repetition stops.
        warmup: executions before the first time counts.
        route: of `trn`: neuron-explorer, nrtpy, spike, or auto.
        runner_python: the Python that has the vendor's `nki` (and for its route nrtpy or spike).
        timer_python: the Python of the route, where it is not runner_python: nrtpy and nki exclude each other.
        core: NeuronCore that runs the kernel; lnc: cores of a logical one.
        work: folder for what a device run leaves.
        timeout_s: most seconds for one simulation of the kernel or one vendor command.
        torch: `FILE.py:FUNCTION`, the torch function of the torch backend.
    """

    backend: str = "sim"
    target: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    nki: str = "0.7"
    gated: bool = True
    seed: int = 0
    seeds: int = SEEDS
    rule: Rule = field(default_factory=Rule)
    warmup: int = 2
    route: str = "auto"
    runner_python: str | None = None
    timer_python: str | None = None
    core: int = 0
    lnc: int = 1
    work: str | None = None
    timeout_s: float = 900.0
    torch: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One kernel at one size: the case by file and name, since kernels themselves do not travel.

    Attributes:
        file: the kernel's file, absolute.
        case: the case's name.
        axes, meta: only what differs from the case's own.
        source: hash of the sources; a worker whose files differ refuses. "" does not check.
    """

    file: str
    case: str
    axes: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    @property
    def label(self) -> str:
        """The point as one line."""
        parts = (*(f"{k}={v}" for k, v in self.axes.items()), *(f"{k}={v}" for k, v in self.meta.items()))
        return " ".join((self.case, *parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The result of one point.

    Attributes:
        case, file, source: the kernel, and the hash of its sources.
        axes, meta: all of them, with defaults.
        backend, route, kind: what timed; kind and route are None where nothing was. cores: of a logical core.
        ranks: devices that ran it; times are those of the one that took longest, FLOPs and bytes those of all.
        gated: whether the gate ran; seeds it tried; max_error it saw.
        refused: codes and messages of why there is no time; empty where there is one.
        times_us: every time, in order.
        statistics: of the times.
        stopped: why repetition stopped: deterministic, narrow, limit, no longer narrows.
        body_us, range_us, confidence: of a modelled time.
        efficiency: against the machine's bounds; None for a time that is not of that machine.
        findings: of the simulator's checks.
        facts: what the device's profile says.
        artifacts: files by what they are.
        notes: what a reader should know.
    """

    case: str
    file: str
    source: str
    axes: Mapping[str, Any]
    meta: Mapping[str, Any]
    backend: str
    target: str | None = None
    cores: int = 1
    ranks: int = 1
    route: str | None = None
    kind: str | None = None
    gated: bool = False
    seeds: tuple[int, ...] = ()
    max_error: float | None = None
    refused: tuple[Mapping[str, Any], ...] = ()
    times_us: tuple[float, ...] = ()
    statistics: Statistics | None = None
    stopped: str | None = None
    body_us: float | None = None
    range_us: tuple[float, float] | None = None
    confidence: Mapping[str, float] | None = None
    efficiency: Efficiency | None = None
    findings: tuple[Mapping[str, Any], ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def median_us(self) -> float | None:
        """The time to compare, None where the point was refused or cannot be timed."""
        return None if self.statistics is None else self.statistics.median

    @property
    def label(self) -> str:
        """The point as one line, all axes and meta-parameters named."""
        return Point(file=self.file, case=self.case, axes=self.axes, meta=self.meta).label


def row_to_dict(row: Row) -> dict[str, Any]:
    """A row as nested dicts and lists."""
    return asdict(row)


def row_from_dict(data: Mapping[str, Any]) -> Row:
    """The row that `row_to_dict` made.

    Raises:
        KeyError, TypeError: it is not of that form.
    """
    known = {f.name for f in fields(Row)}
    values = {name: value for name, value in data.items() if name in known}
    for name in ("seeds", "refused", "times_us", "findings", "notes"):
        values[name] = tuple(values.get(name) or ())
    if values.get("range_us") is not None:
        low, high = values["range_us"]
        values["range_us"] = (low, high)
    if (stats := values.get("statistics")) is not None:
        interval = stats["interval"] and Interval(**stats["interval"])
        values["statistics"] = Statistics(**{**stats, "interval": interval, "outliers": tuple(stats["outliers"])})
    if values.get("efficiency") is not None:
        values["efficiency"] = Efficiency(**values["efficiency"])
    return Row(**values)
