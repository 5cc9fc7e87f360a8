"""The simulator and its clock as a backend: modelled times, the same every time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import polars as pl

import nkilab
from nkilab.bench.backend import Outcome, Timing
from nkilab.bench.limit import limited
from nkilab.case import Case
from nkilab.run import Run
from nkilab.simulator import Finding, Sim
from nkilab.whatif import loads_registers


class SimBackend:
    """Runs with values for the gate, without them for the time, unless registers are loaded, on which loops may depend."""

    name = "sim"
    deterministic = True
    times = True

    def __init__(self, sim: Sim, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.sim = dataclasses.replace(sim, on_finding="collect").resolved()

    def execute(self, case: Case, inputs: Sequence[Sequence[Any]]) -> Sequence[Outcome]:
        """See `Backend.execute`."""
        return [self._execute(case, arguments) for arguments in inputs]

    def _execute(self, case: Case, arguments: Sequence[Any]) -> Outcome:
        run = self._run(case, arguments, values=True)
        outputs = nkilab.per_rank([each.outputs for each in run.ranks]) if case.ranks > 1 else run.outputs
        return Outcome(outputs, tuple(arguments), tuple(map(plain_finding, run.findings)))

    def _run(self, case: Case, arguments: Sequence[Any], *, values: bool) -> Run:
        sim = dataclasses.replace(self.sim, ranks=case.ranks, values=values)
        with limited(f"the simulation of {case.name}", self.timeout_s):
            return nkilab.simulate(case.kernel, *arguments, sim=sim, mutates=case.mutates, **case.meta)

    def time(self, case: Case, inputs: Sequence[Any], count: int) -> Timing:  # noqa: ARG002
        """See `Backend.time`. The time of several ranks is that of the one that takes longest; bytes are those of all."""
        run = self._run(case, inputs, values=False)
        if loads_registers(run.profile.table("Instruction")["opcode"].unique()):
            run = self._run(case, deepcopy(inputs), values=True)
        slowest = max(run.ranks, key=lambda each: each.total_us)
        sizes = [_output_bytes(each) for each in run.ranks]
        return Timing(
            times_us=(slowest.total_us,),
            kind="modelled",
            route="clock",
            body_us=slowest.body_us,
            range_us=slowest.total_range_us,
            confidence=dict(slowest.confidence),
            hbm_bytes=sum(map(_moved_bytes, run.ranks)),
            output_bytes=None if None in sizes else sum(size for size in sizes if size is not None),
            findings=tuple(map(plain_finding, run.findings)),
            profile=run,
        )


def _moved_bytes(run: Run) -> int:
    """Bytes that a rank's instructions read from and wrote to HBM."""
    rows = run.profile.table("Instruction")
    return sum(int(rows[name].sum()) for name in ("hbm_read_bytes", "hbm_write_bytes"))


def _output_bytes(run: Run) -> int | None:
    """Size of the outputs as the run's tensors say; without values there are no outputs to ask."""
    tensors = run.profile.rows("TensorInfo").filter(pl.col("type").is_in(("output", "OUT")))
    return int(tensors["size"].sum()) if tensors.height else None


def plain_finding(found: Finding) -> Mapping[str, Any]:
    """A finding as a mapping that travels between processes and into a stored result."""
    where = found.where
    return {
        "code": found.code,
        "severity": found.severity,
        "message": found.message,
        "file": where.file if where else None,
        "line": where.line if where else None,
        "fix": found.fix,
    }
