"""A short battery on every NeuronCore of an instance: does each part work, and as fast as its neighbours and the table say?"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nkilab import clock
from nkilab.bench import vendor
from nkilab.bench.choose import backend_of, hardware_of
from nkilab.bench.point import Settings
from nkilab.bench.probe_cases import BATTERY
from nkilab.bench.trn_backend import Compiled, TrnBackend
from nkilab.case import Case
from nkilab.case import compare as compare_values
from nkilab.errors import InputError, UsageError
from nkilab.hardware import Hardware

RUNS = 3
COLLECTIVE = "allr"
COLLECTIVE_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Core:
    """One physical NeuronCore: its number for NEURON_RT_VISIBLE_CORES, and the Neuron device that it is on."""

    number: int
    device: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What counts as slow: `slack` slower than the median of the cores, or `over` times what the table expects."""

    slack: float = 0.10
    over: float = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One part of one core, or a collective between the cores of a device (core None) or of all (device None too).

    Attributes:
        value: measured: microseconds, or GB/s of the bus for a collective; None where it failed.
        expected: the clock's time for the same kernel, or the bus rate that its links give a collective.
        guessed: whether `expected` rests on a number that the hardware table only guesses: it is shown, and refuses nothing.
        neighbours: median of all cores' values; None where fewer than two ran.
        verdict: `ok`, `slow` (against neighbours), `below-table`, `wrong-values` or `failed`; message: why.
    """

    probe: str
    device: int | None
    core: int | None
    unit: str
    value: float | None
    expected: float | None = None
    guessed: bool = False
    neighbours: float | None = None
    verdict: str = "ok"
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Every check, and the devices and cores that should not get work."""

    checks: tuple[Check, ...]
    cores: tuple[Core, ...]

    @property
    def bad(self) -> tuple[Check, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if check.verdict != "ok")


def preflight(
    settings: Settings,
    limits: Limits,
    *,
    collectives: bool = True,
    done: Callable[[str], None] = lambda _what: None,
) -> Report:
    """Run the battery on every core, one after the other, then the collectives.

    Raises:
        VendorError: the devices cannot be listed.
        UsageError: there are none, or nothing here can time them.
    """
    with tempfile.TemporaryDirectory(prefix="nkilab-preflight-") as temporary:
        work = Path(settings.work or temporary)
        work.mkdir(parents=True, exist_ok=True)
        asked = replace(settings, backend="trn", work=str(work), lnc=1)
        cores = list_cores(work, asked.timeout_s)
        checks: list[Check] = []
        hung: set[int] = set()
        for name, case in BATTERY.items():
            checks += judged(_probed(name, case, cores, asked, hung, done), limits)
        if collectives:
            checks += judged(_collectives(cores, work, asked, done), limits)
    return Report(checks=tuple(checks), cores=tuple(cores))


def list_cores(folder: Path, timeout_s: float) -> list[Core]:
    """The physical cores that neuron-ls lists, in order.

    Raises:
        VendorError: neuron-ls fails. InputError: its answer is not as documented. UsageError: there are no devices.
    """
    text = vendor.run(vendor.devices_command(folder), timeout_s)
    cores = []
    try:
        for row in json.loads(text):
            # Listed are logical cores; with LNC 2 each is two physical ones, and the probes run on single ones.
            per_device = int(row["nc_count"]) * int(row.get("logical_neuroncore_config", 1))
            device = int(row["neuron_device"])
            first = (
                min(row.get("neuroncore_ids") or [device * int(row["nc_count"])]) * per_device // int(row["nc_count"])
            )
            cores += [Core(first + n, device) for n in range(per_device)]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"neuron-ls -j gave something else than its guide says: {error}") from error
    if not cores:
        raise UsageError("neuron-ls lists no Neuron device")
    return sorted(cores, key=lambda core: core.number)


