"""Measured instructions and what the clock says of them, one by one: the ground of calibration and of its errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nkilab.hardware import Policy

from .costs import OPCODES, compute_cost, operands
from .dma import element_ns, transfers
from .expand import expand
from .program import ENGINES, PSUM, SBUF, TENSOR, Floats, Program, Table, itemsize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nkilab.hardware import Hardware

_APIS = {opcode: api for api, (opcode, _) in reversed(OPCODES.items())} | {"CAST": "tensor_copy", "COPY": "tensor_copy"}
_MATMUL = ("LDWEIGHTS", "MATMUL")


@dataclass(frozen=True, slots=True)
class Point:
    """One measured kind of instruction, or of DMA element.

    Attributes:
        opcode: device opcode (`TENSOR_REDUCE`, `MATMUL`, …), or `ELEMENT` of a DMA.
        engine: `tensor`, `vector`, `scalar`, `gpsimd`; "" for a DMA element.
        elements: per partition, streamed; of a DMA element its bytes.
        out_elements: per partition, written.
        dtype, out_dtype: of the operand and of the result.
        psum, out_psum: whether they lie in PSUM.
        function: activation function, else "".
        duration_ns, interval_ns: medians; None where not measured.
        half_clock: TensorE ran at half its clock.
        transpose: TensorE only transposed.
        count: how many instructions the medians stand for.
    """

    opcode: str
    engine: str
    elements: int
    out_elements: int = 0
    dtype: str = "float32"
    out_dtype: str = "float32"
    psum: bool = False
    out_psum: bool = False
    function: str = ""
    duration_ns: float | None = None
    interval_ns: float | None = None
    half_clock: bool = False
    transpose: bool = False
    count: int = 1


def known(point: Point) -> bool:
    """Whether the clock has a cost for the opcode of a point."""
    return point.opcode in _APIS or point.opcode in (*_MATMUL, "ELEMENT", "ACT_TABLE_LOAD")


def predicted(points: Sequence[Point], hw: Hardware) -> tuple[Floats, Floats]:
    """Modelled duration and interval of each point, in ns.

    The interval of a DMA element is the time after which the next one begins. Points that are not `known` get nan.
    """
    duration, interval = np.full(len(points), np.nan), np.full(len(points), np.nan)
    sizes = np.array([point.elements for point in points], np.float64)
    for index, point in enumerate(points):
        if point.opcode == "ELEMENT":
            duration[index] = float(element_ns(sizes[index : index + 1], hw)[0])
            interval[index] = duration[index] - hw.dma.element_overlap_ns
        elif point.opcode == "ACT_TABLE_LOAD":
            duration[index] = interval[index] = hw.scalar.table_load_ns
    rows = [i for i, point in enumerate(points) if point.opcode in _APIS or point.opcode in _MATMUL]
    if rows:
        duration[rows], interval[rows] = _instructions([points[i] for i in rows], hw)
    return duration, interval


def _instructions(points: list[Point], hw: Hardware) -> tuple[Floats, Floats]:
    program = _program(points)
    engine = np.array([ENGINES.index(point.engine) for point in points], np.int64)
    moved = transfers(program, hw, Policy())
    device = expand(program, engine, compute_cost(program, engine, operands(program, hw), hw), moved, hw)
    second = np.array([point.opcode == "MATMUL" for point in points])
    row = device.start[:-1] + np.where(second, 1, device.before)
    fixed = np.where(second, hw.tensor.pipeline_ns, hw.tensor.load_fixed_ns)
    fixed = np.where(engine == TENSOR, fixed, 0.0)
    factor = np.where([point.half_clock for point in points], hw.throttle.cold_factor, 1.0)
    return fixed + (device.duration[row] - fixed) * factor, device.interval[row] * factor


def _program(points: list[Point]) -> Program:
    """A program of these instructions, each with a tensor for each operand."""
    apis = sorted({_api(point) for point in points})
    functions = sorted({point.function for point in points})
    dtypes = sorted({name for point in points for name in (point.dtype, point.out_dtype)})
    roles = ("dst", "data", "stationary", "moving")
    instructions: list[tuple[int, ...]] = []
    accesses: list[tuple[Any, ...]] = []
    for row, point in enumerate(points):
        matmul = point.opcode in _MATMUL
        columns = 128 if point.opcode == "LDWEIGHTS" else point.elements
        flags = int(point.transpose)
        weights = 128 if matmul else 0
        instructions.append((apis.index(_api(point)), functions.index(point.function), columns, weights, flags))
        result = point.out_elements or columns
        boxes = [("dst", True, PSUM if matmul or point.out_psum else SBUF, point.out_dtype, result)]
        source = PSUM if point.psum else SBUF
        boxes += [("moving" if matmul else "data", False, source, point.dtype, columns)]
        boxes += [("stationary", False, SBUF, point.dtype, weights)] if matmul else []
        for role, write, space, dtype, count in boxes:
            size = itemsize(dtype)
            place = len(accesses), space, dtypes.index(dtype)
            accesses.append(
                (row, roles.index(role), write, *place, 0, 128, 0, count * size, count, count * size, size, 0)
            )
    names = {"api": tuple(apis), "function": tuple(functions), "dtype": tuple(dtypes), "role": roles}
    return _tables(instructions, accesses, {**names, "flag": ("transpose",), "kind": ("internal",)})


def _api(point: Point) -> str:
    return "nc_matmul" if point.opcode in _MATMUL else _APIS[point.opcode]


def _tables(rows: list[tuple[int, ...]], boxes: list[tuple[Any, ...]], names: dict[str, tuple[str, ...]]) -> Program:
    given = np.array(rows, np.int64).reshape(-1, 5)
    zero = np.zeros(len(rows), np.int64)
    instructions = dict.fromkeys(("rank", "core", "engines"), zero) | {"engine": zero - 1, "partitions": zero + 128}
    instructions |= {name: given[:, i] for i, name in enumerate(("api", "function", "elements", "stationary", "flags"))}
    columns = ("instruction", "role", "write", "tensor", "space", "dtype", "p0", "p1", "b0", "b1", "elements", "run")
    table = np.array(boxes, np.int64).reshape(-1, 14)
    accesses: Table = {name: table[:, i] for i, name in enumerate((*columns, "stride", "strided"))}
    accesses |= {"write": accesses["write"] > 0, "strided": accesses["strided"] > 0}
    empty = np.zeros(len(boxes), np.int64)
    tensors = {"space": accesses["space"], "partitions": empty + 128, "bytes": accesses["b1"]}
    return Program(np.arange(len(rows)), instructions, accesses, tensors | {"address": empty - 1, "kind": empty}, names)
