"""The trace of one core, as the clock's passes see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nkilab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Table = dict[str, npt.NDArray[Any]]

HBM, SBUF, PSUM = 0, 1, 2
TENSOR, VECTOR, SCALAR, GPSIMD, SYNC = range(5)
ENGINES = ("tensor", "vector", "scalar", "gpsimd", "sync")
DMA_APIS = ("dma_copy", "dma_transpose", "dma_compute", "sendrecv")

_ITEMSIZE = {"64": 8, "32": 4, "16": 2, "8": 1}
_INSTRUCTION = ("rank", "core", "api", "engine", "engines", "function", "partitions", "elements", "stationary", "flags")
_ACCESS = (
    "instruction",
    "role",
    "write",
    "tensor",
    "space",
    "dtype",
    "p0",
    "p1",
    "b0",
    "b1",
    "elements",
    "run",
    "stride",
    "strided",
    "view",
)
_TENSOR = ("space", "partitions", "bytes", "address", "kind")


@dataclass(frozen=True, slots=True)
class Program:
    """One core's instructions in the order in which they are issued, their operands, and all tensors.

    `rows` are the trace rows of the instructions; `accesses["instruction"]` counts within this program;
    `tensors["written"]`: whether any core writes it.
    """

    rows: Ints
    instructions: Table
    accesses: Table
    tensors: Table
    names: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.rows)

    def flag(self, name: str) -> Bools:
        """Which instructions have a flag; none where the trace does not know it."""
        if name not in self.names["flag"]:
            return np.zeros(len(self), np.bool_)
        found: Bools = (self.instructions["flags"] & (1 << self.names["flag"].index(name))) != 0
        return found

    def api(self, *wanted: str) -> Bools:
        """Which instructions are one of these `nki.isa` functions."""
        codes = [code for code, name in enumerate(self.names["api"]) if name in wanted]
        return np.isin(self.instructions["api"], codes)

    def role(self, *wanted: str) -> Bools:
        """Which accesses have one of these roles."""
        codes = [code for code, name in enumerate(self.names["role"]) if name in wanted]
        return np.isin(self.accesses["role"], codes)

    def any(self, of_access: Bools) -> Bools:
        """Which instructions have at least one such access."""
        return np.bincount(self.accesses["instruction"][of_access], minlength=len(self)) > 0

    def itemsize(self) -> Ints:
        """Bytes of an element of each access."""
        return np.array([itemsize(name) for name in self.names["dtype"]] or [1], np.int64)[self.accesses["dtype"]]

    def permuted(self, order: Ints) -> Program:
        """The same program with its instructions in another order."""
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        instruction = place[self.accesses["instruction"]]
        sort = np.argsort(instruction, kind="stable")
        accesses = {name: column[sort] for name, column in self.accesses.items()}
        accesses["instruction"] = instruction[sort]
        instructions = {name: column[order] for name, column in self.instructions.items()}
        return Program(self.rows[order], instructions, accesses, self.tensors, self.names)


def itemsize(dtype: str) -> int:
    """Bytes of an element of an NKI dtype; four packed fp8 take 4, four packed fp4 take 2."""
    if dtype.endswith("_x4"):
        return 2 if dtype.startswith("float4") else 4
    if dtype.startswith("bool"):
        return 1
    bits = "".join(
        c if c.isdigit() else " " for c in dtype.split("_", maxsplit=1)[0].replace("tfloat32", "float32")
    ).split()
    return _ITEMSIZE.get(bits[0] if bits else "", 4)


def programs(columns: Mapping[str, Mapping[str, Any]], names: Mapping[str, tuple[str, ...]]) -> list[Program]:
    """One program per rank and core of a trace.

    Raises:
        UsageError: the trace lacks a table, a column or a list of names.
    """
    tables = {
        name: {key: np.asarray(columns.get(name, {}).get(key, ())) for key in keys if _present(columns, name, key)}
        for name, keys in (("instructions", _INSTRUCTION), ("accesses", _ACCESS), ("tensors", _TENSOR))
    }
    for name in ("api", "flag", "role", "dtype", "kind", "function"):
        if name not in names:
            raise UsageError(f"the trace has no names[{name!r}]", rule="docs/contracts.md, Simulator to clock")
    instructions, accesses = tables["instructions"], tables["accesses"]
    written = np.bincount(accesses["tensor"][accesses["write"]], minlength=len(tables["tensors"]["bytes"])) > 0
    tables["tensors"]["written"] = written
    whole = np.zeros(len(instructions["rank"]), np.int32)
    instructions["array"] = np.asarray(columns["instructions"].get("array", whole))
    keys = instructions["rank"].astype(np.int64) * 256 + instructions["core"]
    found = np.unique(keys)
    if len(found) <= 1:
        return [Program(np.arange(len(keys)), instructions, accesses, tables["tensors"], names)]
    return [_select(instructions, accesses, tables["tensors"], names, keys == key) for key in found]


def _present(columns: Mapping[str, Mapping[str, Any]], table: str, key: str) -> bool:
    if key not in columns.get(table, {}):
        raise UsageError(f"the trace has no column {table}.{key}", rule="docs/contracts.md, Simulator to clock")
    return True


def _select(
    instructions: Table, accesses: Table, tensors: Table, names: Mapping[str, tuple[str, ...]], mine: Bools
) -> Program:
    rows = np.flatnonzero(mine)
    place = np.cumsum(mine) - 1
    kept = mine[accesses["instruction"]]
    own = {name: column[kept] for name, column in accesses.items()}
    own["instruction"] = place[own["instruction"]]
    return Program(rows, {name: column[rows] for name, column in instructions.items()}, own, tensors, names)
