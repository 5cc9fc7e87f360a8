"""Instructions of the tensor engine: nc_matmul and nc_transpose."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import columns
from ..check import Check
from ..columns import Columns
from ..constants import engine as engines
from ..constants import matmul_perf_mode
from ..context import Context
from ..handle import NkiInstruction
from ..instruction import Instruction, Operand, Step, dst, issue
from ..layout import PSUM, SBUF
from ..rules import same_dtype
from ..tensor import NkiTensor
from ..trace import FLAG
from ..values import matmul as values
from ..written import ALL, NOTHING
from . import given

_FP8 = ("float8_e4m3", "float8_e5m2", "float8_e4m3fn")
_FLOATS = (*_FP8, "bfloat16", "float16", "tfloat32", "float32")
_WIDE = ("float32", "tfloat32")


def _matmul_rules(check: Check) -> None:
    stationary, moving, out = check["stationary"].layout, check["moving"].layout, check["dst"].layout
    tensor = check.context.hardware.tensor
    double = check.option("perf_mode") == matmul_perf_mode.double_row
    rows, array_columns = tiling(check)
    k, m, n = stationary.partitions, stationary.per_partition, moving.per_partition
    if double:
        _double_row(check, array_columns)
        m, n = m // 2, n // 2
    if moving.partitions != k:
        check.fail(
            "shape",
            f"stationary has {k} partitions, moving has {moving.partitions}",
            rule="both have the contraction dimension on their partitions",
            fix="transpose an operand (nisa.nc_transpose) or slice both to the same K",
        )
    if k > rows or m > array_columns:
        check.fail(
            "limit",
            f"the stationary tile is {k} x {m}",
            rule=f"at most {rows} partitions and {array_columns} elements per partition",
            fix=f"tile M by {array_columns} (nl.tile_size.gemm_stationary_fmax) and K by {rows}",
        )
    most = tensor.moving_max_fp32 if out.itemsize == 4 else tensor.moving_max_16bit
    if n > most:
        check.fail(
            "limit",
            f"moving has {n} elements per partition",
            rule=f"at most {most} for a {out.dtype} result on {check.context.hardware.name}",
            source=check.context.hardware.source("tensor.moving_max_fp32").source,
            fix=f"tile N by {most} (nl.tile_size.gemm_moving_fmax)",
        )
    if out.partitions != m or out.per_partition != n:
        check.fail(
            "shape",
            f"dst is {out.partitions} x {out.per_partition}, the product is {m} x {n}",
            rule="dst has the free size of stationary on partitions and that of moving per partition",
        )
    _matmul_dtypes(check)
    columns.matmul_rules(check)
    check.partitions, check.elements, check.stationary = k, n, m
    check.flops = 2 * k * m * n * (2 if double else 1)
    passes = stationary.dtype == "float32" and not (check.option("onezero")[0] or check.option("onezero")[1])
    check.flags |= {"fp32_passes"} if passes else set()
    check.flags |= {"onezero"} if any(check.option("onezero")) else set()
    check.flags |= {"transpose"} if check.option("is_transpose") else set()


def tiling(check: Check) -> tuple[int, int]:
    """Rows and columns of the systolic array that the instruction uses.

    Raises:
        KernelError: a position or a size alone, or one that the array cannot be cut into.
    """
    position, size = check.option("tile_position"), check.option("tile_size")
    if not position and not size:
        return check.context.hardware.tensor.rows, check.context.hardware.tensor.columns
    if len(position or ()) != 2 or len(size or ()) != 2:
        check.fail(
            "argument",
            f"tile_position={position}, tile_size={size}",
            rule="both are (row, column) pairs, set together",
        )
    smallest = 64 if check.generation == 2 else 32
    for start, extent in zip(position, size, strict=True):
        if extent not in (32, 64, 128) or extent < smallest or start % extent or start + extent > 128:
            check.fail(
                "limit",
                f"tile_position={position}, tile_size={size}",
                rule=f"sizes {smallest} to 128 in powers of two; positions are multiples of the size within 128",
            )
    check.array = squares(position, size)
    return int(size[0]), int(size[1])


def squares(position: tuple[int, ...], size: tuple[int, ...]) -> int:
    """Bits of the 4 x 4 squares of 32 x 32 processing elements that a tile of the array covers, row by row."""
    rows, columns = (range(start // 32, (start + extent) // 32) for start, extent in zip(position, size, strict=True))
    return sum(1 << (4 * row + column) for row in rows for column in columns)


def _double_row(check: Check, array_columns: int) -> None:
    check.flags.add("double_row")
    if array_columns < check.context.hardware.tensor.columns:
        check.fail("argument", "perf_mode=double_row with column tiling", rule="one of the two")
    if check.generation < 3:
        check.fail("target", "perf_mode=double_row is not on trn1", rule="needs trn2 or newer")
    for name in ("stationary", "moving"):
        tile = check[name]
        if tile.ndim < 3 or tile.shape[1] != 2 or tile.dtype not in _FP8:
            check.fail(
                "shape",
                f"{name} is {tile.dtype}{list(tile.shape)} with perf_mode=double_row",
                rule="fp8 tiles of shape (K, 2, free): the contraction runs over partitions and the first free dimension",
            )


def _matmul_dtypes(check: Check) -> None:
    left, right, out = check["stationary"].dtype, check["moving"].dtype, check["dst"].dtype
    if (left in _WIDE) != (right in _WIDE):
        check.fail(
            "dtype",
            f"stationary is {left}, moving is {right}",
            rule="if one is float32 or tfloat32, the other is too",
            fix="cast one of them with nisa.tensor_copy",
        )
    if {left, right} == {"float8_e4m3", "float8_e4m3fn"}:
        check.fail("dtype", f"stationary is {left}, moving is {right}", rule="the two e4m3 formats do not mix")
    if check.option("is_transpose"):
        return
    allowed = ("float32", "bfloat16") if check.context.hardware.tensor.psum_bf16 else ("float32",)
    if out not in allowed:
        check.fail(
            "dtype",
            f"dst has dtype {out}",
            rule=f"the result is {' or '.join(allowed)} on {check.context.hardware.name}",
            source=check.context.hardware.source("tensor.psum_bf16").source,
            fix="allocate the PSUM tile in float32 and cast when copying it out",
        )


def accumulation_of(
    context: Context, operands: tuple[Any, ...], options: tuple[Any, ...], site: int
) -> tuple[int, Any]:
    """Whether this matmul adds to its PSUM tile: 0 no, 1 where a matmul has written (mask), 2 everywhere.

    accumulate=None: the first write of a matmul to an element of the allocation overwrites, later ones add.
    accumulate=True onto what other instructions wrote is undefined up to trn2 (nki.isa.nc_matmul), and adds on trn3; it
    may continue a sum that was started through another tensor at the same address.
    """
    tile: NkiTensor = operands[0]
    layout, byte, storage = tile.layout, tile.byte, tile.storage
    bank = context.hardware.psum.bank_bytes
    if context.generation < 4 and byte % bank + layout.span > bank:
        _crosses(tile, bank)
    started = storage.started
    if started is None:
        raise TypeError("a matmul writes PSUM")
    accumulate = options[0]
    if isinstance(tile.indirection, Columns):
        return _accumulation_of_columns(context, tile, tile.indirection, accumulate, site)
    state = NOTHING if accumulate is False else started.state_of(layout, byte)
    if accumulate is True and state != ALL:
        home = storage.home
        known = home.started if context.generation < 4 and home.started is not None else home.written
        if known.state_of(layout, byte) != ALL:
            _report_undefined(context, tile, site)
        state = ALL
    before = started.mask(layout, byte).copy() if state not in (NOTHING, ALL) else None
    _start(tile)
    return (FLAG["accumulate"] if state else 0), (state, before)


def _start(tile: NkiTensor) -> None:
    """A matmul writes the tile: in its allocation, and where that has an address in the bytes of the bank."""
    for storage in {tile.storage, tile.storage.home}:
        if storage.started is not None:
            storage.started.mark(tile.layout, tile.byte)


def _accumulation_of_columns(
    context: Context, tile: NkiTensor, view: Columns, accumulate: bool | None, site: int
) -> tuple[int, Any]:
    if not context.values:
        return (FLAG["accumulate"] if accumulate else 0), (NOTHING, None)
    before, whole = columns.accumulation(context, tile, view, accumulate, site)
    if accumulate is True and not whole:
        _report_undefined(context, tile, site)
    return (FLAG["accumulate"] if before.any() else 0), (ALL, before)


def _report_undefined(context: Context, tile: NkiTensor, site: int) -> None:
    context.report(
        "accumulate-undefined",
        f"nc_matmul with accumulate=True adds to a PSUM tile that no matmul has started (allocated at "
        f"{context.location(tile.storage.site)})",
        site,
    )


def _crosses(tile: NkiTensor, bank: int) -> None:
    from ..errors import KernelError

    raise KernelError(
        "limit",
        "nisa.nc_matmul: dst crosses a PSUM bank",
        values=f"dst={tile!r}, bytes {tile.byte} to {tile.byte + tile.layout.span} of a partition",
        rule=f"the result of one matmul lies within one bank of {bank} bytes",
        source="NeuronCore architecture guide, PSUM",
        fix="start each result at a multiple of the bank, or make it smaller",
    )


def _matmul_value(step: Step) -> np.ndarray:
    transposing = step.options[1] and step.context.generation > 2
    double = step.options[2] == matmul_perf_mode.double_row
    if transposing:
        product = values.transpose_matmul(step[1], step[2])
        if product.dtype == step.out().storage:
            return product
    product = values.matmul(step[1], step[2], double_row=double)
    state, before = step.state
    if state == NOTHING:
        return values.overwrite(product, step.out())
    current = step[0]
    total = values.accumulate(current, product, step.out())
    if before is None:
        return total
    return np.where(before, total, values.overwrite(product, step.out()).reshape(current.shape))


_NC_MATMUL = Instruction(
    "nc_matmul",
    (
        dst(spaces=(PSUM,), columns=True),
        Operand("stationary", spaces=(SBUF,), dtypes=_FLOATS, columns=True),
        Operand("moving", spaces=(SBUF,), dtypes=_FLOATS, columns=True),
    ),
    _matmul_value,
    options=("accumulate", "is_transpose", "perf_mode", "onezero", "tile_position", "tile_size"),
    engines=("tensor",),
    rules=(_matmul_rules,),
    same_partitions=False,
    before=accumulation_of,
    assumes="the order of the sum is not published: that of NumPy",
)


def nc_matmul(
    dst: NkiTensor,
    stationary: NkiTensor,
    moving: NkiTensor,
    is_stationary_onezero: bool = False,
    is_moving_onezero: bool = False,
    is_transpose: bool = False,
    accumulate: bool | None = None,
    tile_position: tuple[int, ...] = (),
    tile_size: tuple[int, ...] = (),
    perf_mode: matmul_perf_mode = matmul_perf_mode.none,
    name: str | None = None,
) -> NkiInstruction:
    """`dst = stationary.T @ moving` on the tensor engine: SBUF `[K, M]` and `[K, N]` to PSUM `[M, N]`, summed in fp32.

    Args:
        dst: PSUM tile `[M, N]`, float32 (trn3: or bfloat16).
        stationary: SBUF tile, K <= 128 partitions, M <= 128 elements each.
        moving: SBUF tile, K partitions, N <= 512 elements each (trn3: 4096, or 8192 for a bfloat16 result).
        is_stationary_onezero: the stationary tile holds only ones and zeros (fp32 runs faster).
        is_moving_onezero: the moving tile holds only ones and zeros.
        is_transpose: move data bit for bit instead of multiplying (trn2 and newer).
        accumulate: True adds to `dst`, False overwrites, None overwrites what no matmul has written yet and adds else.
        tile_position: first row and column of the systolic array to use.
        tile_size: rows and columns to use.
        perf_mode: `double_row` contracts fp8 tiles `[K, 2, M]` and `[K, 2, N]` over 2 K.
        name: the user's name for it.

    Raises:
        KernelError: shapes, dtypes or buffers that the tensor engine does not take.
    """
    onezero = (bool(is_stationary_onezero), bool(is_moving_onezero))
    accumulate = accumulate if accumulate is None else bool(accumulate)
    options = (
        accumulate,
        bool(is_transpose),
        perf_mode,
        onezero,
        given.integers("nc_matmul", "tile_position", tile_position or ()),
        given.integers("nc_matmul", "tile_size", tile_size or ()),
    )
    return issue(_NC_MATMUL, (dst, stationary, moving), options, name=name)


def _transpose_rules(check: Check) -> None:
    data, out = check["data"].layout, check["dst"].layout
    if (out.partitions, out.per_partition) != (data.per_partition, data.partitions):
        check.fail(
            "shape",
            f"dst is {out.partitions} x {out.per_partition}, the transpose of data is "
            f"{data.per_partition} x {data.partitions}",
            rule="dst has the free size of data on partitions, and its partitions as free size",
        )
    if data.space == PSUM or out.space == SBUF:
        check.engines.remove("tensor")
    if max(data.partitions, data.per_partition) > 32:
        check.engines.remove("vector")
    if not check.engines:
        check.fail(
            "buffer",
            "no engine can do this transpose",
            rule="the tensor engine goes from SBUF to PSUM (up to 128 x 128), the vector engine up to 32 x 32 anywhere",
            fix="read from SBUF and write to a PSUM tile, then copy it out with nisa.tensor_copy",
        )
    if max(data.partitions, data.per_partition) > 128:
        check.fail("limit", f"data is {data.partitions} x {data.per_partition}", rule="at most 128 x 128")
    check.choose(check.option("engine"))
    check.flags.add("transpose")
    check.partitions, check.elements, check.stationary = data.partitions, data.partitions, data.per_partition
    if check.engines == ["tensor"] and check["data"].dtype == "float32":
        check.flags.add("fp32_passes")


def _transpose_value(step: Step) -> np.ndarray:
    if step.context.generation == 2 and step.plan.engine == 0 and step.out().is_float:
        return values.overwrite(values.transpose_by_product(step[1]), step.out())
    return values.transpose(step[1])


def _transpose_before(
    context: Context, operands: tuple[Any, ...], options: tuple[Any, ...], site: int
) -> tuple[int, Any]:
    """A transpose into PSUM by the tensor engine is a matmul: it starts the tile."""
    del context, site
    by_vector = options[0] == engines.vector or operands[1].layout.space == PSUM
    if not by_vector:
        _start(operands[0])
    return 0, None


_NC_TRANSPOSE = Instruction(
    "nc_transpose",
    (dst(), Operand("data")),
    _transpose_value,
    options=("engine",),
    engines=("tensor", "vector"),
    rules=(same_dtype("dst", "data"), _transpose_rules),
    same_partitions=False,
    before=_transpose_before,
)


def nc_transpose(
    dst: NkiTensor, data: NkiTensor, engine: engines = engines.unknown, name: str | None = None
) -> NkiInstruction:
    """`dst = data.T`: partitions become the free dimension and the (flattened) free dimensions partitions.

    The tensor engine reads SBUF and writes PSUM, up to 128 x 128; the vector engine handles up to 32 x 32 in any buffer.
    `dst` has the dtype of `data`. On trn1 the tensor engine multiplies by an identity, so NaN and inf spread.

    Raises:
        KernelError: shapes, dtypes or buffers that no engine takes.
    """
    return issue(_NC_TRANSPOSE, (dst, data), (engine,), name=name)
