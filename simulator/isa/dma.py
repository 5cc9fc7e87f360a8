"""DMA: dma_copy, dma_transpose, dma_compute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..check import Check
from ..constants import dge_mode as dge
from ..constants import engine as engines
from ..constants import oob_mode as oob
from ..dynamic import Indirection, row_numbers
from ..errors import KernelError
from ..handle import NkiInstruction
from ..instruction import DMA_SPACES, Instruction, Operand, Partial, Step, dst, issue
from ..layout import HBM, SBUF
from ..ops import op_name
from ..rules import same_dtype
from ..tensor import NkiTensor
from ..values import dma as values
from . import given

_DGE_ENGINES = ("sync", "scalar")
_AXES = {2: (1, 0), 3: (2, 1, 0), 4: (3, 1, 2, 0)}


def _priority(check: Check) -> None:
    priority = check.option("priority")
    if priority is not None and (check.generation < 4 or priority not in range(4)):
        check.fail("argument", f"priority={priority}", rule="0 to 3, on trn3 only", fix="leave priority out")


def _by_rows(tile: NkiTensor) -> bool:
    return isinstance(tile.indirection, Indirection) and tile.indirection.rows


def _hardware_dge(check: Check) -> None:
    if check.generation < 3:
        check.fail("target", "dge_mode=hwdge is not on trn1", rule="needs trn2 or newer")


def _queue(check: Check) -> None:
    """Which engine triggers the transfer: hardware descriptors on Sync or Scalar, software ones on GpSimd."""
    mode, engine = check.option("dge_mode"), check.option("engine")
    if mode not in (dge.unknown, dge.swdge) and any(_by_rows(tile) for _, tile in check.tensors()):
        check.fail(
            "argument",
            f"dge_mode.{mode.name} with a vector of row numbers",
            rule="only software DGE gathers and scatters: dge_mode unknown or swdge",
            source="DGE guide, How .ap() Affects DGE Mode",
            fix="leave dge_mode out",
        )
    if mode == dge.hwdge:
        _hardware_dge(check)
        if check["dst"].dtype != check["src"].dtype:
            check.fail(
                "dtype",
                f"dst has dtype {check['dst'].dtype}, src has {check['src'].dtype}",
                rule="dge_mode=hwdge does not cast",
                source="NKI 0.3.0 release notes, nisa.dma_copy",
                fix="use tensor.view(dtype) to see the bits as another type, or another dge_mode",
            )
        check.flags.add("hwdge")
        check.engines = list(_DGE_ENGINES)
        check.choose(engine)
        return
    if engine != engines.unknown and engine is not None:
        check.fail(
            "engine",
            f"engine.{engine.name} without dge_mode=hwdge",
            rule="engine is only valid with dge_mode=nisa.dge_mode.hwdge",
            fix="add dge_mode=nisa.dge_mode.hwdge, or leave engine out",
        )
    if mode == dge.swdge:
        check.flags.add("swdge")
        check.engines = ["gpsimd"]
        return
    if mode == dge.none:
        check.flags.add("static_descriptors")
    check.engines = ["gpsimd", "sync", "scalar"]


def _same_size(check: Check) -> None:
    target, source = check["dst"], check["src"]
    if target.size != source.size:
        check.fail(
            "shape",
            f"src has {source.size:,} elements, dst has {target.size:,}",
            rule="the number of elements must match",
            fix="slice both to the same tile; a repeated source needs .broadcast or .ap with stride 0",
        )
    if target.dtype != source.dtype:
        check.flags.add("cast")
    on_chip = next((t for t in (target, source) if t.layout.space == SBUF), target)
    check.partitions = on_chip.layout.partitions
    check.elements = on_chip.layout.per_partition


def _copy(step: Step) -> np.ndarray:
    return values.dma_copy(step[1], step.shape(0), step.out())


_DMA_COPY = Instruction(
    "dma_copy",
    (dst(spaces=DMA_SPACES), Operand("src", spaces=DMA_SPACES)),
    _copy,
    options=("priority", "oob_mode", "dge_mode", "engine"),
    rules=(_same_size, _priority, _queue),
    same_partitions=False,
)


def dma_copy(
    dst: NkiTensor,
    src: NkiTensor,
    priority: int | None = None,
    oob_mode: oob = oob.error,
    dge_mode: dge = dge.unknown,
    engine: engines = engines.unknown,
    name: str | None = None,
) -> NkiInstruction:
    """Copy `src` to `dst` between HBM and SBUF by DMA; different dtypes are cast through fp32.

    Args:
        dst: HBM or SBUF, as many elements as `src`; may have run-time row numbers (scatter).
        src: HBM or SBUF; may have run-time row numbers (gather).
        priority: quality-of-service class 0 to 3 (trn3).
        oob_mode: run-time addresses outside a tensor are errors, or skipped.
        dge_mode: who makes the descriptors.
        engine: Sync or Scalar, with hardware descriptors.
        name: the user's name for it.

    Raises:
        KernelError: sizes differ, an operand is in PSUM, a run-time address is outside.
    """
    return issue(_DMA_COPY, (dst, src), (priority, oob_mode, dge_mode, engine), name=name)


def _transpose_shape(check: Check) -> None:
    source, target, axes = check["src"], check["dst"], check.option("axes")
    if axes != _AXES.get(source.ndim):
        check.fail(
            "argument",
            f"axes={axes} for a source of shape {source.shape}",
            rule="(1, 0), (2, 1, 0) or (3, 1, 2, 0) for 2, 3 or 4 dimensions",
        )
    expected = tuple(source.shape[a] for a in axes)
    if target.shape != expected:
        check.fail(
            "shape",
            f"dst has shape {target.shape}",
            rule=f"the transpose of src has shape {expected}, and dst has exactly that",
            source="NKI 0.4.0 release notes, nisa.dma_transpose",
            fix=f"reshape dst to {expected}",
        )
    check.partitions, check.elements = target.layout.partitions, target.layout.per_partition
    check.flags |= {"dma_transpose", "transpose"}


def _transpose_limits(check: Check) -> None:
    source, mode = check["src"], check.option("dge_mode")
    indirect = _by_rows(source)
    if check.option("oob_mode") == oob.skip and not source.is_indirect():
        check.fail("argument", "oob_mode.skip without a run-time address", rule="only where src is indirect")
    refused = (dge.hwdge, dge.none) if indirect else () if source.is_indirect() else (dge.swdge,)
    if mode in refused:
        names = " or ".join(f"dge_mode.{m.name}" for m in dge if m not in refused)
        check.fail(
            "argument",
            f"dge_mode.{mode.name}",
            rule=f"{names} for this source",
            source="DGE guide, How .ap() Affects DGE Mode",
        )
    if mode == dge.hwdge:
        _hardware_dge(check)
    if mode == dge.hwdge or indirect:
        _two_byte(check)
    if mode == dge.hwdge:
        rows = source.shape[0]
        whole = rows == 16 if source.ndim == 2 else rows in (1, 2, 4, 8, 16) and rows * source.shape[-2] % 16 == 0
        if not whole:
            check.fail("limit", f"src has shape {source.shape}", rule="hardware DGE transposes 16 rows at a time")
        check.flags.add("hwdge")
        check.engines = list(_DGE_ENGINES)
        return
    check.engines = ["gpsimd"] if indirect else ["gpsimd", "sync", "scalar"]
    if indirect:
        check.flags.add("swdge")
        _gathered(check)


def _gathered(check: Check) -> None:
    """A transpose of gathered rows: trn2 and newer, whole groups of 16, uint32 row numbers (nisa.dma_transpose)."""
    source = check["src"]
    index = source.indirection.index
    if check.generation < 3:
        check.fail("target", "an indirect transpose is not on trn1", rule="needs trn2 or newer")
    if source.shape[0] % 16:
        check.fail("limit", f"src has {source.shape[0]} rows", rule="a multiple of 16 rows")
    if source.ndim == 4 and 1 not in source.shape[1:3]:
        check.fail("limit", f"src has shape {source.shape}", rule="one of the two middle dimensions of four is 1")
    rows = index.shape[0]
    if index.dtype != "uint32":
        check.fail("dtype", f"the row numbers have dtype {index.dtype}", rule="uint32")
    if index.ndim != 2 or rows % 16 or not 16 <= rows <= 128 or (index.shape[1] > 1 and rows != 128):
        check.fail("shape", f"the row numbers are {index.shape}", rule="(16 to 128 in steps of 16, 1) or (128, n)")


def _two_byte(check: Check) -> None:
    source = check["src"]
    if source.layout.itemsize != 2 or source.shape[-1] > 128:
        check.fail(
            "limit",
            f"src is {source.dtype}{list(source.shape)}",
            rule="DGE transposes 2-byte types with a last dimension of at most 128",
        )


def _transpose(step: Step) -> np.ndarray | Partial:
    result = values.dma_transpose(step[1], step.options[0])
    inside, step.inside = step.inside, None
    if inside is None or inside.all():
        return result
    return Partial(result, np.broadcast_to(inside, result.shape))  # rows of src lie along the last dimension


_DMA_TRANSPOSE = Instruction(
    "dma_transpose",
    (dst(spaces=(SBUF,)), Operand("src", spaces=DMA_SPACES)),
    _transpose,
    options=("axes", "priority", "dge_mode", "oob_mode"),
    rules=(same_dtype("dst", "src"), _transpose_shape, _priority, _transpose_limits),
    same_partitions=False,
)


def dma_transpose(
    dst: NkiTensor,
    src: NkiTensor,
    axes: Sequence[int] | None = None,
    priority: int | None = None,
    dge_mode: dge = dge.unknown,
    oob_mode: oob = oob.error,
    name: str | None = None,
) -> NkiInstruction:
    """Transpose by DMA: (1, 0), (2, 1, 0) or (3, 1, 2, 0) for a source of 2, 3 or 4 dimensions; rows may be gathered.

    Args:
        dst: SBUF tile of the dtype of `src`.
        src: HBM or SBUF tensor.
        axes: the permutation; None takes that of the source's rank.
        priority: quality-of-service class 0 to 3 (trn3).
        dge_mode: unknown, hwdge (direct), swdge (gathering).
        oob_mode: run-time rows outside `src` are errors, or skipped.
        name: the user's name for it.

    Raises:
        KernelError: a shape, dtype or mode that DMA does not transpose.
    """
    chosen = _AXES.get(getattr(src, "ndim", 2)) if axes is None else given.integers("dma_transpose", "axes", axes)
    return issue(_DMA_TRANSPOSE, (dst, src), (chosen, priority, dge_mode, oob_mode), name=name)


def _compute_rules(check: Check) -> None:
    if check.option("reduce_op") != "add":
        check.fail("argument", f"reduce_op=nl.{check.option('reduce_op')}", rule="only nl.add")
    scales = check.option("scales")
    if scales is not None and any(scale != 1.0 for scale in scales):
        check.fail("argument", f"scales={scales}", rule="all scales must be 1.0")
    sources = check.tensors()[1:]
    for operand, source in sources:
        if source.size != check["dst"].size:
            check.fail("shape", f"{operand.name} has {source.size} elements", rule=f"dst has {check['dst'].size}")
    indirect = [t for _, t in check.tensors() if t.is_indirect()]
    if check.option("oob_mode") == oob.skip and not indirect:
        check.fail("argument", "oob_mode.skip without run-time rows", rule="only with indices")
    if indirect and (len(sources) != 2 or not check.option("unique_indices")):
        check.fail(
            "argument", "indices with more than two sources or not unique", rule="two sources, unique_indices=True"
        )
    if not indirect:
        check.flags.add("static_descriptors")
    check.engines = ["gpsimd"] if indirect else ["gpsimd", "sync", "scalar"]
    check.functions.append("add")
    on_chip = next((t for _, t in check.tensors() if t.layout.space != HBM), check["dst"])
    check.partitions, check.elements = on_chip.layout.partitions, on_chip.layout.per_partition


def _compute(step: Step) -> np.ndarray:
    if _by_rows(step.operands[0]):
        rows, counts = np.unique(row_numbers(step.operands[0]), return_counts=True)
        if (counts > 1).any():
            twice = int(rows[counts > 1][0])
            step.context.report(
                "duplicate-rows", f"nisa.dma_compute adds to run-time row {twice} more than once", step.site
            )
    sources = [step[i] for i in range(1, len(step.operands)) if step.operands[i] is not None]
    return values.dma_compute(sources, "add", step.shape(0), step.out())


_SOURCES = 16
_DMA_COMPUTE = Instruction(
    "dma_compute",
    (
        dst(spaces=DMA_SPACES),
        *(Operand(f"src{i}", spaces=DMA_SPACES, optional=i > 0) for i in range(_SOURCES)),
    ),
    _compute,
    options=("reduce_op", "scales", "unique_indices", "oob_mode"),
    rules=(_compute_rules,),
    same_partitions=False,
)


def dma_compute(
    dst: NkiTensor,
    srcs: Sequence[NkiTensor],
    reduce_op: Any,
    scales: Sequence[float] | None = None,
    unique_indices: bool = True,
    oob_mode: oob = oob.error,
    name: str | None = None,
) -> NkiInstruction:
    """`dst = srcs[0] + srcs[1] + …` in the DMA engines, in fp32; one operand may have run-time rows.

    Args:
        dst: HBM or SBUF tensor.
        srcs: up to 16 tensors with as many elements.
        reduce_op: `nl.add`.
        scales: all 1.0, or None.
        unique_indices: the run-time rows are distinct (must be True where there are any; if they are not: a finding).
        oob_mode: run-time rows outside are errors, or skipped.
        name: the user's name for it.

    Raises:
        KernelError: more sources, another operator or scale than DMA has.
    """
    sources = tuple(srcs) if isinstance(srcs, Sequence) else ()
    if not 0 < len(sources) <= _SOURCES:
        raise KernelError(
            "argument",
            f"nisa.dma_compute(srcs={srcs!r})",
            rule=f"a list of 1 to {_SOURCES} tensors",
            source="nki.isa.dma_compute",
        )
    padded = sources + (None,) * (_SOURCES - len(sources))
    options = (
        op_name(reduce_op, "reduce_op"),
        None if scales is None else given.reals("dma_compute", "scales", scales),
        bool(unique_indices),
        oob_mode,
    )
    return issue(_DMA_COMPUTE, (dst, *padded), options, name=name)
