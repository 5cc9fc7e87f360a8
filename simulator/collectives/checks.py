"""What the operands of a collective must be; told at the caller's line, before anyone waits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NoReturn

from ..check import Check
from ..constants import MemoryRegion
from ..context import Context
from ..dynamic import resolve
from ..errors import KernelError
from ..instruction import Instruction, Operand
from ..layout import HBM, SBUF
from ..ops import op_name
from ..tensor import NkiTensor

_REDUCTIONS = ("add", "minimum", "maximum")


def refuse(api: str, code: str, what: str, **fields: Any) -> NoReturn:
    """Raise the KernelError of a broken rule."""
    fields.setdefault("source", f"nki.collectives.{api}")
    raise KernelError(code, f"nki.collectives.{api}: {what}", **fields)


def tensors(context: Context, api: str, name: str, given: Any) -> tuple[NkiTensor, ...]:
    """A list of tensors, run-time offsets added.

    Raises:
        KernelError: not a list of tensors in HBM or SBUF, or rows by run-time indices.
    """
    if not isinstance(given, list | tuple) or not given or not all(isinstance(t, NkiTensor) for t in given):
        refuse(api, "argument", f"{name}={given!r}", rule=f"{name} is a list of at least one tensor")
    for tensor in given:
        if tensor.layout.space not in (HBM, SBUF):
            refuse(api, "buffer", f"{name} has {tensor!r}", rule="tensors are in HBM or SBUF")
        if tensor.layout.dtype.kind == "packed":
            refuse(api, "dtype", f"{name} has {tensor!r}", rule="no packed dtypes", fix="view it as uint8")
        if tensor.indirection is not None and tensor.indirection.rows:
            refuse(api, "view", f"{name} has {tensor!r} with run-time rows", rule="a contiguous tensor")
    return resolve(context, tuple(given), (), (), -1)[0]


def places(api: str, sources: Sequence[NkiTensor], targets: Sequence[NkiTensor], *, sbuf: bool = True) -> None:
    """As many targets as sources, all in one memory; several of them in HBM only."""
    spaces = {tensor.layout.space for tensor in (*sources, *targets)}
    if len(sources) != len(targets):
        refuse(api, "argument", f"{len(sources)} sources and {len(targets)} targets", rule="as many of both")
    if len(spaces) > 1:
        refuse(api, "buffer", "tensors in HBM and in SBUF", rule="all tensors in HBM, or all in SBUF")
    if spaces == {SBUF} and not sbuf:
        refuse(api, "buffer", "tensors in SBUF", rule="tensors are in HBM", fix="copy them with nisa.dma_copy first")
    if spaces == {SBUF} and len(sources) > 1:
        refuse(api, "argument", f"{len(sources)} tensors in SBUF", rule="several tensors at once in HBM only")
    for source, target in zip(sources, targets, strict=True):
        if source.dtype != target.dtype:
            refuse(api, "dtype", f"{source!r} into {target!r}", rule="source and target have the same dtype")


def shapes(api: str, source: NkiTensor, target: NkiTensor, expected: Sequence[int] | None, rule: str) -> None:
    """The target's shape is the expected one; None where the source cannot be divided."""
    if expected is None or tuple(expected) != target.shape:
        refuse(api, "shape", f"{source!r} into {target!r}", rule=rule)


def one_each(api: str, *lists: Sequence[NkiTensor]) -> None:
    """Exactly one tensor in each list."""
    if any(len(given) != 1 for given in lists):
        refuse(api, "argument", f"lists of {[len(given) for given in lists]}", rule="exactly one tensor in each list")


def dimension(api: str, dim: Any, tensor: NkiTensor, *, columns: bool = False) -> None:
    """collective_dim is 0; 1 too where `columns` and the tensor is two-dimensional in SBUF."""
    if tensor.layout.space == SBUF and columns:
        if tensor.ndim != 2:
            refuse(api, "shape", f"{tensor!r} in SBUF", rule="SBUF tensors have one free dimension")
        allowed: tuple[int, ...] = (0, 1)
    else:
        allowed = (0,)
    if dim not in allowed:
        refuse(api, "argument", f"collective_dim={dim!r} of {tensor!r}", rule=f"one of {list(allowed)}")


def reduction(api: str, op: Any) -> str:
    """The name of a reduction."""
    name = op_name(op)
    if name not in _REDUCTIONS:
        refuse(api, "argument", f"op=nl.{name}", rule="nl.add, nl.minimum or nl.maximum")
    return name


def priority(context: Context, api: str, value: Any) -> None:
    """None, or 0 to 3 on trn3."""
    if value is not None and (context.generation < 4 or value not in range(4)):
        refuse(api, "argument", f"priority={value!r}", rule="0 to 3, on trn3 only", fix="leave priority out")


def shared(api: str, context: Context, given: Sequence[NkiTensor]) -> None:
    """Where only logical NeuronCores of two cores have it, tensors are in shared HBM."""
    if context.cores != 2:
        refuse(
            api,
            "target",
            f"on a logical NeuronCore of {context.cores} core",
            rule="only LNC=2 is supported",
            fix="call the kernel as kernel[2](…)",
        )
    for tensor in given:
        if tensor.buffer is not MemoryRegion.shared_hbm:
            refuse(api, "buffer", f"{tensor!r}", rule="tensors are in nl.shared_hbm")


def _by_gpsimd(check: Check) -> None:
    """Which engine triggers a collective is not documented; GpSimd is a guess."""
    check.engines = ["gpsimd"]
    first = check.tensors()[0][1]
    check.partitions, check.elements = first.layout.partitions, first.layout.per_partition
    if check.option("function"):
        check.functions.append(check.option("function"))


@lru_cache(maxsize=256)
def description(api: str, targets: int, sources: int) -> Instruction:
    """The description of a collective with that many operands; its values are written by the exchange."""

    def operands(name: str, count: int, *, write: bool) -> tuple[Operand, ...]:
        names = [name] if count == 1 else [f"{name}{i}" for i in range(count)]
        return tuple(Operand(each, write=write, spaces=(HBM, SBUF)) for each in names)

    return Instruction(
        api,
        (*operands("dst", targets, write=True), *operands("src", sources, write=False)),
        None,
        options=("function",),
        rules=(_by_gpsimd,),
        same_partitions=False,
        source=f"nki.collectives.{api}",
    )