def _probed(
    name: str, case: Case, cores: Sequence[Core], settings: Settings, hung: set[int], done: Callable[[str], None]
) -> list[Check]:
    """One probe on every core; compiled on the first core on which that works. A core that hung once is not waited for again."""
    inputs = case.arguments(settings.seed)
    modelled = backend_of(replace(settings, backend="sim"), case).time(case, inputs, 1).times_us[0]
    wanted = case.expected(inputs)
    compiled: Compiled | None = None
    checks = []
    for core in cores:
        done(f"{name} on core {core.number}")
        backend = TrnBackend(replace(settings, core=core.number), compiled, save_outputs=True)
        check = Check(probe=name, device=core.device, core=core.number, unit="us", value=None, expected=modelled)
        if core.number in hung:
            checks.append(replace(check, verdict="failed", message="not tried: the core did not answer before"))
            continue
        try:
            times = backend.time(case, inputs, RUNS)
        except vendor.VendorError as error:
            hung |= {core.number} if isinstance(error, vendor.VendorTimeoutError) else set()
            checks.append(replace(check, verdict="failed", message=error.what))
            continue
        compiled = backend.compiled
        verdict = compare_values(case, times.outputs, wanted)
        median = float(np.median(times.times_us))
        if verdict.passed:
            checks.append(replace(check, value=median))
        else:
            checks.append(replace(check, value=median, verdict="wrong-values", message=verdict.message))
    return checks


def _collectives(cores: Sequence[Core], work: Path, settings: Settings, done: Callable[[str], None]) -> list[Check]:
    """An all-reduce between the cores of each device, and between all where there are several devices."""
    devices = sorted({core.device for core in cores})
    groups: list[tuple[int | None, list[Core]]] = [(d, [c for c in cores if c.device == d]) for d in devices]
    if len(devices) > 1:
        groups.append((None, list(cores)))
    checks = []
    for device, members in groups:
        if len(members) < 2:
            continue
        done(f"{COLLECTIVE} on {'all devices' if device is None else f'device {device}'}")
        checks.append(_collective(device, members, work, settings))
    return checks


def _collective(device: int | None, members: Sequence[Core], work: Path, settings: Settings) -> Check:
    name = COLLECTIVE if device is not None else f"{COLLECTIVE} between devices"
    machine = hardware_of(settings)
    check = Check(
        probe=name,
        device=device,
        core=None,
        unit="GB/s",
        value=None,
        expected=_bus_rate([core.number for core in members], settings.lnc, machine),
        guessed=machine.source("links.hop_ns").cls == "guessed",
    )
    folder = Path(tempfile.mkdtemp(prefix="collective-", dir=work))
    numbers = [core.number for core in members]
    try:
        vendor.run(vendor.collectives_command(folder, numbers, COLLECTIVE, COLLECTIVE_BYTES), settings.timeout_s)
        report: Mapping[str, Any] = json.loads((folder / vendor.COLLECTIVES_REPORT).read_text(encoding="utf-8"))
        return replace(check, value=float(report["results"][0]["busbw(GB/s)"]))
    except vendor.VendorError as error:
        return replace(check, verdict="failed", message=error.what)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        return replace(check, verdict="failed", message=f"the report is not as its guide says: {error}")


def _bus_rate(ranks: Sequence[int], cores: int, machine: Hardware) -> float:
    """GB/s of the bus that the table's links give an all-reduce, as nccom-test counts them: 2 (n - 1) / n of the bytes."""
    time_ns = clock.collective("all_reduce", ranks, COLLECTIVE_BYTES, cores, machine).ns
    return 2 * (len(ranks) - 1) / len(ranks) * COLLECTIVE_BYTES / time_ns


def judged(checks: Sequence[Check], limits: Limits) -> list[Check]:
    """The checks of one probe with what their neighbours say; what has failed keeps its verdict."""
    result = []
    for check in checks:
        peers = [c.value for c in checks if c.value is not None and c.probe == check.probe]
        median = float(np.median(peers)) if len(peers) > 1 else None
        told = replace(check, neighbours=median)
        result.append(told if check.verdict != "ok" or check.value is None else _against(told, check.value, limits))
    return result


def _against(check: Check, value: float, limits: Limits) -> Check:
    """One check against its neighbours and the table; more is worse for times, better for rates."""
    rate = check.unit == "GB/s"
    if check.neighbours is not None:
        behind = check.neighbours / value if rate else value / check.neighbours
        if behind > 1 + limits.slack:
            return replace(check, verdict="slow", message=f"{behind:.2f} times as long as the median of its neighbours")
    if check.expected is not None and not check.guessed:
        ratio = check.expected / value if rate else value / check.expected
        if ratio > limits.over:
            said = f"{ratio:.2f} times as long as the hardware table expects"
            return replace(check, verdict="below-table", message=said)
    return check
