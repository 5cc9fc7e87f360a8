"""Measure one point: find its case, gate it, time it, say what the time means."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nkilab.bench.backend import Backend, Timing
from nkilab.bench.choose import backend_of, hardware_of
from nkilab.bench.efficiency import efficiency, work
from nkilab.bench.gate import Verdict, gate
from nkilab.bench.limit import TimeLimitError
from nkilab.bench.point import Point, Row, Settings
from nkilab.bench.sources import owner, source_hash
from nkilab.bench.statistics import advice, collect, statistics
from nkilab.case import Case, of_rank
from nkilab.discover import cases_in
from nkilab.errors import NkilabError, UsageError
from nkilab.suggest import fix_for


def measure(point: Point, settings: Settings) -> Row:
    """The result of a point; a kernel that is wrong or cannot run is a row that says so, not an error.

    Raises:
        UsageError: there is no such case, axis or backend, or this machine's files are not those of the point.
    """
    case, settings = _on_cores(case_of(point), settings)
    row = _empty(point, case, settings)
    try:
        return _measured(case, backend_of(settings, case), settings, row)
    except UsageError:
        raise
    except Exception as error:
        refusal = refusal_of(error)
        if refusal is None:
            raise
        return replace(row, gated=settings.gated, refused=(refusal,))


def refusal_of(error: Exception) -> dict[str, Any] | None:
    """What a kernel that cannot run is refused with; None where nkilab itself is at fault."""
    place = _users_place(error)
    if not isinstance(error, NkilabError):
        return _refusal("kernel-raised", f"{type(error).__name__}: {error} at {place}") if place else None
    where = f"\n  it was at {place}" if place and isinstance(error, TimeLimitError) else ""
    return _refusal(error.code, f"{error}{where}")


def _on_cores(case: Case, settings: Settings) -> tuple[Case, Settings]:
    """Case and settings for the same number of cores: those of `--lnc`, else of the case's own `kernel[n]`."""
    own = int(getattr(case.kernel, "lnc", 1))
    if settings.lnc in {1, own}:
        return case, replace(settings, lnc=own)
    kernel: Any = case.kernel
    return replace(case, kernel=kernel[settings.lnc]), settings


def _users_place(error: BaseException) -> str | None:
    """File and line of the user's code that raised, itself or through a library; None where nkilab itself did."""
    limit = isinstance(error, TimeLimitError)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        whose = owner(Path(frame.filename))
        # The kernel called what was under way when its time was over.
        if whose == "user" or not (limit or whose == "library"):
            return f"{frame.filename}:{frame.lineno}" if whose == "user" else None
    return None


def case_of(point: Point) -> Case:
    """The case of a point at its sizes.

    Raises:
        UsageError: no such case, axis or meta-parameter; or the files differ from those the point was made from.
    """
    path = Path(point.file)
    cases = cases_in(path)
    found = next((case for case in cases if case.name == point.case), None)
    if found is None:
        raise UsageError(f"{path.name} has no case {point.case!r}", fix=fix_for(point.case, [c.name for c in cases]))
    if point.source and (here := source_hash(path)) != point.source:
        raise UsageError(
            f"{path} on this worker is not the file that was asked for", values=f"{here}, wanted {point.source}",
            fix="give every worker the same checkout",
        )  # fmt: skip
    return found.bind(**point.axes).with_meta(**point.meta)


def _empty(point: Point, case: Case, settings: Settings) -> Row:
    """What is known of a point before anything ran."""
    return Row(
        case=case.name,
        file=point.file,
        source=point.source or source_hash(Path(point.file)),
        axes=dict(case.axes),
        meta=dict(case.meta),
        backend=settings.backend,
        target=hardware_of(settings).name,
        cores=settings.lnc,
        ranks=case.ranks,
    )


def _measured(case: Case, backend: Backend, settings: Settings, row: Row) -> Row:
    if settings.gated:
        row = _gated(case, backend, settings, row)
        if row.refused:
            return row
    if not backend.times:
        return replace(
            row, notes=(f"{backend.name} gives values, not times: this result says only that they are right",)
        )
    inputs = case.arguments(settings.seed)
    first, row = _timed(case, backend, inputs, settings, row)
    return _rated(case, inputs, first, settings, row)


