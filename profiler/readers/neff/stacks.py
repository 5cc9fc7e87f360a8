"""Call stacks and loop iterations of a kernel's instructions, from the NEFF's `*.klir.debuginfo.json`.

The file is a tree per logical core: a function or a loop iteration holds functions, iterations and instructions, each
with its line. Written by compilers of 2.23 on for NKI kernels with debug information.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from ..source import json_value
from ..wire import Source
from .program import MAX_JSON

MAX_NODES = 1 << 19
FRAMES = {
    "stack_frame_id": pl.Int64,
    "fully_qualified_function_name": pl.String,
    "parent_stack_frame_id": pl.Int64,
    "file_path": pl.String,
    "line_number": pl.Int64,
}
ITERATIONS = {
    "iteration_variable_id": pl.Int64,
    "variable_name": pl.String,
    "variable_value": pl.Int64,
    "parent_iteration_variable_id": pl.Int64,
    "file_path": pl.String,
    "line_number": pl.Int64,
}
_WHERE = {"name": pl.String, "stack_frame_id": pl.Int64, "iteration_variable_id": pl.Int64}


@dataclass(frozen=True, slots=True, eq=False)
class Stacks:
    """Tables KernelStackFrames and KernelIterationVariables, and where each instruction stands in them."""

    frames: pl.DataFrame
    iterations: pl.DataFrame
    where: pl.DataFrame

    def locate(self, rows: pl.DataFrame) -> pl.DataFrame:
        """`rows` with stack_frame_id and iteration_variable_id, found by the BIR name up to its first dash."""
        key = pl.col("bir_instruction_name").str.split("-").list.first()
        found = rows.select(name=key).join(self.where, on="name", how="left", maintain_order="left")
        return rows.hstack(found.drop("name"))


EMPTY = Stacks(pl.DataFrame(schema=FRAMES), pl.DataFrame(schema=ITERATIONS), pl.DataFrame(schema=_WHERE))


@dataclass(slots=True)
class _Rows:
    """Rows while the tree is walked."""

    frames: list[tuple[object, ...]] = field(default_factory=list)
    iterations: list[tuple[object, ...]] = field(default_factory=list)
    where: dict[str, tuple[str, int | None, int | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Above:
    """The enclosing frame and iteration of a node, and the file."""

    frame: int | None = None
    iteration: int | None = None
    file: str | None = None


def stacks(members: Mapping[str, Source]) -> tuple[Stacks, str]:
    """Read every such file of a NEFF: the tables, and a note where one was too large or not understood."""
    rows, note = _Rows(), ""
    for name, source in members.items():
        if not name.endswith(".klir.debuginfo.json"):
            continue
        if len(source.data) > MAX_JSON:
            note = f"call stacks left out: {name} is larger than {MAX_JSON} bytes"
            continue
        try:
            _walk(json_value(bytes(source.data)), rows)
        except (ValueError, RecursionError):
            note = f"call stacks left out: {name} is damaged"
    if not rows.where:
        return EMPTY, note
    where = pl.DataFrame(list(rows.where.values()), schema=_WHERE, orient="row")
    frames = pl.DataFrame(rows.frames, schema=FRAMES, orient="row")
    return Stacks(frames, pl.DataFrame(rows.iterations, schema=ITERATIONS, orient="row"), where), note


def _walk(tree: object, rows: _Rows) -> None:
    """Walk all cores of one file, iteratively: depth is the file's choice."""
    todo: list[tuple[object, _Above]] = []
    for core in tree if isinstance(tree, list) else ():
        todo += [(node, _Above()) for node in _list(core, "info")]
    for _ in range(MAX_NODES):
        if not todo:
            return
        node, above = todo.pop()
        kind, body = next(iter(node.items()), ("", None)) if isinstance(node, dict) else ("", None)
        if not isinstance(body, dict):
            continue
        below = _enter(kind, body, above, rows)
        todo += [(child, below) for child in reversed(_list(body, "children"))]
    raise ValueError("too many nodes")


def _enter(kind: str, body: Mapping[str, object], above: _Above, rows: _Rows) -> _Above:
    """Record one node; what its children stand under."""
    line, name = _int(body.get("line")), body.get("name")
    if kind == "inst" and isinstance(name, str):
        rows.where.setdefault(name, (name, above.frame, above.iteration))
    if kind == "func":
        file = body.get("file") if isinstance(body.get("file"), str) else above.file
        rows.frames.append((len(rows.frames), str(name or ""), above.frame, file, line))
        return _Above(len(rows.frames) - 1, above.iteration, str(file) if file else None)
    if kind == "iter":
        value = _int(body.get("val"))
        rows.iterations.append(
            (len(rows.iterations), str(body.get("var", "")), value, above.iteration, above.file, line)
        )
        return _Above(above.frame, len(rows.iterations) - 1, above.file)
    return above


def _list(node: object, key: str) -> list[object]:
    """The list under `key`, empty where there is none."""
    value = node.get(key) if isinstance(node, dict) else None
    return value if isinstance(value, list) else []


def _int(value: object) -> int | None:
    """A number given as such or as text, None where it is neither or does not fit."""
    if isinstance(value, str) and value.lstrip("-").isdecimal() and len(value) < 19:
        return int(value)
    return value if isinstance(value, int) and abs(value) < 1 << 62 else None
