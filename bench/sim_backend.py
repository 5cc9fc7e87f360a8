"""The simulator and its clock as a backend: modelled times, the same every time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

import nkilab
from nkilab.bench.backend import Outcome, Timing
from nkilab.case import Case
from nkilab.run import Run
from nkilab.simulator import Finding, Sim


class SimBackend:
    """Runs with values for the gate, without them for the time, which does not depend on them."""

    name = "sim"
    deterministic = True
    times = True

    def __init__(self, sim: Sim) -> None:
        self.sim = dataclasses.replace(sim, on_finding="collect").resolved()

    def execute(self, case: Case, inputs: Sequence[Sequence[Any]]) -> Sequence[Outcome]:
        """See `Backend.execute`."""
        return [self._execute(case, arguments) for arguments in inputs]

    def _execute(self, case: Case, arguments: Sequence[Any]) -> Outcome:
        run = nkilab.simulate(case.kernel, *arguments, sim=self.sim, mutates=case.mutates, **case.meta)
        return Outcome(run.outputs, tuple(arguments), tuple(map(plain_finding, run.findings)))

    def time(self, case: Case, inputs: Sequence[Any], count: int) -> Timing:  # noqa: ARG002
        """See `Backend.time`."""
        sim = dataclasses.replace(self.sim, values=False)
        run = nkilab.simulate(case.kernel, *inputs, sim=sim, mutates=case.mutates, **case.meta)
        rows = run.profile.table("Instruction")
        moved = sum(int(rows[name].sum()) for name in ("hbm_read_bytes", "hbm_write_bytes"))
        low, high = run.total_range_us
        return Timing(
            times_us=(run.total_us,),
            kind="modelled",
            route="clock",
            body_us=run.body_us,
            range_us=(low, high),
            confidence=dict(run.confidence),
            hbm_bytes=moved,
            output_bytes=_output_bytes(run),
            findings=tuple(map(plain_finding, run.findings)),
            profile=run,
        )


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