def _gated(case: Case, backend: Backend, settings: Settings, row: Row) -> Row:
    """The row after the gate. What only the simulator sees of memory is asked of it first, for the vendor's backends."""
    if backend.name in {"trn", "vendor-sim"}:
        row = _simulated(case, settings, row)
        if row.refused:
            return row
    return _judged(row, gate(case, backend, settings.seed, settings.seeds))


def _simulated(case: Case, settings: Settings, row: Row) -> Row:
    """The row after the simulator's gate; a note where the simulator cannot run the kernel, which the vendor's may."""
    simulator = backend_of(replace(settings, backend="sim"), case)
    try:
        return _judged(row, gate(case, simulator, settings.seed, settings.seeds))
    except Exception as error:
        if not isinstance(error, NkilabError) and _users_place(error) is None:
            raise
        said = f"memory was not checked: the simulator cannot run this kernel ({str(error).splitlines()[0]})"
        return replace(row, notes=(*row.notes, said))


def _judged(row: Row, verdict: Verdict) -> Row:
    refused = tuple(_refusal(r.code, r.message, r.seed) for r in verdict.refusals)
    return replace(
        row,
        gated=True,
        seeds=verdict.seeds,
        max_error=verdict.max_error,
        refused=refused,
        findings=(*row.findings, *verdict.warnings),
    )


def _refusal(code: str, message: str, seed: int | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "seed": seed}


def _timed(case: Case, backend: Backend, inputs: Sequence[Any], settings: Settings, row: Row) -> tuple[Timing, Row]:
    """The last timing, and the row with every time."""
    taken: list[Timing] = []

    def further(count: int) -> Sequence[float]:
        taken.append(backend.time(case, inputs, count))
        return taken[-1].times_us

    if backend.deterministic:
        times, stopped = tuple(further(1)), "deterministic"
    else:
        collected = collect(further, settings.rule)
        times, stopped = collected.times_us, collected.stopped
    last = taken[-1]
    stats = statistics(times)
    notes = [*row.notes, *last.notes, *_other_machine(last, row)]
    if stopped != "deterministic":
        notes += advice(stats, stopped, settings.rule)
    findings = {str(f["message"]): f for f in (*row.findings, *last.findings)}
    return last, replace(
        row,
        kind=last.kind,
        route=last.route,
        times_us=times,
        statistics=stats,
        stopped=stopped,
        body_us=last.body_us,
        range_us=last.range_us,
        confidence=last.confidence,
        findings=tuple(findings.values()),
        facts=dict(last.facts),
        artifacts={name: str(path) for name, path in last.artifacts.items()},
        notes=tuple(notes) if row.gated else (*notes, "not gated: nothing says that this kernel is right"),
    )


def _other_machine(timing: Timing, row: Row) -> list[str]:
    """A note where the device is of another generation than the bounds."""
    there = timing.facts.get("target", row.target)
    return (
        [] if there == row.target else [f"the device is {there}, the bounds are those of {row.target}: give --target"]
    )


def _rated(case: Case, inputs: Sequence[Any], timing: Timing, settings: Settings, row: Row) -> Row:
    """The row with what its time means, and with the profile behind it saved where there is a folder for it."""
    artifacts = dict(row.artifacts)
    if timing.profile is not None and settings.work:
        artifacts["profile"] = str(_saved(timing.profile, Path(settings.work), row.label))
    if timing.kind == "wall" or row.statistics is None:
        return replace(row, artifacts=artifacts)
    every = [of_rank(item, rank) for rank in range(case.ranks) for item in inputs]
    need = work(every, timing.output_bytes or 0, case.useful_flops)
    machine = hardware_of(settings)
    median = row.statistics.median
    rated = efficiency(need, median, machine, timing.hbm_bytes, timing.body_us, settings.lnc, case.ranks)
    return replace(row, artifacts=artifacts, efficiency=rated)


def _saved(profile: Any, folder: Path, label: str) -> Path:
    """The run saved under a name made of the point's label; the same point measured again replaces it."""
    name = f"{label.split(maxsplit=1)[0]}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"
    if hasattr(profile, "outputs"):
        return Path(profile.save(folder / name, force=True))
    return Path(profile.save(folder / name))
