"""An NTFF with its NEFF as a `Profile`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl

from nkilab.errors import UsageError

from ...profile import Origin, Profile
from ..neff import program, stacks
from ..neff.find import find_neff
from ..neff.program import Neff
from ..source import bytes_of, shown
from ..wire import Source
from . import events, frames, tables
from .clocks import origin, total
from .flows import flows
from .header import layout
from .metadata import Capture, capture
from .names import parse
from .notes import notes
from .program_table import ProgramTable, program_table
from .rows import CoreRows, Window, core_rows

# Clock of the engines other than the tensor engine, by machine: hardware guide of each generation.
_CLOCK_GHZ = {"trn1": 1.4, "inf2": 1.4, "trn2": 1.2, "trn3": 1.2}


def read(path: Path, neff: Path | None = None) -> Profile:
    """The profile in an NTFF.

    Args:
        path: the NTFF.
        neff: its NEFF; without one it is looked for by uuid beside the NTFF. Without any, names, operands that need
            names, and source lines are null, and a note says so.

    Raises:
        InputError: damaged, or of another kind or version.
        UsageError: the NEFF given is of another program.
    """
    source = Source(bytes_of(path), str(path))
    what = capture(source, layout(source))
    found = neff or find_neff(path.parent, what.uuid)
    compiled = program.read(found) if found else None
    if compiled and not compiled.header.uuid.startswith(what.uuid):
        raise _wrong_neff(path, what, compiled)
    return _profile(path, source, what, compiled)


def _wrong_neff(path: Path, what: Capture, neff: Neff) -> UsageError:
    """The error for a NEFF of another program."""
    return UsageError(
        f"{neff.file} is not the NEFF of {path}",
        values=f"NTFF {what.uuid}, NEFF {neff.header.uuid} ({neff.header.name})",
        rule="an NTFF and its NEFF carry the same uuid",
        fix=f"give the NEFF named {what.neff_name}" if what.neff_name else "give the NEFF that was run",
    )


def _profile(path: Path, source: Source, what: Capture, neff: Neff | None) -> Profile:
    """All tables of one NTFF. What can be wrong with it is found here, also for the tables that are made when asked for."""
    calls, call_note = stacks.stacks(neff.members) if neff else (stacks.EMPTY, "")
    table = program_table(source, what, neff, calls)
    window = Window(origin(what, _notify_end(source, what)), total(what))
    clock = _CLOCK_GHZ.get(_machine(what, neff))
    cores = [core_rows(source, graph, window, table) for graph in what.graphs]
    rows = {name: pl.concat([core.tables[name] for core in cores]) for name in (cores[0].tables if cores else ())}
    ran = rows.get("Instruction", pl.DataFrame())
    rows["Flow"] = flows(ran, table, neff, what)
    found = {
        **_from_records(rows, what, neff, table, clock),
        **_from_cores(cores, what, clock),
        "KernelStackFrames": calls.frames,
        "KernelIterationVariables": calls.iterations,
        "ExecutionInfo": _execution(what, window),
        "Metadata": _facts(_metadata(path, what, neff, window)),
        "Summary": _summary(window),
    }
    if neff:
        found |= {"NeffHeader": _facts(neff.header.facts()), "TensorInfo": neff.tensors}
    said = notes(what, neff, table, cores, ran, call_note)
    kept = {name: frame for name, frame in found.items() if isinstance(frame, pl.LazyFrame) or frame.height}
    return Profile.build(kept, Origin("ntff", str(path), what.runtime), said)


def _from_records(
    rows: Mapping[str, pl.DataFrame], what: Capture, neff: Neff | None, table: ProgramTable, clock: float | None
) -> dict[str, pl.LazyFrame]:
    """The tables with a row for each record or pair of records, where there are any."""
    make: dict[str, Callable[[pl.DataFrame], pl.LazyFrame]] = {
        "Instruction": lambda found: tables.instruction(found, table, clock),
        "DmaPacket": lambda found: tables.packet(found, what.graphs),
        "SemaphoreUpdate": lambda found: tables.semaphore(found, what.graphs, neff),
        "Throttle": tables.throttle,
        "ActiveTime": tables.active,
        "Flow": lambda found: tables.flow(found, rows["Instruction"]),
    }
    return {name: make[name](found) for name, found in rows.items() if found.height}


def _from_cores(cores: list[CoreRows], what: Capture, clock: float | None) -> dict[str, pl.DataFrame]:
    """The tables with a few rows for each core."""
    parts = {
        "DmaQueuesInfo": [frames.queues(graph) for graph in what.graphs],
        "HbmUsageSummaryByType": [frames.memory(graph) for graph in what.graphs],
        "ModelInfo": [frames.model(graph, core, clock) for graph, core in zip(what.graphs, cores, strict=True)],
    }
    return {name: pl.concat(found) for name, found in parts.items() if found}


def _notify_end(source: Source, what: Capture) -> int | None:
    """What `origin` needs where the file states no start."""
    if what.start_ps is not None or not what.graphs:
        return None
    return events.notify_end(source, what.graphs[0], events.executed(source, what.graphs[0])[0])


def _machine(what: Capture, neff: Neff | None) -> str:
    """trn1, inf2, trn2 or trn3, "" where neither file says."""
    return what.instance_type.partition(".")[0].rstrip("nu") or (neff.target if neff else "")


def _metadata(path: Path, what: Capture, neff: Neff | None, window: Window) -> dict[str, str]:
    """Facts for the Metadata table."""
    name = parse(path.name)
    facts = what.facts() | {"profile_name": path.stem, "first_hw_timestamp": "0", "ticks_per_nanosec": "1000"}
    facts |= {
        key: str(value) for key, value in (("rank", name.rank), ("execution", name.execution)) if value is not None
    }
    if window.length is not None:
        facts["last_hw_timestamp"] = str(window.length / 1000)
    if neff:
        extra = {"target": neff.target, "compiler_version": neff.compiler, "neff_file": neff.file}
        extra["hlo_mac_count"] = str(neff.macs) if neff.macs else ""
        facts |= {key: value for key, value in extra.items() if value}
    elif machine := _machine(what, None):
        facts["target"] = {"inf2": "trn1"}.get(machine, machine)
    return facts


def _facts(facts: dict[str, str]) -> pl.DataFrame:
    """A table of keys and values."""
    return pl.DataFrame(
        {"key": list(facts), "value": [shown(value) for value in facts.values()]},
        {"key": pl.String, "value": pl.String},
    )


def _summary(window: Window) -> pl.DataFrame:
    """The one metric that the file states itself: the length of the execution, in seconds."""
    values = [] if window.length is None else [window.length / 1e12]
    return pl.DataFrame(
        {"metric": ["total_time"][: len(values)], "value": values}, {"metric": pl.String, "value": pl.Float64}
    )


def _execution(what: Capture, window: Window) -> pl.DataFrame:
    """ExecutionInfo: the one execution of an NTFF."""
    columns = {
        "execution_index": [what.execution or None],
        "neff_name": [what.neff_name],
        "execution_start_ts": [0.0],
        "execution_end_ts": [None if window.length is None else window.length / 1000],
    }
    return pl.DataFrame(columns, schema_overrides={"execution_end_ts": pl.Float64, "execution_index": pl.Int64})
