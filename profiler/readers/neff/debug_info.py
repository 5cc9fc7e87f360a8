"""The .dbg members of a NEFF: which BIR instruction each compiled instruction came from, and from which source line.

`debug_info_asm_<engine>.dbg`: its i-th entry belongs to compiler pc i and lists BIR ids.
`debug_info_backend_<engine>.dbg`: BIR id, name, ids of the form before it (penguin), dependencies, and with NEURON_FRAMEWORK_DEBUG=1 the kernel's file, line
and name. Field numbers were found in real files; there is no public schema.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..wire import Columns, Message, Source

Ints = NDArray[np.int64]
DEPENDENCES = (None, "ORDERED", "ANTI_DEPENDENCE", "OUTPUT_DEPENDENCE", "FLOW_DEPENDENCE")
BIR_SCHEMA: dict[str, type[pl.DataType]] = {
    "raw_bir_id": pl.Int64,
    "bir_instruction_name": pl.String,
    "raw_penguin_id": pl.Int64,
    "file": pl.String,
    "line": pl.Int64,
    "function": pl.String,
}
DEPENDENCE_SCHEMA = {"raw_bir_id": pl.Int64, "on": pl.Int64, "kind": pl.UInt8}
_MAX_DIGITS = 18


@dataclass(frozen=True, slots=True, eq=False)
class EngineDebug:
    """Debug info of one engine on one core.

    Attributes:
        bir: per compiler pc, the BIR id of its last entry, -1 without one.
        instructions: one row per BIR instruction: `BIR_SCHEMA`; file, line and function null where not recorded.
        dependences: one row per dependence of a BIR instruction on another: `DEPENDENCE_SCHEMA`;
            kind is an index into `DEPENDENCES`.
    """

    bir: Ints
    instructions: pl.DataFrame
    dependences: pl.DataFrame


def engine_debug(asm: Source | None, backend: Source | None) -> EngineDebug:
    """Read both files of one engine; an absent one gives empty tables.

    Raises:
        InputError: malformed.
    """
    bir = _bir_ids(Message.parse(asm, field="debug_info_asm")) if asm else np.zeros(0, np.int64)
    if backend is None:
        return EngineDebug(bir, pl.DataFrame(schema=BIR_SCHEMA), pl.DataFrame(schema=DEPENDENCE_SCHEMA))
    top = Message.parse(backend, field="debug_info_backend")
    rows = top.rows(3)
    ids = rows.ints(1)
    start, end = rows.spans(2)
    frame = pl.DataFrame({"raw_bir_id": ids, "bir_instruction_name": _texts(backend, start, end)})
    frame = frame.with_columns(_parents(rows), *_sources(top, rows))[firsts(ids)]
    return EngineDebug(
        bir, frame.select(pl.col(name).cast(dtype) for name, dtype in BIR_SCHEMA.items()), _dependences(rows, ids)
    )


def _bir_ids(top: Message) -> Ints:
    """Per compiler pc, its BIR id."""
    rows = top.rows(3)
    owner, value = rows.packed(3)
    out = np.full(rows.count, -1, np.int64)
    out[owner] = value
    return out


def _parents(rows: Columns) -> pl.Series:
    """The one penguin id of each BIR instruction, null where it has none or several."""
    owner, parent = rows.packed(3)
    alone = np.bincount(owner, minlength=rows.count)[owner] == 1
    out = np.full(rows.count, -1, np.int64)
    out[owner[alone]] = parent[alone]
    return pl.Series("raw_penguin_id", out).replace(-1, None)


def _texts(source: Source, start: Ints, end: Ints) -> list[str]:
    """The text of each span."""
    data = bytes(source.data)
    return [data[a:b].decode("utf-8", "replace") for a, b in zip(start.tolist(), end.tolist(), strict=True)]


def _sources(top: Message, rows: Columns) -> tuple[pl.Series, pl.Series, pl.Series]:
    """File, line and function of each BIR instruction, from its key-value pairs."""
    owner, pairs = rows.rows(7)
    key, value = pairs.spans(1), pairs.spans(2)
    data = np.frombuffer(top.source.data, np.uint8)
    numbers = _decimal(data, *value)
    found = {}
    for name in ("kernel_file", "kernel_line", "kernel_name"):
        column = np.full(rows.count, -1, np.int64)
        pick = _equals(data, *key, name.encode())
        column[owner[pick]] = numbers[pick]
        found[name] = column
    line = found["kernel_line"]
    return (
        _named(top.texts(5), found["kernel_file"]).alias("file"),
        pl.Series("line", line).replace(-1, None),
        _named(top.texts(7), found["kernel_name"]).alias("function"),
    )


def _named(names: tuple[str, ...], index: Ints) -> pl.Series:
    """The name of each index, null outside."""
    inside = (index >= 0) & (index < len(names))
    table = pl.Series([*names, None], dtype=pl.String)
    return table.gather(np.where(inside, index, len(names)))


def _equals(data: NDArray[np.uint8], start: Ints, end: Ints, word: bytes) -> NDArray[np.bool_]:
    """Whether each span holds exactly `word`."""
    out: NDArray[np.bool_] = end - start == len(word)
    at = start[out][:, None] + np.arange(len(word))
    out[out] = (data[at] == np.frombuffer(word, np.uint8)).all(axis=1)
    return out


def _decimal(data: NDArray[np.uint8], start: Ints, end: Ints) -> Ints:
    """Each span as a decimal number, -1 where it is none."""
    size = end - start
    out = np.where((size > 0) & (size <= _MAX_DIGITS), 0, -1)
    for place in range(_MAX_DIGITS):
        here = np.flatnonzero((place < size) & (out >= 0))
        digit = data[start[here] + place].astype(np.int64) - ord("0")
        out[here] = np.where((digit >= 0) & (digit <= 9), out[here] * 10 + digit, -1)
    return out


def _dependences(rows: Columns, ids: Ints) -> pl.DataFrame:
    """What each BIR instruction depends on: data dependences first, then scheduling ones, each pair once."""
    parts = []
    for target, kind in ((4, 9), (5, 10)):
        owner, on = rows.packed(target)
        also, code = rows.packed(kind)
        code = code if np.array_equal(owner, also) else np.zeros(len(owner), np.int64)
        code = np.where((code >= 0) & (code < len(DEPENDENCES)), code, 0)
        parts.append((ids[owner], on, code.astype(np.uint8)))
    which, on, kinds = (np.concatenate(column) for column in zip(*parts, strict=True))
    first = firsts(which, on)
    return pl.DataFrame({"raw_bir_id": which[first], "on": on[first], "kind": kinds[first]}, DEPENDENCE_SCHEMA)


def firsts(*keys: Ints) -> Ints:
    """The first row of each combination of keys, in order of rows. `DataFrame.unique` takes ten times the memory."""
    order = np.lexsort(keys)
    new = np.zeros(max(len(order) - 1, 0), bool)
    for key in keys:
        new |= np.diff(key[order]) != 0
    return np.sort(order[np.append(True, new)[: len(order)]])
