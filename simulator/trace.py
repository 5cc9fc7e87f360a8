"""The trace of a simulation: what the clock gets. Rows are kept as plans and offsets, and become columns at the end."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .layout import Layout
from .source import Sources
from .values.dtypes import TABLE

ENGINES = ("tensor", "vector", "scalar", "gpsimd", "sync")
FLAGS = (
    "transpose",
    "accumulate",
    "double_row",
    "fp32_passes",
    "reduce_result",
    "dma_transpose",
    "dynamic_address",
    "indirect",
    "onezero",
    "mx",
    "static_descriptors",
    "swdge",
    "hwdge",
    "cast",
    "no_reorder",
)
FLAG = {name: 1 << bit for bit, name in enumerate(FLAGS)}
KINDS = ("input", "output", "internal", "constant")
DTYPES = tuple(TABLE)
_BYTES = ("hbm_read", "hbm_write", "sbuf_read", "sbuf_write", "psum_read", "psum_write")
PER_INSTRUCTION = 5
_PER_ACCESS = 2


@dataclass(frozen=True, slots=True)
class Shape:
    """The part of a trace row that all instructions of one plan share."""

    api: str
    engine: int
    engines: int
    function: str
    partitions: int
    elements: int
    stationary: int
    flags: int
    flops: int
    array: int
    roles: tuple[str, ...]
    writes: tuple[bool, ...]
    layouts: tuple[Layout, ...]
    moved: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """Tables of equal-length NumPy columns and the names their indices point into; see docs/contracts.md."""

    tables: dict[str, dict[str, np.ndarray]]
    names: dict[str, tuple[str, ...]]

    def columns(self) -> dict[str, dict[str, np.ndarray]]:
        """All tables: `instructions`, `accesses`, `tensors`, `collectives`, `sites`, `stacks`, `iterations`."""
        return self.tables

    def __len__(self) -> int:
        return len(self.tables["instructions"]["api"])


TensorRow = tuple[int, str, int, int, int, str, int, str, int, int, tuple[int, ...]]
"""Space, dtype, partitions, bytes, address, kind, site, name, rank, core."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one program did in a barrier, sendrecv or collective: a row of the table `collectives`.

    `row` counts within the program; `sent` and `received` are bytes.
    """

    meeting: int
    rank: int
    core: int
    row: int
    api: str
    function: str
    group: str
    sent: int
    received: int


@dataclass(slots=True)
class Recorder:
    """The growing trace of one core of one rank; `shapes` and `tensors` are those of all programs of the simulation.

    `waits` are pairs of instructions of which the kernel says that the second waits for the first.
    """

    rank: int
    core: int
    shapes: list[Shape] = field(default_factory=list)
    tensors: list[TensorRow] = field(default_factory=list)
    rows: array[int] = field(default_factory=lambda: array("q"))
    touched: array[int] = field(default_factory=lambda: array("q"))
    waits: list[tuple[int, int]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows) // PER_INSTRUCTION

    def table(self) -> np.ndarray:
        """Instructions: plan, site, stack, iteration, flags."""
        return np.array(self.rows, np.int64).reshape(-1, PER_INSTRUCTION)

    def places(self) -> np.ndarray:
        """Operands in the order of the instructions: tensor, first byte within it."""
        return np.array(self.touched, np.int64).reshape(-1, _PER_ACCESS)


def merged(recorders: Sequence[Recorder], sources: Sources, parts: Sequence[Part] = ()) -> Trace:
    """The traces of all programs as one, in columns: program after program."""
    names: dict[str, dict[str, int]] = {name: {} for name in ("api", "function", "role", "tensor", "shape", "group")}
    shapes = recorders[0].shapes
    rows = np.concatenate([recorder.table() for recorder in recorders])
    starts = np.cumsum([0] + [len(recorder) for recorder in recorders])
    places = np.concatenate([recorder.places() for recorder in recorders])
    instructions = _instructions(shapes, rows, names)
    for name, dtype in (("rank", np.int16), ("core", np.int8)):
        column = np.array([getattr(recorder, name) for recorder in recorders], dtype)
        instructions[name] = np.repeat(column, np.diff(starts))
    first = {(recorder.rank, recorder.core): int(start) for recorder, start in zip(recorders, starts, strict=False)}
    accesses = _accesses(shapes, rows[:, 0], places, names)
    if any(recorder.waits for recorder in recorders):
        accesses = _with_waits(accesses, recorders, starts, rows[:, 1], names["role"])
    tables = {
        "instructions": instructions,
        "accesses": accesses,
        "tensors": _tensors(recorders[0].tensors, names),
        "collectives": _collectives(parts, first, names),
        **_source_tables(sources),
    }
    fixed = {"engine": ENGINES, "flag": FLAGS, "kind": KINDS, "dtype": DTYPES, "space": ("hbm", "sbuf", "psum")}
    found = {name: tuple(values) for name, values in names.items()}
    lists = {
        "file": tuple(sources.files),
        "python_function": tuple(sources.functions),
        "variable": tuple(sources.variables),
    }
    return Trace(tables, {**fixed, **found, **lists})


def _instructions(shapes: list[Shape], rows: np.ndarray, names: dict[str, dict[str, int]]) -> dict[str, np.ndarray]:
    plan = rows[:, 0]
    api = [names["api"].setdefault(s.api, len(names["api"])) for s in shapes]
    function = [names["function"].setdefault(s.function, len(names["function"])) if s.function else -1 for s in shapes]
    traffic = np.array([_traffic(s) for s in shapes], np.int64).reshape(-1, len(_BYTES))

    def of_plan(values: list[int], dtype: type[np.generic]) -> np.ndarray:
        column: np.ndarray = np.array(values, dtype)[plan]
        return column

    columns: dict[str, np.ndarray] = {
        "rank": np.zeros(len(plan), np.int16),
        "core": np.zeros(len(plan), np.int8),
        "api": of_plan(api, np.int16),
        "engine": of_plan([s.engine for s in shapes], np.int8),
        "engines": of_plan([s.engines for s in shapes], np.int8),
        "function": of_plan(function, np.int16),
        "partitions": of_plan([s.partitions for s in shapes], np.int16),
        "elements": of_plan([s.elements for s in shapes], np.int64),
        "stationary": of_plan([s.stationary for s in shapes], np.int32),
        "flags": of_plan([s.flags for s in shapes], np.int32) | rows[:, 4].astype(np.int32),
        "flops": of_plan([s.flops for s in shapes], np.int64),
        "array": of_plan([s.array for s in shapes], np.int32),
    }
    columns |= {name: traffic[plan, i] for i, name in enumerate(_BYTES)}
    columns |= {name: rows[:, i].astype(np.int32) for i, name in ((1, "site"), (2, "stack"), (3, "iteration"))}
    return columns


def operands(shapes: list[Shape], plan: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each access in order its instruction, and its number among the operands of all shapes."""
    counts = np.array([len(s.roles) for s in shapes], np.int64)
    starts = np.cumsum(counts) - counts
    per = counts[plan] if len(counts) else np.zeros(0, np.int64)
    instruction = np.repeat(np.arange(len(plan)), per)
    within = np.arange(len(instruction)) - np.repeat(np.cumsum(per) - per, per)
    return instruction, (starts[plan] if len(counts) else plan)[instruction] + within


