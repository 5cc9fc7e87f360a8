"""A Trainium device as a backend, and the vendor's simulator: every step runs in the vendor's own Python or tool.

Times are the device's own: `total_time` of the NTFF as nkilab's reader finds it, or nrtpy's device mode. NEFF, NTFF,
requests and logs of every run are kept.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import nkilab
from nkilab.bench import vendor
from nkilab.bench.backend import Outcome, Timing
from nkilab.bench.exchange import call_request, input_files, restored, time_request
from nkilab.bench.gate import flat
from nkilab.bench.point import Settings
from nkilab.case import Case
from nkilab.errors import InputError, UsageError
from nkilab.profiler.readers.ntff import parse

_FACTS = ("instance_type", "runtime_version", "driver_version", "collectives_version", "compiler_version", "target")


@dataclass(frozen=True, slots=True)
class Compiled:
    """A compiled kernel: its NEFF, the versions that made it, and what it returned when it ran."""

    neff: Path
    versions: Mapping[str, str]
    outputs: Any


class VendorSimBackend:
    """The vendor's `nki.simulate`: values, no times."""

    name = "vendor-sim"
    deterministic = True
    times = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.python = _runner(settings)

    def execute(self, case: Case, inputs: Sequence[Sequence[Any]]) -> Sequence[Outcome]:
        """See `Backend.execute`."""
        folder = _fresh(self.settings, f"{case.name}-simulate-")
        request = call_request(case, inputs, folder, "simulate", self.settings.lnc)
        vendor.run(vendor.simulate_command(self.python, request, self.settings.target), self.settings.timeout_s)
        return _outcomes(vendor.response(folder))

    def time(self, case: Case, inputs: Sequence[Any], count: int) -> Timing:
        """Raises UsageError: there is no time to be had."""
        raise UsageError(
            f"{case.name}: the vendor's simulator gives no times", values=f"{len(inputs)} inputs, {count} runs"
        )


class TrnBackend:
    """Compiles and runs with the vendor's `nki`, times through one of three routes."""

    name = "trn"
    deterministic = False
    times = True

    def __init__(self, settings: Settings, compiled: Compiled | None = None, *, save_outputs: bool = False) -> None:
        """A backend; `compiled` spares compiling again, `save_outputs` gives each timing its own execution's outputs."""
        self.settings = settings
        self.save_outputs = save_outputs
        self.compiled = compiled
        self.python = _runner(settings)
        self.timer = settings.timer_python or self.python
        self.route = vendor.route_of(settings.route, self.timer, settings.timeout_s)
        self.device = vendor.Device(core=settings.core, lnc=settings.lnc, target=settings.target)

    def execute(self, case: Case, inputs: Sequence[Sequence[Any]]) -> Sequence[Outcome]:
        """See `Backend.execute`. The device's copies of the inputs are not seen afterwards."""
        self.compiled, outcomes = self._compile(case, inputs)
        return outcomes

    def _compile(self, case: Case, inputs: Sequence[Sequence[Any]]) -> tuple[Compiled, list[Outcome]]:
        """Compile the kernel and run it once for each set of inputs."""
        folder = _fresh(self.settings, f"{case.name}-compile-")
        artifacts = folder / "artifacts"
        artifacts.mkdir()
        request = call_request(case, inputs, folder, "compile", self.settings.lnc)
        vendor.run(vendor.compile_command(self.python, request, artifacts, self.device), self.settings.timeout_s)
        answer = vendor.response(folder)
        outcomes = [Outcome(restored(value)) for value in answer["outputs"]]
        return Compiled(vendor.neff_in(artifacts), answer["versions"], outcomes[0].outputs), outcomes

    def time(self, case: Case, inputs: Sequence[Any], count: int) -> Timing:
        """See `Backend.time`."""
        if self.compiled is None:
            self.compiled = self._compile(case, [inputs])[0]
        compiled = self.compiled
        folder = _fresh(self.settings, f"{case.name}-{self.route}-")
        times, traces = self._timed(case, inputs, folder, compiled.neff, count)
        measured = [_opened(path, compiled.neff) for path in traces]
        totals = tuple(float(p.summary()["total_time"]) * 1e6 for p in measured)
        last = measured[-1]
        summary = last.summary()
        moved = [summary.get(name) for name in ("hbm_read_bytes", "hbm_write_bytes")]
        facts = {name: text for name, text in last.facts.items() if name in _FACTS}
        return Timing(
            times_us=times or totals,
            kind="measured",
            route=self.route,
            hbm_bytes=None if None in moved else int(sum(float(value) for value in moved if value is not None)),
            output_bytes=sum(leaf.nbytes for leaf in flat(compiled.outputs)),
            outputs=_own_outputs(folder, compiled.outputs) if self.save_outputs else compiled.outputs,
            facts={**facts, **{f"{name}_package": version for name, version in compiled.versions.items()}},
            artifacts={"neff": compiled.neff, "ntff": traces[-1]},
            profile=last,
            notes=last.notes,
        )

    def _timed(
        self, case: Case, inputs: Sequence[Any], folder: Path, neff: Path, count: int
    ) -> tuple[tuple[float, ...], list[Path]]:
        """Times where the route gives them itself, and the traces to read."""
        if self.route == "neuron-explorer":
            pairs = input_files(case, inputs, folder)
            command = vendor.capture_command(neff, folder, pairs, count, self.device, save_outputs=self.save_outputs)
            vendor.run(command, self.settings.timeout_s)
            return (), _later_executions(folder)
        request = time_request(
            case, inputs, folder, route=self.route, neff=neff, warmup=self.settings.warmup, count=count
        )
        vendor.run(vendor.runtime_command(self.timer, request, self.device), self.settings.timeout_s)
        answer = vendor.response(folder)
        return tuple(answer.get("times_us", ())), [Path(path) for path in answer["ntff"]]


