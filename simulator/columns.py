"""Tensor indirection: views whose columns are named by an index tensor (NeuronCore-v4).

Source: nki.language.NkiTensor.indirect, the "Tensor indirection" sections of the nki.isa reference, and the Trainium3
architecture guide: offset i of a group of G partitions is `index[i % G, i // G]` of that group, with G = 32 on the tensor
engine and 16 on the others. Where the groups hold different offsets each takes its own; as the reference does not say so,
the simulator reports `untested-operation` then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import KernelError
from .layout import HBM, PSUM, SBUF
from .tensor import NkiTensor, tensor_at
from .views import view_error
from .written import ALL

if TYPE_CHECKING:
    from .check import Check
    from .context import Context

GROUP, TENSOR_GROUP = 16, 32
QUADRANT = 32
_SOURCE = "nki.language.NkiTensor.indirect"


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Which columns of `base` a view stands for, known when it is used."""

    index: NkiTensor
    base: NkiTensor
    rows: bool = False


def indirect(tensor: NkiTensor, index: NkiTensor, num_elem: int | None) -> NkiTensor:
    """`NkiTensor.indirect`: a (P, num_elem) view of the columns that `index` names.

    Raises:
        KernelError: an index that is not a (P, K) integer tile in SBUF, or a tensor that is indirect or in HBM.
    """
    if tensor.layout.space == HBM or tensor.indirection is not None:
        raise view_error(
            f"indirect() of {tensor!r}", rule="an SBUF or PSUM tensor that is not indirect yet", method="indirect"
        )
    good = isinstance(index, NkiTensor) and index.layout.space == SBUF and index.dtype.is_integer
    if not good or index.ndim != 2 or index.shape[0] != tensor.shape[0]:
        raise view_error(
            f"indirect(index={index!r}) of {tensor!r}",
            rule=f"index is an integer tile ({tensor.shape[0]}, K) in SBUF",
            method="indirect",
        )
    count = index.size if num_elem is None else int(num_elem)
    most = TENSOR_GROUP * index.shape[1]
    if not 0 < count <= most:
        raise view_error(
            f"indirect(index={index!r}, num_elem={num_elem})",
            values=f"{count} offsets; num_elem is index.size where it is left out",
            rule=f"a group of partitions holds at most {most} offsets",
            fix="pass num_elem",
            method="indirect",
        )
    old = tensor.layout
    layout = tensor.layouts.get(
        old.space,
        old.dtype,
        (tensor.shape[0], count),
        (old.strides[0], 1),
        old.first_partition,
        old.row_bytes,
        old.rows,
    )
    return tensor_at(tensor.storage, layout, tensor.byte, tensor.layouts, Columns(index, tensor))


def group_of(engine: int) -> int:
    """Partitions of a group on an engine of the trace: 32 on the tensor engine (0), else 16."""
    return TENSOR_GROUP if engine == 0 else GROUP