def _accesses(
    shapes: list[Shape], plan: np.ndarray, places: np.ndarray, names: dict[str, dict[str, int]]
) -> dict[str, np.ndarray]:
    role = names["role"]
    instruction, operand = operands(shapes, plan)
    fixed: list[tuple[int, ...]] = []
    views: dict[tuple[tuple[int, ...], ...], int] = {}
    for shape in shapes:
        for name, write, layout in zip(shape.roles, shape.writes, shape.layouts, strict=True):
            first = layout.first_partition
            stop = first + layout.partitions
            record = (role.setdefault(name, len(role)), write, layout.space, DTYPES.index(layout.dtype), first, stop)
            view = views.setdefault((layout.shape, layout.strides), len(views))
            fixed.append((*record, layout.span, layout.per_partition, layout.run, layout.step, layout.holes, view))
    table = np.array(fixed, np.int64).reshape(-1, 12)[operand]
    start = places[:, 1].copy()
    return {
        "instruction": instruction.astype(np.int32),
        "role": table[:, 0].astype(np.int8),
        "write": table[:, 1].astype(np.bool_),
        "tensor": places[:, 0].astype(np.int32),
        "space": table[:, 2].astype(np.int8),
        "dtype": table[:, 3].astype(np.int8),
        "p0": table[:, 4].astype(np.int32),
        "p1": table[:, 5].astype(np.int32),
        "b0": start,
        "b1": start + table[:, 6],
        "elements": table[:, 7],
        "run": table[:, 8],
        "stride": table[:, 9],
        "strided": table[:, 10].astype(np.bool_),
        "view": table[:, 11].astype(np.int32),
    }


