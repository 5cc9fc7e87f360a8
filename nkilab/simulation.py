"""`simulate`: run a kernel on the simulator, time its trace, and join both into a Run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from nkilab import clock
from nkilab.case import Case, Comparison, compare_ranks
from nkilab.clock import Timing
from nkilab.discover import case_named, kernel_named
from nkilab.errors import UsageError
from nkilab.join import Joinable, of_rank, tables
from nkilab.profiler import Origin, Profile
from nkilab.run import LOADS_LEFT_OUT, Run
from nkilab.saved import changes
from nkilab.simulator import Sim, default_sim, execute
from nkilab.version import VERSION

if TYPE_CHECKING:
    from nkilab.simulator import Execution


def simulate(
    kernel: Callable[..., Any] | str | Case,
    *args: Any,
    sim: Sim | None = None,
    mutates: Sequence[str] = (),
    **kwargs: Any,
) -> Run:
    """Simulate a kernel and time it.

    Args:
        kernel: a function under `nki.jit`, `"file.py:kernel"`, or a Case, which brings its own inputs.
        args: the kernel's arguments: NumPy arrays or torch tensors (HBM tensors), numbers, anything else as it is.
        sim: the options; `nkilab.Sim()` with the environment's precision where not given.
        mutates: parameters that the kernel is meant to write in place; a Case brings its own.
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
        mutates = (*kernel.mutates, *mutates)
        sim = replace(sim, ranks=kernel.ranks) if sim.ranks == 1 else sim
        args, kwargs, kernel = kernel.arguments(sim.seed), {**kernel.meta, **kwargs}, kernel.kernel
    execution = execute(kernel, args, kwargs, sim, mutates=mutates)
    return _join(getattr(kernel, "__name__", "kernel"), execution)


def simulate_case(case: Case, sim: Sim) -> tuple[Run, Comparison | None]:
    """Simulate a case and compare what it returns and writes, on every rank, with the reference.

    Args:
        case: the case; its axis `ranks` counts where `sim` has one rank.
        sim: the options.

    Returns:
        The run, and the comparison: None without a reference or without values.

    Raises:
        KernelError, FindingsError, UsageError: as `simulate`.
    """
    sim = replace(sim, ranks=case.ranks) if sim.ranks == 1 else sim
    inputs = case.arguments(sim.seed)
    wanted = case.reference is not None and sim.values
    expected, after = case.run_reference(inputs) if wanted else (None, ())
    run = simulate(case.kernel, *inputs, sim=sim, mutates=case.mutates, **case.meta)
    if not wanted:
        return run, None
    return run, compare_ranks(case, [each.outputs for each in run.ranks], inputs, expected, after)


def _join(kernel: str, execution: Execution) -> Run:
    """Time an execution and make the run."""
    sim, trace, hardware = execution.sim, execution.trace, execution.sim.resolved().hardware
    if hardware is None:
        raise UsageError("the simulator returned a run without its hardware table")
    columns = trace.columns()
    timing = clock.time(columns, trace.names, hardware, sim.policy)
    joined = Joinable(_as_timed(columns, timing), trace.names, timing, hardware)
    count = sim.ranks
    parts = [joined] if count == 1 else [of_rank(joined, rank) for rank in range(count)]
    runs = [_run(kernel, execution, part, rank) for rank, part in enumerate(parts)]
    return replace(runs[0], others=tuple(runs[1:]))


def _as_timed(columns: dict[str, Any], timing: Timing) -> dict[str, Any]:
    """The trace without the operands of loads that the clock leaves out; who reads their tiles reads the earlier ones."""
    access = columns["accesses"]
    done = np.isin(access["instruction"], timing.instructions["trace_row"])
    if done.all():
        return columns
    kept = {name: column[done] for name, column in access.items()}
    return {**columns, "accesses": {**kept, "tensor": timing.owner[kept["tensor"]]}}


def _run(kernel: str, execution: Execution, joined: Joinable, rank: int) -> Run:
    """The run of one rank; that of rank 0 has the findings of all."""
    sim, timing = execution.sim, joined.timing
    findings = tuple(finding for finding in execution.findings if rank in (0, finding.rank))
    built = tables(joined, _facts(kernel, sim, joined, rank), findings)
    low, high = timing.range_ns
    return Run(
        kernel=kernel,
        sim=sim,
        outputs=execution.results()[rank] if sim.values else None,
        findings=findings,
        profile=Profile.build(built, Origin("simulated", producer=f"nkilab {VERSION}")),
        body_us=float(timing.body_ns) / 1e3,
        total_us=float(timing.total_ns) / 1e3,
        body_range_us=(float(low) / 1e3, float(high) / 1e3),
        confidence=MappingProxyType({name: float(share) for name, share in timing.confidence.items()}),
    )


def _facts(kernel: str, sim: Sim, joined: Joinable, rank: int) -> dict[str, Any]:
    """What the Metadata table says: the run's options and times, and the machine under the vendor's names."""
    hw, timing = joined.hardware, joined.timing
    left_out = len(joined.trace["instructions"]["api"]) - len(np.unique(timing.instructions["trace_row"]))
    return {
        "kernel": kernel,
        "target": sim.target,
        "nki": sim.nki,
        "values": sim.values,
        "precise": sim.precise,
        "seed": sim.seed,
        **({"rank": rank, "ranks": sim.ranks} if sim.ranks > 1 else {}),
        "hardware_hash": hw.hash(),
        **{f"hardware.{key}": value for key, value in changes(hw).items()},
        **{f"policy.{name}": value for name, value in sim.policy.changes().items()},
        LOADS_LEFT_OUT: left_out,
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
