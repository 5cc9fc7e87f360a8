"""`simulate` and `Run`: one kernel, simulated and timed, as outputs, findings and a profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nkilab import clock
from nkilab.arrays import has_torch, to_numpy, to_torch
from nkilab.case import Case
from nkilab.discover import case_named, kernel_named
from nkilab.errors import UsageError
from nkilab.hardware import Hardware, load as load_hardware
from nkilab.join import Joinable, tables
from nkilab.profiler import Origin, Profile
from nkilab.simulator import Finding, Sim, default_sim, execute
from nkilab.version import VERSION

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One simulated execution of a kernel. Times are modelled, not measured.

    Every analysis of the profile can be asked of the run itself: `run.summary()` is `run.profile.summary()`.

    Attributes:
        kernel: the kernel's name.
        sim: the options, with target and hardware filled in.
        outputs: what the kernel returned, as NumPy arrays, or torch tensors if torch came in.
        findings: what the simulator's checks found.
        profile: the run as tables, the same as those of a measured profile.
        body_us: modelled time of the kernel's instructions, in microseconds.
        total_us: the same with launch and completion.
        body_range_us: low and high of the body, from the uncertainty of the costs used.
        confidence: share of the modelled engine time whose cost is `calibrated`, `documented` or `guessed`.
    """

    kernel: str
    sim: Sim
    outputs: Any
    findings: tuple[Finding, ...]
    profile: Profile
    body_us: float
    total_us: float
    body_range_us: Range
    confidence: Mapping[str, float]

    @property
    def total_range_us(self) -> Range:
        """Low and high of the total: the body's range with the same launch and completion."""
        rest = self.total_us - self.body_us
        low, high = self.body_range_us
        return low + rest, high + rest

    def save(self, folder: str | PathLike[str], *, force: bool = False) -> Path:
        """Write the run into a new folder, whole or not at all; `nkilab.load` reads it without the kernel's file.

        Raises:
            UsageError: the folder exists and `force` is not set, or it is not a saved run.
        """
        from nkilab.saved import save

        return save(self, Path(folder), force=force)

    def __getattr__(self, name: str) -> Any:
        """What the run does not have itself is asked of its profile."""
        if name.startswith("_") or name in Run.__slots__:
            raise AttributeError(name)
        return getattr(self.profile, name)

    def __str__(self) -> str:
        low, high = self.body_range_us
        shares = ", ".join(f"{share:.0%} {name}" for name, share in self.confidence.items())
        return (
            f"{self.kernel} on {self.sim.target}: {self.body_us:.2f} us modelled "
            f"({low:.2f} to {high:.2f}), {self.total_us:.2f} us with launch; "
            f"costs {shares}; {len(self.findings)} findings"
        )


def simulate(kernel: Callable[..., Any] | str | Case, *args: Any, sim: Sim | None = None, **kwargs: Any) -> Run:
    """Simulate a kernel and time it.

    Args:
        kernel: a function under `nki.jit`, `"file.py:kernel"`, or a Case, which brings its own inputs.
        args: the kernel's arguments: NumPy arrays or torch tensors (HBM tensors), numbers, anything else as it is.
        sim: the options; `nkilab.Sim()` with the environment's precision where not given.
        kwargs: the kernel's keyword arguments; those of a Case's `meta` are replaced.

    Raises:
        KernelError: an instruction cannot execute; names the kernel's line.
        FindingsError: the kernel ran, but the checks found something (with `on_finding="raise"`).
        UsageError: the kernel cannot be found, or a Case is given arguments.
    """
    sim = sim or default_sim()
    if isinstance(kernel, str):
        kernel = (None if args else case_named(kernel)) or kernel_named(kernel)
    if isinstance(kernel, Case):
        if args:
            raise UsageError(f"case {kernel.name} brings its own inputs", fix="simulate its kernel: case.kernel")
        args, kwargs, kernel = kernel.arguments(sim.seed), {**kernel.meta, **kwargs}, kernel.kernel
    execution = execute(kernel, to_numpy(args), to_numpy(kwargs), sim)
    run = _join(getattr(kernel, "__name__", "kernel"), execution)
    if has_torch((args, kwargs)):
        object.__setattr__(run, "outputs", to_torch(run.outputs))
    return run


def load(
    path: str | PathLike[str], neff: str | PathLike[str] | None = None, source_root: str | PathLike[str] | None = None
) -> Run | Profile:
    """A saved run, or a profile of any kind that nkilab reads; both answer the same analyses.

    Args:
        path: a folder that `Run.save` wrote, or a measured profile.
        neff: the compiled program of an NTFF; looked for beside it where not given.
        source_root: where the kernel's sources are on this machine.

    Raises:
        InputError: missing, empty, damaged, or not a profile.
        UsageError: several profiles in one folder, or options that do not fit.
    """
    from nkilab.profiler.readers import read
    from nkilab.saved import is_run, read_run

    profile = read(path, neff, source_root)
    return read_run(Path(path), profile) if is_run(Path(path)) else profile


def _join(kernel: str, execution: Any) -> Run:
    """Time an execution and make the run."""
    sim, trace = execution.sim, execution.trace
    columns = trace.columns()
    timing = clock.time(columns, trace.names, sim.hardware)
    joined = Joinable(columns, trace.names, timing, sim.hardware)
    built = tables(joined, facts(kernel, sim, timing), execution.findings)
    low, high = timing.range_ns
    return Run(
        kernel=kernel,
        sim=sim,
        outputs=execution.outputs[0],
        findings=tuple(execution.findings),
        profile=Profile.build(built, Origin("simulated", producer=f"nkilab {VERSION}")),
        body_us=float(timing.body_ns) / 1e3,
        total_us=float(timing.total_ns) / 1e3,
        body_range_us=(float(low) / 1e3, float(high) / 1e3),
        confidence=MappingProxyType({name: float(share) for name, share in timing.confidence.items()}),
    )


def changes(hardware: Hardware) -> dict[str, Any]:
    """The numbers of a hardware table that differ from its generation's own."""
    own = load_hardware(hardware.name)
    return {key: s.value for key, s in hardware.sources.items() if s.value != own.sources[key].value}


def facts(kernel: str, sim: Sim, timing: Any) -> dict[str, Any]:
    """What the Metadata table says: the run's options and times, and the machine under the vendor's names."""
    hw = sim.hardware
    if hw is None:
        raise UsageError("the simulator returned a run without its hardware table")
    return {
        "kernel": kernel,
        "target": sim.target,
        "nki": sim.nki,
        "values": sim.values,
        "precise": sim.precise,
        "seed": sim.seed,
        "hardware_hash": hw.hash(),
        **{f"hardware.{key}": value for key, value in changes(hw).items()},
        "body_ns": float(timing.body_ns),
        "total_ns": float(timing.total_ns),
        "body_low_ns": float(timing.range_ns[0]),
        "body_high_ns": float(timing.range_ns[1]),
        "is_simulation": True,
        "instance_type": hw.name,
        "hbm_ddr_bandwidth": hw.hbm.gbps * 1e9,
        "tensor_engine_num_rows": hw.tensor.rows,
        "tensor_engine_num_cols": hw.tensor.columns,
        "tensor_engine_clock_freq": hw.tensor.clock_ghz,
    }