def _with_waits(
    accesses: dict[str, np.ndarray],
    recorders: Sequence[Recorder],
    starts: np.ndarray,
    sites: np.ndarray,
    role: dict[str, int],
) -> dict[str, np.ndarray]:
    """Accesses with a register of its own for each wait, which the first instruction writes and the second reads."""
    codes = [role.setdefault(name, len(role)) for name in ("register", "index")]
    extra: list[dict[str, int]] = []
    for recorder, start in zip(recorders, starts.tolist(), strict=False):
        for wait in recorder.waits:
            site = int(sites[start + wait[1]])
            row = (0, "int32", 1, 4, -1, "internal", site, "dependency", recorder.rank, recorder.core, (1,))
            recorder.tensors.append(row)
            fixed = {"tensor": len(recorder.tensors) - 1, "dtype": DTYPES.index("int32"), "p1": 1, "b1": 4}
            fixed |= {"elements": 1, "run": 4, "stride": 4}
            for number, code, write in zip(wait, codes, (1, 0), strict=True):
                extra.append({**fixed, "instruction": start + number, "role": code, "write": write})
    joined = {
        name: np.concatenate([column, np.array([each.get(name, 0) for each in extra]).astype(column.dtype)])
        for name, column in accesses.items()
    }
    order = np.argsort(joined["instruction"], kind="stable")
    return {name: column[order] for name, column in joined.items()}


def _tensors(given: list[TensorRow], names: dict[str, dict[str, int]]) -> dict[str, np.ndarray]:
    tensor, known = names["tensor"], {shape: f"[{', '.join(map(str, shape))}]" for *_, shape in given}

    def coded(name: str, shape: tuple[int, ...]) -> tuple[int, int]:
        words = known[shape]
        return tensor.setdefault(name, len(tensor)), names["shape"].setdefault(words, len(names["shape"]))

    rows = [
        (rank, core, space, DTYPES.index(dtype), *sizes, KINDS.index(kind), site, *coded(name, shape))
        for space, dtype, *sizes, kind, site, name, rank, core, shape in given
    ]
    fields = (
        ("rank", np.int16),
        ("core", np.int8),
        ("space", np.int8),
        ("dtype", np.int8),
        ("partitions", np.int32),
        ("bytes", np.int64),
        ("address", np.int64),
        ("kind", np.int8),
        ("site", np.int32),
        ("name", np.int32),
        ("shape", np.int32),
    )
    table = np.array(rows, np.int64).reshape(-1, len(fields))
    return {name: table[:, i].astype(dtype) for i, (name, dtype) in enumerate(fields)}


def _collectives(
    parts: Sequence[Part], first: dict[tuple[int, int], int], names: dict[str, dict[str, int]]
) -> dict[str, np.ndarray]:
    def code(name: str, value: str) -> int:
        return names[name].setdefault(value, len(names[name])) if value else -1

    rows = [
        (
            part.meeting,
            first[part.rank, part.core] + part.row,
            part.rank,
            part.core,
            code("api", part.api),
            code("function", part.function),
            code("group", part.group),
            part.sent,
            part.received,
        )
        for part in parts
    ]
    fields = (
        ("meeting", np.int32),
        ("instruction", np.int32),
        ("rank", np.int16),
        ("core", np.int8),
        ("api", np.int16),
        ("function", np.int16),
        ("group", np.int32),
        ("sent", np.int64),
        ("received", np.int64),
    )
    table = np.array(rows, np.int64).reshape(-1, len(fields))
    return {name: table[:, i].astype(dtype) for i, (name, dtype) in enumerate(fields)}


def _traffic(shape: Shape) -> tuple[int, ...]:
    """Bytes of all operands by space and direction, in the order of `_BYTES`."""
    moved = [0] * len(_BYTES)
    for write, layout, size in zip(shape.writes, shape.layouts, shape.moved, strict=True):
        moved[2 * layout.space + write] += size
    return tuple(moved)


def _source_tables(sources: Sources) -> dict[str, dict[str, np.ndarray]]:
    def table(rows: dict[tuple[int, ...], int], names: tuple[str, ...]) -> dict[str, np.ndarray]:
        values = np.array(list(rows), np.int64).reshape(-1, len(names))
        return {name: values[:, i].copy() for i, name in enumerate(names)}

    return {
        "sites": table(sources.sites, ("file", "line", "function")),  # type: ignore[arg-type]
        "stacks": table(sources.stacks, ("site", "parent")),  # type: ignore[arg-type]
        "iterations": table(sources.iterations, ("site", "variable", "value", "parent")),  # type: ignore[arg-type]
    }
