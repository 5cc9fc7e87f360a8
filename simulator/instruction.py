"""What an instruction is, and how one is issued.

An instruction is described once (`Instruction`): its operands, engines, rules and value function. The first call with
given operand layouts and options is checked and becomes a `Plan`; later calls of the same plan only record where their
operands lie, check that what they read was written, and compute.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import columns
from .check import Check
from .columns import Columns
from .constants import oob_mode
from .context import Context, current
from .dynamic import check_rows, gather, is_scalar, mark_rows, resolve, table
from .errors import KernelError
from .handle import NkiInstruction, handle_of
from .layout import HBM, PSUM, SBUF, Layout
from .races import remember_rows, remember_value
from .registers import origins_of, value_of
from .tensor import NkiTensor
from .trace import FLAG, Shape
from .values.dtypes import DType
from .written import ALL

ON_CHIP = (SBUF, PSUM)
ANYWHERE = (HBM, SBUF, PSUM)
DMA_SPACES = (HBM, SBUF)


@dataclass(frozen=True, slots=True)
class Operand:
    """One operand.

    Attributes:
        name: parameter name, also its role in the trace.
        write: whether the instruction writes it.
        spaces: memories it may lie in.
        number: whether a compile-time number may stand for it.
        optional: whether None may.
        vector: whether it has one element per partition.
        dtypes: names of the data types it may have; None for all of the generation.
        columns: whether a view by `NkiTensor.indirect` may stand for it.
    """

    name: str
    write: bool = False
    spaces: tuple[int, ...] = ON_CHIP
    number: bool = False
    optional: bool = False
    vector: bool = False
    dtypes: tuple[str, ...] | None = None
    columns: bool = False


def dst(
    *,
    name: str = "dst",
    spaces: tuple[int, ...] = ON_CHIP,
    dtypes: tuple[str, ...] | None = None,
    columns: bool = False,
) -> Operand:
    """A written tile."""
    return Operand(name, write=True, spaces=spaces, dtypes=dtypes, columns=columns)


Rule = Callable[[Check], None]
Value = Callable[["Step"], Any]


@dataclass(frozen=True, slots=True, eq=False)
class Instruction:
    """The description of one `nki.isa` function.

    Attributes:
        api: its name.
        operands: in the order in which `issue` gets them.
        options: names of the hashable arguments that a plan depends on, in the order in which `issue` gets them.
        engines: engines that may run it, best first; empty for DMA.
        value: computes the results of the written operands (a tuple where there are several, None for one not there);
            None where these have been written before (see exchange.py).
        rules: checks of shapes, dtypes, buffers and limits; they may also set what the trace says of it.
        since: first NeuronCore generation that has it.
        same_partitions: whether all tiles have the partitions of the first.
        confidence: `supported`, or `untested` where the documentation leaves the values open.
        assumes: what the documentation leaves open of its values, and how it is decided here; "" where nothing is.
        source: where its rules come from.
        before: what it does before its operands are read; gives flags of the trace and a state for `value`.
        rows: partitions that it reads of an operand, by the operand's name; None where it reads all of them.
    """

    api: str
    operands: tuple[Operand, ...]
    value: Value | None
    options: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    since: int = 2
    same_partitions: bool = True
    confidence: str = "supported"
    assumes: str = ""
    source: str = ""
    before: Callable[[Context, tuple[Any, ...], tuple[Any, ...], int], tuple[int, Any]] | None = None
    rows: Callable[[str, tuple[Any, ...]], np.ndarray | None] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A checked instruction for given layouts: its row in the trace but for the places, and what it reads and writes."""

    index: int
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    tensors: tuple[int, ...]
    outs: tuple[DType | None, ...]
    dynamic: bool
    engine: int


@dataclass(frozen=True, slots=True)
class Partial:
    """A result of which only the elements where `mask` holds are written."""

    array: np.ndarray
    mask: np.ndarray


@dataclass(slots=True)
class Step:
    """One execution of a plan, as its value function sees it: `step[i]` is operand i as stored array or number."""

    context: Context
    plan: Plan
    operands: tuple[Any, ...]
    options: tuple[Any, ...]
    extra: tuple[Any, ...]
    state: Any = None
    site: int = -1
    inside: np.ndarray | None = None

    def __getitem__(self, position: int) -> Any:
        operand = self.operands[position]
        if type(operand) is not NkiTensor:
            return value_of(operand) if is_scalar(operand) else operand
        indirection = operand.indirection
        if indirection is None:
            return operand.storage.array(operand.layout, operand.byte)
        if isinstance(indirection, Columns):
            found = columns.offsets(self.context, operand, indirection, self.plan.engine, self.site)
            return columns.gather(indirection.base, found)
        rows, self.inside = gather(operand, skip=oob_mode.skip in self.options)
        return rows

    def out(self, position: int = 0) -> DType:
        """Data type that a written operand is stored in."""
        dtype = self.plan.outs[position]
        if dtype is None:
            raise TypeError(f"operand {position} is not a tensor")
        return dtype

    def shape(self, position: int = 0) -> tuple[int, ...]:
        """Shape of an operand."""
        shape: tuple[int, ...] = self.operands[position].layout.shape
        return shape