def _opened(ntff: Path, neff: Path) -> Any:
    """The profile of a capture. Raises VendorError where it cannot be read, or is of another program."""
    try:
        return nkilab.load(ntff, neff=neff)
    except (InputError, UsageError) as error:
        raise vendor.VendorError(f"the capture cannot be used: {error.what}", values=str(ntff)) from error


def _own_outputs(folder: Path, like: Any) -> Any:
    """The output that the capture saved, with the dtype and shape of `like`; `like` itself where none or several are."""
    saved = [path for path in folder.glob("*.npy") if not path.name.startswith("input_")]
    if not (isinstance(like, np.ndarray) and len(saved) == 1):
        return like
    raw = np.load(saved[0], allow_pickle=False).tobytes()
    if len(raw) != like.nbytes:
        raise vendor.VendorError(f"{saved[0].name} has {len(raw)} bytes, the kernel returns {like.nbytes}")
    return np.frombuffer(raw, dtype=like.dtype).reshape(like.shape)


def _later_executions(folder: Path) -> list[Path]:
    """The traces of executions after the first, in their order.

    Raises:
        VendorError: there are none.
    """
    named = {path: parse(path.name).execution for path in folder.glob("*.ntff")}
    later = sorted((path for path, number in named.items() if number and number > 1), key=lambda path: named[path] or 0)
    if not later:
        raise vendor.VendorError("only the first execution was captured", values=", ".join(p.name for p in named))
    return later


def _outcomes(answer: Mapping[str, Any]) -> list[Outcome]:
    """What the runner's calls returned, and their inputs afterwards."""
    pairs = zip(answer["outputs"], answer["inputs"], strict=True)
    return [Outcome(restored(output), restored(inputs)) for output, inputs in pairs]


def _runner(settings: Settings) -> str:
    if not settings.runner_python:
        raise UsageError(
            f"backend {settings.backend} needs the Python that has the vendor's nki",
            fix="--runner-python ~/nki_venv/bin/python",
        )
    return settings.runner_python


def _fresh(settings: Settings, prefix: str) -> Path:
    """An empty folder for one step, kept with the results."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir=settings.work))
