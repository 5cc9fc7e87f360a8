"""One row per instruction of the program as it lay in device memory: what it is, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..neff.debug_info import BIR_SCHEMA
from ..neff.program import Neff
from ..neff.stacks import Stacks
from ..wire import Source
from . import opcodes
from .code import compiler_pcs, image
from .metadata import Capture, Graph
from .operands import SCHEMA as OPERANDS
from .operands import decode

Ints = NDArray[np.int64]

_PSEUDO = {0xD4: "PSEUDO_DMA_DIRECT2D"}
_LOCATION = pl.when(pl.col("line").is_not_null()).then(pl.format("{}:{}", "file", "line"))
_REGULAR = pl.when(pl.col("raw_bir_id").is_not_null()).then(pl.lit("REGULAR"))


@dataclass(frozen=True, slots=True)
class ProgramTable:
    """The program of all cores and engines.

    Attributes:
        rows: one row per instruction, the columns of Instruction that do not change from one execution to the next.
        first: row of pc 0 by [core, engine].
        engine: index of each row's engine.
        waits: which rows only wait for others, and so do not count as busy.
        mismatches: instructions whose opcode differs from the NEFF's program and that the runtime does not rewrite.
    """

    rows: pl.DataFrame
    first: NDArray[np.int64]
    engine: NDArray[np.uint8]
    waits: NDArray[np.bool_]
    mismatches: int


def program_table(source: Source, capture: Capture, neff: Neff | None, stacks: Stacks) -> ProgramTable:
    """Decode every engine's program of every core."""
    parts, engines, height, mismatches = [], [np.zeros(0, np.uint8)], 0, 0
    first = np.zeros((len(capture.graphs), len(opcodes.ENGINES)), np.int64)
    for graph in capture.graphs:
        images = [image(source, graph, engine) for engine in range(len(opcodes.ENGINES))]
        found = [_engine(raw, graph, engine, neff) for engine, raw in enumerate(images)]
        names: Mapping[int, str] = neff.semaphores.get(graph.name, {}) if neff else {}
        own = min((index for index, name in names.items() if name == "GpSimd"), default=0)
        rows = pl.concat([rows for rows, _ in found], rechunk=True)
        parts.append(rows.hstack(decode(np.concatenate(images), names, own)))
        sizes = [len(raw) for raw in images]
        first[graph.core] = height + np.cumsum([0, *sizes[:-1]])
        engines.append(np.repeat(np.arange(len(sizes), dtype=np.uint8), sizes))
        mismatches += sum(wrong for _, wrong in found)
        height += parts[-1].height
    rows = pl.concat(parts) if parts else pl.DataFrame()
    if rows.width:
        rows = stacks.locate(
            rows.with_columns(tensor_instruction_type=pl.coalesce("tensor_instruction_type", _REGULAR))
        ).with_columns(nki_source_location=_LOCATION)
    waits = (rows["opcode"] == "EVENT_SEMAPHORE").to_numpy() if height else np.zeros(0, bool)
    return ProgramTable(rows, first, np.concatenate(engines), waits, mismatches)


def _engine(raw: NDArray[np.uint8], graph: Graph, engine: int, neff: Neff | None) -> tuple[pl.DataFrame, int]:
    """Where the program of one engine came from, and how many of its opcodes differ from the NEFF's."""
    compiled, code = compiler_pcs(graph, engine), raw[:, 0]
    original = _originals(neff.image(graph.name, engine) if neff else b"", compiled)
    wrong = (original >= 0) & (original != code) & ~np.isin(original, _LOWERED)
    columns = {
        "pc": pl.Series(np.arange(len(code))),
        "opcode": opcodes.names(code),
        "compiler_pc": pl.Series(compiled).replace(-1, None),
        "compiler_opcode": pl.Series(original).replace_strict(_PSEUDO, default=None, return_dtype=pl.String),
        "raw_bir_id": pl.Series(_bir_ids(neff, graph.name, engine, compiled)).replace(-1, None),
    }
    name = opcodes.ENGINES[engine]
    track = pl.when(pl.col("opcode") == "MATMUL").then(pl.lit("TensorMatrix")).otherwise(pl.lit(name))
    where = {"engine": pl.lit(name), "timeline_track": track, "pcore_idx": pl.lit(graph.core, pl.Int64)}
    rows = pl.DataFrame(columns).with_columns(**where)
    return _with_names(rows, neff, graph.name, engine), int(wrong.sum())


# Opcodes of the compiler that the runtime rewrites into others: seen in every NEFF with its NTFF.
_LOWERED = (0xC1, 0xCE, 0xD4)


def _originals(flat: bytes, compiled: Ints) -> Ints:
    """The compiler's opcode byte of each instruction, -1 where there is none."""
    codes = np.frombuffer(flat[: len(flat) // 64 * 64], np.uint8).reshape(-1, 64)[:, 0].astype(np.int64)
    inside = (compiled >= 0) & (compiled < len(codes))
    return np.where(inside, np.append(codes, -1)[np.where(inside, compiled, len(codes))], -1)


def _bir_ids(neff: Neff | None, core: str, engine: int, compiled: Ints) -> Ints:
    """The BIR id of each instruction, -1 without one."""
    debug = neff.debug.get((core, engine)) if neff else None
    if debug is None:
        return np.full(len(compiled), -1, np.int64)
    inside = (compiled >= 0) & (compiled < len(debug.bir))
    return np.where(inside, np.append(debug.bir, -1)[np.where(inside, compiled, len(debug.bir))], -1)


def _with_names(rows: pl.DataFrame, neff: Neff | None, core: str, engine: int) -> pl.DataFrame:
    """BIR name and source line of each instruction."""
    debug = neff.debug.get((core, engine)) if neff else None
    known = debug.instructions if debug else pl.DataFrame(schema=BIR_SCHEMA)
    number = core.removeprefix("sg")
    prefix = f"sg{int(number):04d}:" if number.isdecimal() and len(number) < 5 else f"{core}:"
    named = rows.join(known, on="raw_bir_id", how="left", maintain_order="left")
    return named.with_columns(
        bir_id=prefix + pl.col("raw_bir_id").cast(pl.String),
        penguin_id=prefix + pl.col("raw_penguin_id").cast(pl.String),
    )


COLUMNS = (
    "engine",
    "timeline_track",
    "pcore_idx",
    "pc",
    "opcode",
    "compiler_pc",
    "compiler_opcode",
    *OPERANDS,
    *BIR_SCHEMA,
    "bir_id",
    "penguin_id",
    "stack_frame_id",
    "iteration_variable_id",
    "nki_source_location",
)