def issue(
    what: Instruction,
    operands: tuple[Any, ...],
    options: tuple[Any, ...] = (),
    extra: tuple[Any, ...] = (),
    name: str | None = None,
    uses: tuple[NkiTensor, ...] = (),
    sets: NkiTensor | None = None,
) -> NkiInstruction:
    """Check, record and execute one instruction.

    Args:
        what: its description.
        operands: tensors, numbers or None, as described.
        options: hashable arguments that its plan depends on.
        extra: arguments that only its value depends on.
        name: the user's name for it.
        uses: what the registers come from that it reads; those of run-time addresses are found here.
        sets: what stands for the register that it writes.

    Raises:
        KernelError: it cannot execute.
    """
    __tracebackhide__ = True
    context = current()
    key: list[object] = [what, options]
    for operand in operands:
        key.append(operand.layout if type(operand) is NkiTensor else type(operand))
        if type(operand) is NkiTensor and operand.indirection is not None:
            key += kind_of(operand)
    if uses or sets is not None:
        key += (len(uses), sets is None)
    found = tuple(key)
    try:
        plan = context.plans.get(found)
    except TypeError as error:  # an option that is a list, a tensor …: no rule of any instruction allows one
        raise _unhashable(what, options) from error
    if plan is None:
        plan = make_plan(context, what, operands, options, found, uses, sets)
    place, iteration = context.sources.here(sys._getframe(1))  # noqa: SLF001 (the fastest way to the caller)
    flags, skipped, state = context.order_flag, False, None
    indices: Sequence[NkiTensor] = ()
    if plan.dynamic:
        indices = index_tensors(operands)
        operands, found_flags, skipped = resolve(context, operands, plan.writes, options, place.site)
        flags |= found_flags
        if context.cores > 1:
            remember_rows(context, operands, plan.tensors, skipped=skipped)
    if what.before is not None:
        more, state = what.before(context, operands, options, place.site)
        flags |= more
    touched = context.trace.touched
    for position in plan.tensors:
        tensor = operands[position]
        storage = tensor.storage
        touched.append(storage.id)
        touched.append(tensor.byte - storage.base_byte)
    for index in (*indices, *uses) if sets is None else (*indices, *uses, sets):
        touched.append(index.storage.id)
        touched.append(index.byte - index.storage.base_byte)
    rows = context.trace.rows
    rows.extend((plan.index, place.site, place.stack, iteration, flags))
    if not skipped:
        _check_reads(context, what, plan, operands, place.site)
        masks = (
            _compute(what, Step(context, plan, operands, options, extra, state, place.site)) if context.values else None
        )
        for position in plan.writes:
            _mark(context, plan, operands[position], position, masks, place.site)
    return handle_of(len(rows) // 5 - 1, name)


def _mark(
    context: Context, plan: Plan, tensor: NkiTensor, position: int, masks: dict[int, np.ndarray] | None, site: int
) -> None:
    """Note which bytes a written operand has now."""
    storage = tensor.storage
    if isinstance(tensor.indirection, Columns):
        columns.mark_columns(context, tensor, tensor.indirection, plan.engine, site)
    elif tensor.indirection is not None:
        mark_rows(context, tensor)
    elif masks and position in masks:
        storage.mark_mask(tensor.layout, tensor.byte, masks[position])
    else:
        storage.mark(tensor.layout, tensor.byte)
    if storage.guard is not None:
        storage.guard.append(site)
        if context.cores > 1 and context.values:
            remember_value(context, tensor, plan.tensors.index(position))


def _unhashable(what: Instruction, options: tuple[Any, ...]) -> KernelError:
    """The error of options that cannot be part of a plan's key."""
    given = ", ".join(f"{name}={value!r}" for name, value in zip(what.options, options, strict=True))
    return KernelError(
        "argument",
        f"nisa.{what.api}({given})",
        rule="options are numbers, operators and members of the enumerations of nki.isa",
        source=f"nki.isa.{what.api}",
    )


def _check_reads(context: Context, what: Instruction, plan: Plan, operands: tuple[Any, ...], site: int) -> None:
    for position in plan.reads:
        tensor = operands[position]
        storage = tensor.storage
        if isinstance(tensor.indirection, Columns):
            role = what.operands[position].name
            columns.check_columns(context, tensor, tensor.indirection, plan.engine, role, what.api, site)
            continue
        if tensor.indirection is not None:
            check_rows(context, tensor, what.operands[position].name, what.api, site)
            continue
        written = storage.home.written
        if written.state != ALL and written.state_of(tensor.layout, tensor.byte) != ALL:
            role = what.operands[position].name
            rows = what.rows(role, operands) if what.rows is not None else None
            if rows is not None and written.mask(tensor.layout, tensor.byte)[rows].all():
                continue
            context.report_unwritten(storage, tensor.layout, tensor.byte, role, what.api, site)
        if storage.lost is not None and storage.is_lost(tensor.layout, tensor.byte):
            context.report_lost(storage, what.operands[position].name, what.api, site)


def _compute(what: Instruction, step: Step) -> dict[int, np.ndarray]:
    """Compute and store the results; returns the masks of operands that were written in part."""
    if what.value is None:
        return {}
    results = what.value(step)
    writes = step.plan.writes
    masks: dict[int, np.ndarray] = {}
    if not writes:
        return masks
    if len(writes) == 1:
        results = (results,)
    for position, result in zip(writes, results, strict=True):
        tensor = step.operands[position]
        if isinstance(result, Partial):
            mask = np.broadcast_to(result.mask, tensor.shape)
            masks[position] = mask
            target = tensor.storage.overwrite(tensor.layout, tensor.byte, partly=True)
            np.copyto(target, result.array.reshape(tensor.shape), where=mask)
            continue
        if isinstance(tensor.indirection, Columns):
            found = columns.offsets(step.context, tensor, tensor.indirection, step.plan.engine, step.site)
            columns.scatter(tensor.indirection.base, found, result)
            continue
        if tensor.indirection is not None:
            tensor.indirection.scatter(tensor, result)
            continue
        partly = step.inside is not None and not step.inside.all()
        target = tensor.storage.overwrite(tensor.layout, tensor.byte, partly=partly)
        value = result if result.shape == target.shape else result.reshape(target.shape)
        if step.inside is not None and partly:
            target[step.inside] = value[step.inside]
            masks[position] = np.broadcast_to(step.inside.reshape(-1, *(1,) * (target.ndim - 1)), target.shape)
        else:
            target[...] = value
    return masks


def make_plan(
    context: Context,
    what: Instruction,
    operands: tuple[Any, ...],
    options: tuple[Any, ...],
    key: tuple[object, ...],
    uses: tuple[NkiTensor, ...] = (),
    sets: NkiTensor | None = None,
) -> Plan:
    """Check an instruction against its description and keep the plan.

    Raises:
        KernelError: a rule is broken.
    """
    __tracebackhide__ = True
    check = Check(context, what, operands, options)
    check.run()
    tensors = tuple(i for i, operand in enumerate(operands) if type(operand) is NkiTensor)
    writes = tuple(i for i in tensors if what.operands[i].write)
    layouts = tuple(_box(operands[i]) for i in tensors)
    engine, mask = check.engine_columns()
    indices = [*index_tensors(operands), *uses]
    registers = [] if sets is None else [sets]
    shape = Shape(
        what.api,
        engine,
        mask,
        ",".join(check.functions),
        check.partitions,
        check.elements,
        check.stationary,
        sum(FLAG[name] for name in check.flags),
        check.flops,
        check.array,
        (*(what.operands[i].name for i in tensors), *("index" for _ in indices), *("register" for _ in registers)),
        (*(what.operands[i].write for i in tensors), *(False for _ in indices), *(True for _ in registers)),
        layouts + tuple(index.layout for index in (*indices, *registers)),
        (
            *(operands[i].size * operands[i].layout.itemsize for i in tensors),
            *(index.size * index.layout.itemsize if index.layout.space == SBUF else 0 for index in indices),
            *(0 for _ in registers),
        ),
    )
    context.trace.shapes.append(shape)
    outs = tuple(_stored(context, operand) for operand in operands)
    plan = Plan(
        index=len(context.trace.shapes) - 1,
        reads=tuple(i for i in tensors if not what.operands[i].write),
        writes=writes,
        tensors=tensors,
        outs=outs,
        dynamic=any(operands[i].indirection is not None for i in tensors),
        engine=engine,
    )
    if what.confidence == "untested":
        check.report_untested()
    context.plans[key] = plan
    return plan


def kind_of(tensor: NkiTensor) -> tuple[object, ...]:
    """What a plan depends on of a run-time address: how it is used, and the layout of an index in memory."""
    indirection = tensor.indirection
    index = None if indirection is None else indirection.index
    return (type(indirection), getattr(indirection, "rows", None), getattr(index, "layout", len(origins_of(index))))


def index_tensors(operands: tuple[Any, ...]) -> list[NkiTensor]:
    """The index tensors of operands with run-time addresses, in order; of registers what they were loaded from."""
    found = [o.indirection.index for o in operands if type(o) is NkiTensor and o.indirection is not None]
    return [tensor for index in found for tensor in ((index,) if isinstance(index, NkiTensor) else origins_of(index))]


def _box(tensor: NkiTensor) -> Layout:
    """What a view may touch: its own layout, or all rows that its run-time indices could name."""
    if isinstance(tensor.indirection, Columns):
        return tensor.indirection.base.layout
    if tensor.indirection is not None and tensor.indirection.rows:
        return table(tensor)[0]
    return tensor.layout


def _stored(context: Context, operand: Any) -> DType | None:
    if type(operand) is not NkiTensor:
        return None
    dtype = operand.dtype
    return dtype if context.precise else dtype.relaxed
