"""What no timing of a configuration can undercut: the kernel is traced without values, and nothing is scheduled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from nkilab import clock
from nkilab.bench.choose import hardware_of
from nkilab.bench.limit import limited
from nkilab.bench.measure import case_of, refusal_of
from nkilab.bench.point import Point, Settings
from nkilab.bench.search import Floor
from nkilab.errors import UsageError
from nkilab.simulator import Sim, execute

TIMED = ("instructions", "accesses", "tensors", "collectives")


def floor_of(settings: Settings, point: Point) -> Floor:
    """The lower bound of a point's modelled time, or why it cannot run.

    Raises:
        UsageError: there is no such case, axis or parameter, or this machine's files are not those of the point.
    """
    case = case_of(point)
    machine = hardware_of(settings)
    sim = Sim(
        target=machine.name,
        hardware=machine,
        nki=settings.nki,
        seed=settings.seed,
        ranks=case.ranks,
        values=False,
        on_finding="collect",
    ).resolved()
    try:
        with limited(f"the trace of {case.name}", settings.timeout_s):
            run = execute(case.kernel, case.arguments(settings.seed), dict(case.meta), sim, mutates=case.mutates)
        columns = run.trace.columns()
        ns, part = clock.floor_ns(columns, run.trace.names, machine)
    except UsageError:
        raise
    except Exception as error:
        refusal = refusal_of(error)
        if refusal is None:
            raise
        return Floor(None, why=f"{refusal['code']}: {refusal['message']}")
    return Floor(ns / 1e3, part, trace=_named(columns, run.trace.names))


def _named(columns: Mapping[str, Mapping[str, Any]], names: Mapping[str, tuple[str, ...]]) -> str:
    """Sixteen digits for what the clock reads of a trace."""
    total = hashlib.sha256(repr(sorted(names.items())).encode())
    for table in TIMED:
        for name, column in sorted(columns[table].items()):
            total.update(f"{table}.{name}".encode() + np.ascontiguousarray(column).tobytes())
    return total.hexdigest()[:16]
