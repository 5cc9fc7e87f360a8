"""An NTFF with its NEFF as a `Profile`."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from nkilab.errors import UsageError

from ...profile import Origin, Profile
from ..neff import program, stacks
from ..neff.find import find_neff
from ..neff.program import Neff
from ..source import bytes_of, released, shown
from ..wire import Source
from . import events, frames
from .clocks import origin, total
from .flows import flows
from .frames import Window
from .header import layout
from .metadata import Capture, Graph, capture
from .names import parse
from .notes import Losses, notes
from .program_table import ProgramTable, program_table

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
    """All tables of one NTFF."""
    calls, call_note = stacks.stacks(neff.members) if neff else (stacks.EMPTY, "")
    table = program_table(source, what, neff, calls)
    tables, window, losses = _run_tables(source, what, neff, table)
    tables |= {
        "Flow": flows(tables["Instruction"], neff, what),
        "ActiveTime": frames.active(tables["Instruction"]),
        "KernelStackFrames": calls.frames,
        "KernelIterationVariables": calls.iterations,
        "ExecutionInfo": _execution(what, window),
        "Metadata": _facts(_metadata(path, what, neff, window)),
        "Summary": _summary(window),
    }
    if neff:
        tables |= {"NeffHeader": _facts(neff.header.facts()), "TensorInfo": neff.tensors}
    said = notes(what, neff, table, losses, tables["Instruction"], call_note)
    kept = {name: frame for name, frame in tables.items() if frame.height}
    return Profile.build(kept, Origin("ntff", str(path), what.runtime), said)


def _run_tables(
    source: Source, what: Capture, neff: Neff | None, table: ProgramTable
) -> tuple[dict[str, pl.DataFrame], Window, Losses]:
    """The tables that come from records, over all cores."""
    window = Window(origin(what, _notify_end(source, what)), total(what))
    clock = _CLOCK_GHZ.get(_machine(what, neff))
    packets = [_packets(source, graph, window) for graph in what.graphs]
    ran = [_instructions(source, graph, window, table, clock) for graph in what.graphs]
    parts = {
        "Instruction": [frame for frame, _ in ran],
        "DmaPacket": [frame for frame, *_ in packets],
        "SemaphoreUpdate": [frames.semaphores(events.semaphores(source, g), g, window, neff) for g in what.graphs],
        "Throttle": [frames.throttles(events.throttles(source, g), g, window) for g in what.graphs],
        "DmaQueuesInfo": [frames.queues(graph) for graph in what.graphs],
        "HbmUsageSummaryByType": [frames.memory(graph) for graph in what.graphs],
    }
    counted = [int(window.holds(t, t).sum()) for t in (events.event_times(source, g) for g in what.graphs)]
    cores = zip(what.graphs, counted, parts["Instruction"], parts["DmaPacket"], strict=True)
    parts["ModelInfo"] = [frames.model(*core, clock) for core in cores]
    tables = {name: pl.concat(found) if found else pl.DataFrame() for name, found in parts.items()}
    for name in ("Instruction", "DmaPacket"):
        tables[name] = tables[name].with_row_index("id").cast({"id": pl.Int64}) if tables[name].width else tables[name]
    losses = Losses(sum(n for _, n in ran), sum(n for _, n, _ in packets), sum(n for *_, n in packets))
    return tables, window, losses


def _notify_end(source: Source, what: Capture) -> int | None:
    """What `origin` needs where the file states no start."""
    if what.start_ps is not None or not what.graphs:
        return None
    return events.notify_end(source, what.graphs[0], events.executed(source, what.graphs[0]))


def _packets(source: Source, graph: Graph, window: Window) -> tuple[pl.DataFrame, int, int]:
    """DmaPacket rows of one core, records without a partner, and packets left out; the records are let go of."""
    found = events.packets(source, graph)
    rows, left_out = frames.dma(found, graph, window)
    released(source.data)
    return rows, found.unpaired, left_out


def _instructions(
    source: Source, graph: Graph, window: Window, table: ProgramTable, clock: float | None
) -> tuple[pl.DataFrame, int]:
    """Instruction rows of one core, and records without a partner; the records are let go of."""
    found = events.executed(source, graph)
    rows = frames.instructions(found, graph.core, window, table, clock)
    released(source.data)
    return rows, found.unpaired


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
