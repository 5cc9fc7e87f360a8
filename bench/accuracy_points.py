"""Single instructions and DMA elements as device profiles measured them, against the clock."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from nkilab.clock import Point, held_out, predicted
from nkilab.errors import UsageError
from nkilab.hardware import Hardware

MEASURED = Path(__file__).parent / "measured"


@dataclass(frozen=True, slots=True)
class Residual:
    """One measured number and the modelled one, in `unit`; `held_out`: relative error under a table fitted without it."""

    name: str
    metric: str
    measured: float
    modelled: float
    unit: str = "ns"
    held_out: float | None = None

    @property
    def error(self) -> float:
        """Modelled over measured, less one."""
        return self.modelled / self.measured - 1.0


def rows(name: str) -> list[dict[str, str]]:
    """The rows of one measured table.

    Raises:
        UsageError: the tables are not there: they stand in the repository, not in an installed package.
    """
    path = MEASURED / name
    if not path.is_file():
        raise UsageError(f"no measured table {name}", fix="run it in a clone of the repository")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def instructions() -> list[Point]:
    """Compute instructions on trn2: medians of public device profiles."""
    return [
        Point(
            opcode=row["opcode"],
            engine=row["engine"],
            elements=int(row["elements"] or 0),
            out_elements=int(row["out_elements"] or 0),
            dtype=row["dtype"] or "float32",
            out_dtype=row["out_dtype"] or "float32",
            psum=row["memory"] == "psum",
            out_psum=row["out_memory"] == "psum",
            function=row["function"],
            duration_ns=_number(row["duration_ns"]),
            interval_ns=_number(row["interval_ns"]),
            half_clock=row["clock"] == "half",
            count=int(row["count"] or 1),
        )
        for row in rows("trn2_instructions.csv")
    ]


def elements() -> list[tuple[str, Point]]:
    """DMA elements on trn2, with the queue they were on."""
    return [
        (
            row["queue_type"],
            Point(
                "ELEMENT",
                "",
                int(row["bytes"]),
                duration_ns=_number(row["duration_ns"]),
                interval_ns=_number(row["interval_ns"]),
            ),
        )
        for row in rows("trn2_dma_elements.csv")
    ]


def _number(text: str) -> float | None:
    return float(text) if text else None


def describe(point: Point) -> str:
    """One line that names a point: opcode, function, data type, memories, elements, clock."""
    memory = f"{'PSUM' if point.psum else 'SBUF'}→{'PSUM' if point.out_psum else 'SBUF'}"
    dtype = point.dtype if point.dtype == point.out_dtype else f"{point.dtype}→{point.out_dtype}"
    words = [point.opcode, point.function.upper(), point.engine, dtype, memory, f"{point.elements}"]
    return " ".join(word for word in [*words, "half clock" if point.half_clock else ""] if word)


def residuals(hw: Hardware) -> list[Residual]:
    """Every measured duration and interval of an instruction, with the error under a table fitted without it."""
    points = instructions()
    durations, intervals = predicted(points, hw)
    found = []
    for index, point in enumerate(points):
        left_out = held_out(points, hw, index)
        name = describe(point)
        if point.duration_ns:
            found.append(Residual(name, "duration", point.duration_ns, float(durations[index]), held_out=left_out[0]))
        if point.interval_ns:
            found.append(Residual(name, "interval", point.interval_ns, float(intervals[index]), held_out=left_out[1]))
    return found


def element_residuals(hw: Hardware) -> list[Residual]:
    """Every measured DMA element; held out: between the neighbours in the table, without its own size."""
    found = []
    for queue, point in elements():
        (duration,), (interval,) = predicted([point], hw)
        name = f"{queue} {point.elements} bytes"
        left_out = _without(point, hw)
        for metric, measured, value in (
            ("duration", point.duration_ns, duration),
            ("interval", point.interval_ns, interval),
        ):
            if measured:
                held = left_out / measured - 1 if metric == "duration" and left_out else None
                found.append(Residual(name, metric, measured, float(value), held_out=held))
    return found


def _without(point: Point, hw: Hardware) -> float | None:
    """Duration of an element where the table does not know its size; None where it needs none of it."""
    sizes, times = hw.dma.element_bytes, hw.dma.element_ns
    if point.elements not in sizes[1:]:
        return None
    keep = [i for i, size in enumerate(sizes) if size != point.elements]
    changes = {"dma.element_bytes": tuple(sizes[i] for i in keep), "dma.element_ns": tuple(times[i] for i in keep)}
    return float(predicted([point], hw.replace(**changes))[0][0])
