"""Checks of one instruction: the general rules of operands, and the helper that the instructions' own rules use."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from enum import Enum
from numbers import Number
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from . import columns
from .constants import dge_mode, dma_engine, matmul_perf_mode, oob_mode, reduce_cmd
from .constants import engine as engine_enum
from .dynamic import is_scalar
from .errors import KernelError
from .handles import is_placeholder
from .layout import HBM, PSUM, SPACE_NAMES
from .tensor import NkiTensor
from .trace import ENGINES

if TYPE_CHECKING:
    from .context import Context
    from .instruction import Instruction, Operand

_ENUMS: dict[str, type[Enum]] = {
    "engine": engine_enum,
    "reduce_cmd": reduce_cmd,
    "dge_mode": dge_mode,
    "oob_mode": oob_mode,
    "perf_mode": matmul_perf_mode,
    "dma_engine": dma_engine,
}
GENERATIONS = {2: "trn1", 3: "trn2", 4: "trn3"}


@dataclass(slots=True)
class Check:
    """One instruction under check; rules read operands by name and may set what the trace says of it."""

    context: Context
    what: Instruction
    operands: tuple[Any, ...]
    options: tuple[Any, ...]
    engines: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)
    partitions: int = 0
    elements: int = 0
    stationary: int = 0
    flops: int = 0
    array: int = 0

    @property
    def generation(self) -> int:
        """NeuronCore generation of the target."""
        return self.context.generation

    def __getitem__(self, name: str) -> Any:
        """Operand of that name."""
        for operand, value in zip(self.what.operands, self.operands, strict=True):
            if operand.name == name:
                return value
        raise KeyError(name)

    def option(self, name: str) -> Any:
        """Option of that name."""
        return self.options[self.what.options.index(name)]

    def run(self) -> None:
        """Apply the general rules, then the instruction's own.

        Raises:
            KernelError: at the first rule broken.
        """
        self.engines = list(self.what.engines)
        if self.generation < self.what.since:
            self.fail(
                "target",
                f"is not on {GENERATIONS[self.generation]}",
                rule=f"needs {GENERATIONS[self.what.since]} or newer (NeuronCore-v{self.what.since})",
                fix=f'simulate with Sim(target="{GENERATIONS[self.what.since]}"), or use other instructions',
            )
        for option, kind in _ENUMS.items():
            if option in self.what.options and not isinstance(self.option(option), kind | None):
                self.fail(
                    "argument",
                    f"{option}={self.option(option)!r}",
                    rule=f"a member of nisa.{kind.__name__}; numbers and names are not taken",
                    source="NKI 0.3.0 release notes, Breaking Changes",
                    fix=f"pass nisa.{kind.__name__}.{next(iter(kind)).name}, for example",
                )
        for operand, value in zip(self.what.operands, self.operands, strict=True):
            self._operand(operand, value)
        if self.what.same_partitions:
            self._same_partitions()
        first = self.tensors()[0][1] if self.tensors() else None
        if first is not None:
            self.partitions = first.layout.partitions
            self.elements = max(t.layout.per_partition for _, t in self.tensors())
        for rule in self.what.rules:
            rule(self)
        columns.rules(self)

    def tensors(self) -> list[tuple[Operand, NkiTensor]]:
        """Operands that are tensors, in order."""
        pairs = zip(self.what.operands, self.operands, strict=True)
        return [(operand, value) for operand, value in pairs if isinstance(value, NkiTensor)]

    def fail(
        self, code: str, what: str, *, values: str = "", rule: str = "", source: str = "", fix: str = ""
    ) -> NoReturn:
        """Raise the KernelError of a broken rule."""
        raise KernelError(
            code,
            f"nisa.{self.what.api}: {what}",
            values=values or self.shown(),
            rule=rule,
            source=source or self.what.source or f"nki.isa.{self.what.api}",
            fix=fix,
        )

    def shown(self) -> str:
        """The operands as the user would recognise them."""
        return ", ".join(
            f"{operand.name}={_show(value)}" for operand, value in zip(self.what.operands, self.operands, strict=True)
        )

    def engine_columns(self) -> tuple[int, int]:
        """The engine (-1 where it is left to the clock's policy) and the mask of engines that may run it."""
        numbers = [ENGINES.index(name) for name in self.engines]
        return (numbers[0] if len(numbers) == 1 else -1), sum(1 << n for n in numbers)

    def choose(self, engine: Any, allowed: tuple[str, ...] | None = None) -> None:
        """Restrict the engines to the `engine` argument.

        Raises:
            KernelError: that engine cannot run this instruction.
        """
        if allowed is not None:
            self.engines = [name for name in self.engines if name in allowed]
        if engine is None or engine == engine_enum.unknown:
            return
        name = getattr(engine, "name", str(engine))
        if name not in self.engines:
            self.fail(
                "engine",
                f"cannot run on engine.{name}",
                rule=f"engines for these operands: {', '.join(self.engines) or 'none'}",
                fix="leave engine out, or choose one of these",
            )
        self.engines = [name]

    def without_gpsimd_in_psum(self) -> None:
        """GpSimd cannot reach PSUM (architecture guide): leave it out where an operand is there."""
        if any(t.layout.space == PSUM for _, t in self.tensors()) and "gpsimd" in self.engines:
            self.engines.remove("gpsimd")

    def report_untested(self) -> None:
        """Add the finding of an operation whose values the documentation leaves open."""
        place = self.context.sources.place(inspect.currentframe(), [])
        self.context.report("untested-operation", f"nisa.{self.what.api} on {GENERATIONS[self.generation]}", place.site)

    def _operand(self, operand: Operand, value: Any) -> None:
        if value is None:
            if not operand.optional:
                self.fail("argument", f"{operand.name} is None", rule=f"{operand.name} must be a tensor")
            return
        if not isinstance(value, NkiTensor):
            if operand.number and (isinstance(value, Number | np.generic) or is_scalar(value)):
                return
            expected = "a tensor or a number" if operand.number else "a tensor"
            self.fail("argument", f"{operand.name} is {_show(value)}", rule=f"{operand.name} must be {expected}")
        layout = value.layout
        if is_placeholder(value):
            self.fail("argument", f"{operand.name} has no storage", rule="allocate tensors with nl.ndarray")
        if layout.space not in operand.spaces:
            allowed = " or ".join(SPACE_NAMES[s].upper() for s in operand.spaces)
            self.fail(
                "buffer",
                f"{operand.name} is in {SPACE_NAMES[layout.space].upper()}",
                rule=f"{operand.name} must be in {allowed}",
                fix=_move(layout.space, operand.spaces),
            )
        if operand.dtypes is not None and layout.dtype not in operand.dtypes:
            self.fail(
                "dtype",
                f"{operand.name} has dtype {layout.dtype}",
                rule=f"{operand.name} must be one of {', '.join(operand.dtypes)}",
                fix="copy it into a tile of an allowed dtype first (nisa.tensor_copy casts)",
            )
        if layout.space != HBM:
            self._on_chip(operand, value)
        if operand.vector and layout.per_partition != 1:
            self.fail(
                "shape",
                f"{operand.name} has {layout.per_partition} elements per partition",
                rule=f"{operand.name} has one element per partition: shape ({layout.partitions}, 1)",
            )

    def _on_chip(self, operand: Operand, tensor: NkiTensor) -> None:
        layout, hardware = tensor.layout, self.context.hardware
        if self.generation not in layout.dtype.generations:
            self.fail(
                "dtype",
                f"{operand.name} has dtype {layout.dtype}, which {GENERATIONS[self.generation]} does not have",
                rule=f"{layout.dtype} exists on {', '.join(GENERATIONS[g] for g in layout.dtype.generations)}",
                source="nki.api.shared, Supported Data Types",
            )
        if not set(self.what.engines) - {"sync"}:
            return  # DMA and register moves reach any partition with any pattern
        for most, starts in hardware.access.partition_starts:
            if layout.partitions <= most:
                if layout.first_partition not in starts:
                    self.fail(
                        "limit",
                        f"{operand.name} starts at partition {layout.first_partition}",
                        rule=f"an access to {layout.partitions} partitions starts at one of {', '.join(map(str, starts))}",
                        source=hardware.source("access.partition_starts").source,
                        fix="move the data to an allowed start partition with nisa.dma_copy",
                    )
                break
        if _free_dims(tensor) > hardware.access.free_dims:
            self.fail(
                "limit",
                f"the access pattern of {operand.name} has {_free_dims(tensor)} free dimensions",
                values=f"{operand.name}: shape {tensor.shape}, strides {tensor.strides}",
                rule=f"at most {hardware.access.free_dims} free dimensions",
                source=hardware.source("access.free_dims").source,
            )

    def _same_partitions(self) -> None:
        tiles = [(o, t) for o, t in self.tensors() if t.layout.space != HBM]
        for operand, tensor in tiles[1:]:
            if tensor.layout.partitions != tiles[0][1].layout.partitions:
                self.fail(
                    "shape",
                    f"{operand.name} has {tensor.layout.partitions} partitions, "
                    f"{tiles[0][0].name} has {tiles[0][1].layout.partitions}",
                    rule="all tiles of the instruction have the same number of partitions",
                )


def _show(value: Any) -> str:
    if isinstance(value, NkiTensor):
        return f"{value.buffer.value} {value.dtype}{list(value.shape)}"
    return repr(value) if len(repr(value)) < 80 else f"a {type(value).__name__}"


def _move(space: int, allowed: tuple[int, ...]) -> str:
    if space == HBM:
        return "load it into SBUF with nisa.dma_copy first"
    if HBM in allowed and space == PSUM:
        return "copy it to SBUF with nisa.tensor_copy first: DMA does not reach PSUM"
    return "copy it with nisa.tensor_copy first" if space == PSUM else "allocate it in the other buffer"


def _free_dims(tensor: NkiTensor) -> int:
    """Free dimensions of the access pattern after merging contiguous ones."""
    count, inner = 0, None
    for n, s in zip(reversed(tensor.shape[1:]), reversed(tensor.strides[1:]), strict=True):
        if n == 1:
            continue
        if inner is None or s != inner:
            count += 1
        inner = n * s
    return count
