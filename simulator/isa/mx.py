"""Microscaling formats (trn3): quantize_mx and nc_matmul_mx."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import columns
from ..check import Check
from ..handle import NkiInstruction
from ..instruction import Instruction, Operand, Partial, Step, dst, issue
from ..layout import PSUM, SBUF
from ..tensor import NkiTensor
from ..values import matmul as matmul_values
from ..values import mx as values
from ..written import NOTHING
from . import given
from .tensor_engine import accumulation_of, tiling

_X4 = ("float8_e5m2_x4", "float8_e4m3fn_x4", "float4_e2m1fn_x4")
_SCALE = ("float8_e8m0fnu", "uint8")


def _matmul_rules(check: Check) -> None:
    stationary, moving, out = (check[name].layout for name in ("stationary", "moving", "dst"))
    k, m, n = stationary.partitions, stationary.per_partition, moving.per_partition
    if moving.partitions != k or k % 32 or k > 128:
        check.fail("shape", f"{k} and {moving.partitions} partitions", rule="equal, a multiple of 32, at most 128")
    if m > 128 or m % 2:
        check.fail("limit", f"stationary has {m} elements per partition", rule="even, at most 128")
    tensor = check.context.hardware.tensor
    most = tensor.moving_max_fp32 if out.itemsize == 4 else tensor.moving_max_16bit
    if n > most:
        check.fail("limit", f"moving has {n} elements per partition", rule=f"at most {most} for {out.dtype}")
    if (out.partitions, out.per_partition) != (m, n):
        check.fail("shape", f"dst is {out.partitions} x {out.per_partition}", rule=f"the product is {m} x {n}")
    _scales(check)
    columns.matmul_rules(check)
    rows, array_columns = tiling(check)
    if array_columns != tensor.columns or k > rows:
        check.fail(
            "limit",
            f"tile_size={check.option('tile_size')} for {k} partitions",
            rule=f"rows of 32, 64 or 128 that hold the {k} partitions; {tensor.columns} columns",
        )
    check.partitions, check.elements, check.stationary = k, n, m
    check.flops = 2 * 4 * k * m * n
    check.flags.add("mx")


def _scales(check: Check) -> None:
    for name in ("stationary", "moving"):
        data, scale = check[name].layout, check[f"{name}_scale"].layout
        rows = int(values.scale_partitions(data.partitions)[-1]) + 1
        if scale.per_partition != data.per_partition or scale.partitions < rows:
            check.fail(
                "shape",
                f"{name}_scale is {scale.partitions} x {scale.per_partition}",
                rule=f"at least {rows} partitions (4 in each quadrant hold scales) of {data.per_partition}",
                source="nki.isa.quantize_mx; MXFP guide",
            )


def _matmul(step: Step) -> np.ndarray:
    product = values.nc_matmul_mx(step[1], step[2], step[3], step[4], step.operands[1].dtype, step.operands[2].dtype)
    state, before = step.state
    first = matmul_values.overwrite(product, step.out())
    if state == NOTHING:
        return first
    total = matmul_values.accumulate(step[0], product, step.out())
    return total if before is None else np.where(before, total, first.reshape(total.shape))


def _scale_rows(role: str, operands: tuple[Any, ...]) -> np.ndarray | None:
    """Partitions of a scale tile that hold scales: four in each quadrant."""
    if not role.endswith("_scale"):
        return None
    return values.scale_partitions(operands[1].layout.partitions)


_NC_MATMUL_MX = Instruction(
    "nc_matmul_mx",
    (
        dst(spaces=(PSUM,), dtypes=("float32", "bfloat16"), columns=True),
        Operand("stationary", spaces=(SBUF,), dtypes=_X4, columns=True),
        Operand("moving", spaces=(SBUF,), dtypes=_X4, columns=True),
        Operand("stationary_scale", spaces=(SBUF,), dtypes=_SCALE, columns=True),
        Operand("moving_scale", spaces=(SBUF,), dtypes=_SCALE, columns=True),
    ),
    _matmul,
    options=("accumulate", "tile_position", "tile_size"),
    engines=("tensor",),
    rules=(_matmul_rules,),
    since=4,
    same_partitions=False,
    before=accumulation_of,
    assumes="the order of the sum is not published: that of NumPy",
    rows=_scale_rows,
)


def nc_matmul_mx(
    dst: NkiTensor,
    stationary: NkiTensor,
    moving: NkiTensor,
    stationary_scale: NkiTensor,
    moving_scale: NkiTensor,
    tile_position: tuple[int, ...] | None = None,
    tile_size: tuple[int, ...] | None = None,
    accumulate: bool | None = None,
    name: str | None = None,
) -> NkiInstruction:
    """Product of two MX-quantised tiles, contracting over partitions and the four lanes of each packed element (trn3).

    Args:
        dst: PSUM tile `[M, N]`, float32 or bfloat16.
        stationary: packed x4 tile `[K, M]`.
        moving: packed x4 tile `[K, N]`.
        stationary_scale: its block scales, as `quantize_mx` writes them.
        moving_scale: its block scales.
        tile_position: first row (and column 0) of the systolic array.
        tile_size: rows (and 128 columns) to use.
        accumulate: as in `nc_matmul`.
        name: the user's name for it.

    Raises:
        KernelError: on trn1 and trn2, or shapes and dtypes that are not there.
    """
    options = (
        accumulate if accumulate is None else bool(accumulate),
        given.integers("nc_matmul_mx", "tile_position", tile_position or ()),
        given.integers("nc_matmul_mx", "tile_size", tile_size or ()),
    )
    return issue(_NC_MATMUL_MX, (dst, stationary, moving, stationary_scale, moving_scale), options, name=name)


def _quantize_rules(check: Check) -> None:
    source, out = check["src"].layout, check["dst"].layout
    if source.partitions % 32 or source.per_partition % 4:
        check.fail("shape", f"src is {source.partitions} x {source.per_partition}", rule="multiples of 32 and of 4")
    if out.partitions != source.partitions or out.per_partition * 4 != source.per_partition:
        check.fail(
            "shape",
            f"dst is {out.partitions} x {out.per_partition}",
            rule="the partitions of src, a quarter of its elements",
        )
    scale = check["dst_scale"].layout
    rows = int(values.scale_partitions(source.partitions)[-1]) + 1
    if scale.per_partition != out.per_partition or scale.partitions < rows:
        check.fail(
            "shape",
            f"dst_scale is {scale.partitions} x {scale.per_partition}",
            rule=f"at least {rows} x {out.per_partition}",
        )


def _quantize(step: Step) -> tuple[np.ndarray, Partial]:
    data, scale = values.quantize_mx(step[2], step.out(0))
    shape = step.shape(1)
    rows = values.scale_partitions(step.shape(0)[0])
    full = np.zeros((shape[0], scale.shape[1]), np.uint8)
    full[rows] = scale
    mask = np.zeros((shape[0], scale.shape[1]), np.bool_)
    mask[rows] = True
    return data, Partial(full.view(step.out(1).storage), mask.reshape(shape))


_QUANTIZE_MX = Instruction(
    "quantize_mx",
    (
        dst(spaces=(SBUF,), dtypes=_X4[:2]),
        dst(name="dst_scale", spaces=(SBUF,), dtypes=_SCALE),
        Operand("src", spaces=(SBUF,), dtypes=("float16", "bfloat16")),
    ),
    _quantize,
    engines=("vector",),
    rules=(_quantize_rules,),
    since=4,
    same_partitions=False,
)


def quantize_mx(dst: NkiTensor, src: NkiTensor, dst_scale: NkiTensor, name: str | None = None) -> NkiInstruction:
    """Quantise fp16 or bf16 to MXFP8: a shared power-of-two scale for each 8 partitions x 4 elements (trn3).

    Raises:
        KernelError: on trn1 and trn2, or shapes and dtypes that are not there.
    """
    return issue(_QUANTIZE_MX, (dst, dst_scale, src), name=name)
