"""Traces written by hand: a builder of trace columns, as docs/contracts.md names them, for tests of the clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nkilab.clock.program import itemsize

ENGINE = ("tensor", "vector", "scalar", "gpsimd", "sync")
FLAG = ("transpose", "accumulate", "double_row", "fp32_passes", "reduce_result", "dma_transpose", "dynamic_address")
FLAG += ("indirect", "onezero", "mx", "static_descriptors", "swdge", "hwdge", "cast", "no_reorder")
KIND = ("input", "output", "internal", "constant")
SPACE = ("hbm", "sbuf", "psum")


@dataclass
class Tensor:
    """One allocation: `bytes` in a partition, or of the whole tensor in HBM, whose rows have `width` elements."""

    row: int
    space: str
    dtype: str
    partitions: int
    width: int

    def at(self, p0: int = 0, p1: int | None = None, c0: int = 0, c1: int | None = None) -> Box:
        """Rows (or partitions) p0 to p1 and columns c0 to c1."""
        return Box(self, p0, self.partitions if p1 is None else p1, c0, self.width if c1 is None else c1)


@dataclass
class Box:
    """A box of a tensor, as an operand; `step` elements apart in the innermost dimension."""

    tensor: Tensor
    p0: int
    p1: int
    c0: int
    c1: int
    step: int = 1

    def record(self) -> tuple[int, ...]:
        """p0, p1, b0, b1, elements, run, stride, strided."""
        size, columns = itemsize(self.tensor.dtype), self.c1 - self.c0
        if self.tensor.space != "hbm":
            span = ((columns - 1) * self.step + 1) * size
            run = columns * size if self.step == 1 else size
            return (
                self.p0,
                self.p1,
                self.c0 * size,
                self.c0 * size + span,
                columns,
                run,
                size * self.step,
                int(self.step > 1),
            )
        pitch, rows = self.tensor.width * size, self.p1 - self.p0
        whole = columns == self.tensor.width or rows == 1
        start = self.p0 * pitch + self.c0 * size
        stop = start + (rows - 1) * pitch + columns * size
        return 0, 1, start, stop, rows * columns, columns * size * (rows if whole else 1), size, int(not whole)


@dataclass
class TraceBuilder:
    """Rows of the three tables that the clock reads."""

    instructions: list[tuple[Any, ...]] = field(default_factory=list)
    accesses: list[tuple[Any, ...]] = field(default_factory=list)
    tensors: list[tuple[Any, ...]] = field(default_factory=list)
    lists: dict[str, dict[str, int]] = field(
        default_factory=lambda: {"api": {}, "function": {}, "role": {}, "dtype": {}}
    )
    core: int = 0
    array: dict[int, int] = field(default_factory=dict)

    def code(self, name: str, value: str) -> int:
        return self.lists[name].setdefault(value, len(self.lists[name]))

    def tensor(
        self,
        space: str,
        width: int,
        partitions: int = 128,
        dtype: str = "float32",
        kind: str = "internal",
        address: int = -1,
    ) -> Tensor:
        size = width * itemsize(dtype) * (partitions if space == "hbm" else 1)
        self.tensors.append((SPACE.index(space), partitions, size, address, KIND.index(kind)))
        return Tensor(len(self.tensors) - 1, space, dtype, partitions, width)

    def sbuf(self, width: int, **given: Any) -> Tensor:
        return self.tensor("sbuf", width, **given)

    def psum(self, width: int, **given: Any) -> Tensor:
        return self.tensor("psum", width, **given)

    def add(
        self,
        api: str,
        engine: str | None,
        writes: dict[str, Box | Tensor],
        reads: dict[str, Box | Tensor],
        *,
        function: str = "",
        flags: tuple[str, ...] = (),
        engines: tuple[str, ...] = (),
    ) -> int:
        """Append one instruction; its elements are those of its first read, or of its first write."""
        operands = [
            (role, box if isinstance(box, Box) else box.at(), role in writes) for role, box in (writes | reads).items()
        ]
        named = {role: box for role, box, _ in operands}
        first = named.get("moving") or next(
            iter(reads[r] if isinstance(reads[r], Box) else reads[r].at() for r in reads), operands[0][1]
        )
        stationary = named["stationary"].c1 - named["stationary"].c0 if "stationary" in named else 0
        row = len(self.instructions)
        self.instructions.append(
            (
                0,
                self.core,
                self.code("api", api),
                -1 if engine is None else ENGINE.index(engine),
                sum(1 << ENGINE.index(name) for name in (engines or ([engine] if engine else []))),
                self.code("function", function) if function else -1,
                first.p1 - first.p0,
                first.c1 - first.c0,
                stationary,
                sum(1 << FLAG.index(name) for name in flags),
            )
        )
        for role, box, write in operands:
            tensor = box.tensor
            start = (
                row,
                self.code("role", role),
                write,
                tensor.row,
                SPACE.index(tensor.space),
                self.code("dtype", tensor.dtype),
            )
            self.accesses.append((*start, *box.record()))
        return row

    def dma(self, dst: Box | Tensor, src: Box | Tensor, **given: Any) -> int:
        return self.add("dma_copy", given.pop("engine", None), {"dst": dst}, {"src": src}, **given)

    def matmul(self, dst: Box | Tensor, stationary: Box | Tensor, moving: Box | Tensor) -> int:
        return self.add("nc_matmul", "tensor", {"dst": dst}, {"stationary": stationary, "moving": moving})

    def copy(self, dst: Box | Tensor, src: Box | Tensor, engine: str = "vector") -> int:
        return self.add("tensor_copy", engine, {"dst": dst}, {"src": src})

    def build(self) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, tuple[str, ...]]]:
        """The columns and name lists."""
        tables = {
            "instructions": (
                "rank core api engine engines function partitions elements stationary flags",
                self.instructions,
            ),
            "accesses": (
                "instruction role write tensor space dtype p0 p1 b0 b1 elements run stride strided",
                self.accesses,
            ),
            "tensors": ("space partitions bytes address kind", self.tensors),
        }
        columns = {}
        for name, (keys, rows) in tables.items():
            values = np.array(rows, np.int64).reshape(-1, len(keys.split()))
            columns[name] = {key: values[:, i].copy() for i, key in enumerate(keys.split())}
        columns["instructions"]["array"] = np.array(
            [self.array.get(i, 0) for i in range(len(self.instructions))], np.int32
        )
        for key in ("write", "strided"):
            columns["accesses"][key] = columns["accesses"][key].astype(np.bool_)
        columns["accesses"]["view"] = np.zeros(len(self.accesses), np.int32)
        names = {name: tuple(values) for name, values in self.lists.items()}
        return columns, {**names, "flag": FLAG, "kind": KIND, "engine": ENGINE}