def offsets(context: Context, view: NkiTensor, columns: Columns, engine: int, site: int) -> np.ndarray:
    """The offsets of every partition, (P, num_elem), as int64.

    Raises:
        KernelError: the index holds too few offsets for this engine, or one leaves the tensor.
    """
    group, index, count = group_of(engine), columns.index, view.shape[1]
    rows = index.shape[0]
    element = np.arange(count)
    if count > group * index.shape[1] or min(count, group) > rows:
        raise KernelError(
            "shape",
            f"{count} offsets of {index!r}",
            rule=f"offset i is index[i % {group}, i // {group}] in each group of {group} partitions",
            source=_SOURCE,
            fix="pass num_elem, or give the index more columns",
        )
    first = np.arange(rows) // group * group
    lane = np.minimum(first[:, None] + element % group, rows - 1)
    stored = index.storage.array(index.layout, index.byte).astype(np.int64)
    found: np.ndarray = stored[lane, element // group]
    _require_inside(found, columns.base)
    if (found != found[:1]).any():
        context.report("untested-operation", "indirect() with other offsets in each group of partitions", site)
    return found


def _require_inside(found: np.ndarray, base: NkiTensor) -> None:
    width = base.layout.per_partition
    outside = (found < 0) | (found >= width)
    if outside.any():
        raise KernelError(
            "bounds",
            f"offset {int(found[outside][0])} is outside {base!r}",
            values=f"a partition of the view has {width} elements",
            rule="offsets lie inside the free dimensions",
            source=_SOURCE,
            fix="clamp the offsets",
        )


def _positions(base: NkiTensor, found: np.ndarray) -> tuple[np.ndarray, ...]:
    """Index arrays that pick the offsets out of an array of the base's shape."""
    rows = np.arange(found.shape[0])[:, None]
    return (rows, *np.unravel_index(found, base.shape[1:]))


def gather(base: NkiTensor, found: np.ndarray) -> np.ndarray:
    """The columns of a view, (P, num_elem)."""
    result: np.ndarray = base.storage.array(base.layout, base.byte)[_positions(base, found)]
    return result


def scatter(base: NkiTensor, found: np.ndarray, result: np.ndarray) -> None:
    """Write columns to where the offsets say; of equal offsets the last one stays."""
    target = base.storage.array(base.layout, base.byte)
    target[_positions(base, found)] = result.reshape(found.shape)


def mask_of(base: NkiTensor, found: np.ndarray) -> np.ndarray:
    """Which elements of the base the offsets name."""
    mask = np.zeros(base.shape, np.bool_)
    mask[_positions(base, found)] = True
    return mask


def check_columns(
    context: Context, view: NkiTensor, columns: Columns, engine: int, role: str, api: str, site: int
) -> None:
    """Report columns of an indirect read that were never written, and refuse offsets outside."""
    if not context.values:
        return
    base = columns.base
    found = offsets(context, view, columns, engine, site)
    written = base.storage.home.written
    if written.state_of(base.layout, base.byte) == ALL:
        return
    if not written.mask(base.layout, base.byte)[_positions(base, found)].all():
        context.report_unwritten(base.storage, base.layout, base.byte, role, api, site)


def mark_columns(context: Context, view: NkiTensor, columns: Columns, engine: int, site: int) -> None:
    """Record the columns that an indirect write has written (all of them where values are not computed)."""
    base = columns.base
    if context.values:
        found = offsets(context, view, columns, engine, site)
        base.storage.mark_mask(base.layout, base.byte, mask_of(base, found))
    else:
        base.storage.mark(base.layout, base.byte)


def rules(check: Check) -> None:
    """The rules of instructions with indirect operands: generation, operands, engines, base partitions.

    Raises:
        KernelError: one of them is broken.
    """
    found = [(o, tile, tile.indirection.index) for o, tile in check.tensors() if isinstance(tile.indirection, Columns)]
    if not found:
        return
    if check.what.api == "tensor_copy":
        check.engines = [name for name in check.engines if name != "gpsimd"]
        if not check.engines:
            check.fail("engine", "cannot run on engine.gpsimd", rule="tensor indirection needs vector or scalar here")
    if check.generation < 4:
        check.fail("target", "tensor indirection is not on this generation", rule="needs trn3 (NeuronCore-v4)")
    for operand, tile, index in found:
        if not operand.columns:
            taken = ", ".join(o.name for o in check.what.operands if o.columns) or "no operand"
            check.fail("argument", f"{operand.name} is indirect", rule=f"tensor indirection is taken by: {taken}")
        if index.layout.first_partition % QUADRANT:
            _misplaced(check, f"the index of {operand.name} starts at partition {index.layout.first_partition}")
        if not operand.write and tile.layout.first_partition != index.layout.first_partition:
            _misplaced(check, f"{operand.name} and its index start at different partitions")
        if operand.write:
            _scattered(check, operand.name, tile, index)


_TENSOR_DTYPES = ("float16", "bfloat16", "float8_e4m3", "float8_e5m2", "float8_e4m3fn")


def matmul_rules(check: Check) -> None:
    """What the tensor engine asks of indirect operands: no tiling, no indirect moving transpose, 8- and 16-bit floats.

    Raises:
        KernelError: one of them is broken.
    """
    found = {o.name: t for o, t in check.tensors() if isinstance(t.indirection, Columns)}
    if not found:
        return
    position = check.option("tile_position")
    if position and tuple(position) != (0, 0):
        check.fail("argument", f"tile_position={position} with an indirect operand", rule="(0, 0), or left out")
    if check.what.api == "nc_matmul_mx":
        for name in ("stationary", "moving"):
            if _index_of(found.get(name)) is not _index_of(found.get(f"{name}_scale")):
                check.fail("argument", f"{name} and {name}_scale differ", rule="both indirect by one index, or neither")
        return
    if check.option("is_transpose") and "moving" in found:
        check.fail("argument", "an indirect moving tile with is_transpose=True", rule="stationary and dst only")
    for name, tile in found.items():
        if name != "dst" and tile.dtype not in _TENSOR_DTYPES:
            check.fail("dtype", f"{name} is indirect and {tile.dtype}", rule=f"one of {', '.join(_TENSOR_DTYPES)}")


def _index_of(tile: NkiTensor | None) -> NkiTensor | None:
    indirection = None if tile is None else tile.indirection
    return indirection.index if isinstance(indirection, Columns) else None


def accumulation(
    context: Context, tile: NkiTensor, view: Columns, accumulate: bool | None, site: int
) -> tuple[np.ndarray, bool]:
    """Which columns of a scattered PSUM tile a matmul adds to, (P, num_elem), and whether they had all been started."""
    base, started = view.base, tile.storage.started
    if started is None:
        raise TypeError("a matmul writes PSUM")
    found = offsets(context, tile, view, 0, site)
    before: np.ndarray = started.mask(base.layout, base.byte)[_positions(base, found)]
    whole = bool(before.all())
    started.mark_mask(base.layout, base.byte, mask_of(base, found))
    if accumulate is None:
        return before, whole
    return np.full(before.shape, accumulate), whole


def _scattered(check: Check, name: str, tile: NkiTensor, index: NkiTensor) -> None:
    """A scattered `dst`: its index lies with the first input; the scalar engine does not scatter to PSUM."""
    source = next((t for o, t in check.tensors() if not o.write), None)
    if source is not None:
        place: Any = source.layout if source.layout.space == SBUF else None
        if place is None and isinstance(source.indirection, Columns):
            place = source.indirection.index.layout
        if place is not None and place.first_partition != index.layout.first_partition:
            _misplaced(check, f"the index of {name} starts at another partition than the input")
    if tile.layout.space == PSUM and "scalar" in check.engines:
        if check.engines == ["scalar"]:
            check.fail("buffer", f"{name} is scattered to PSUM", rule="the scalar engine scatters to SBUF only")
        check.engines.remove("scalar")


def _misplaced(check: Check, what: str) -> None:
    check.fail(
        "limit",
        what,
        rule=f"an index starts at a multiple of {QUADRANT} partitions, with its tensor (or the input of a scatter)",
    )
