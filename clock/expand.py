"""From NKI instructions to what the device shows: weight loads and passes, table loads, register reads, DMA issues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .costs import CLASSES, Cost, class_of, opcode_names
from .dma import QUEUE_ENGINE, SOFTWARE
from .program import DMA_APIS, SCALAR, TENSOR, Bools, Floats, Ints, Program, itemsize

if TYPE_CHECKING:
    from nkilab.hardware import Hardware

    from .dma import Transfers

# In every set of activation functions, so that they never need a load (a guess: the vendor publishes no sets).
EVERY_SET = frozenset({"", "copy", "identity", "relu", "abs", "square", "sign", "add", "multiply"})
_STATIONARY = ("stationary", "data", "stationary_scale")


@dataclass(frozen=True, slots=True)
class Device:
    """Columns over device instructions, in the order in which they are issued.

    `source`: row of the program. `engine`: 0 to 4. `opcode`: index into `opcodes`. `interval`, `duration`: ns.
    `load`: a weight load, whose `interval` is how long it keeps the next multiply from starting. `array`: squares of the
    systolic array that it uses, 0 for all. `transfer`: row of the transfers, else -1. `start`: first device row of each program row, and one beyond.
    """

    source: Ints
    engine: Ints
    opcode: Ints
    opcodes: tuple[str, ...]
    interval: Floats
    duration: Floats
    cls: Ints
    load: Bools
    array: Ints
    transfer: Ints
    start: Ints
    before: Ints
    passes: Ints

    def consumer(self, program: Program) -> Ints:
        """Device row that waits for each access's operand."""
        row = program.accesses["instruction"]
        weights = (self.passes[row] > 0) & program.role(*_STATIONARY) & ~program.accesses["write"]
        waits: Ints = self.start[row] + self.before[row] + ((self.passes[row] > 0) & ~weights)
        return waits

    def producer(self, program: Program) -> Ints:
        """Device row whose end finishes each access."""
        row = program.accesses["instruction"]
        weights = (self.passes[row] > 0) & program.role(*_STATIONARY) & ~program.accesses["write"]
        done: Ints = self.start[row + 1] - 1 - weights
        return done


def expand(program: Program, engine: Ints, cost: Cost, moved: Transfers, hw: Hardware) -> Device:
    """Lay out the device instructions of a program."""
    matmul = engine == TENSOR
    passes = np.where(matmul, _passes(program, hw), 0)
    before = _table_loads(program, engine).astype(np.int64)
    after = (program.flag("reduce_result") & (passes == 0) & (engine >= 0)).astype(np.int64)
    count = np.where(matmul, 2 * passes, 1 + before + after)
    start = np.concatenate([[0], np.cumsum(count)])
    source = np.repeat(np.arange(len(program)), count)
    within = np.arange(start[-1]) - start[source]
    opcodes = (*opcode_names(program), "LDWEIGHTS", "MATMUL", "ACT_TABLE_LOAD", "READ_ACCUMULATOR", "CAST")
    device = Device(
        source=source,
        engine=engine[source],
        opcode=program.instructions["api"][source].astype(np.int64),
        opcodes=tuple("DMA_DIRECT2D" if name.lower() in DMA_APIS else name for name in opcodes),
        interval=cost.interval[source],
        duration=cost.duration[source],
        cls=cost.cls[source].copy(),
        load=np.zeros(len(source), np.bool_),
        array=program.instructions.get("array", np.zeros(len(program), np.int64))[source].astype(np.int64),
        transfer=np.full(len(source), -1),
        start=start,
        before=before,
        passes=passes,
    )
    extra = len(program.names["api"])
    _matmuls(device, program, extra, hw)
    first, last = (before[source] == 1) & (within == 0), (after[source] == 1) & (within == count[source] - 1)
    _fixed(device, first, extra + 2, hw, "scalar.table_load_ns")
    _fixed(device, last & (device.engine == SCALAR), extra + 3, hw, "scalar.reduce_register_ns")
    _fixed(device, last & (device.engine != SCALAR), extra + 3, hw, "vector.reduce_register_ns")
    device.opcode[~first & ~last & _casts(program)[source]] = extra + 4
    _issues(device, moved, hw)
    return device


def _issues(device: Device, moved: Transfers, hw: Hardware) -> None:
    """Fill in the instructions that issue DMAs; for a software descriptor a row shorter than its stream is busy."""
    rows = device.start[moved.row]
    software = moved.queue == SOFTWARE
    device.transfer[rows] = np.arange(len(rows))
    device.engine[rows] = np.array(QUEUE_ENGINE)[moved.queue]
    device.interval[rows] = moved.issue
    device.duration[rows] = np.where(software, hw.dma.software_row_ns, moved.issue)
    device.cls[rows] = moved.cls


def _passes(program: Program, hw: Hardware) -> Ints:
    """Passes over the array of each matmul; a transpose moves fp32 in one."""
    return np.where(
        _wide(program) & ~program.flag("transpose") & ~program.flag("onezero") & ~program.api("nc_transpose"),
        hw.tensor.fp32_passes,
        1,
    )


def _unmeasured(program: Program) -> Ints:
    """1 for matmuls of a kind that no profile has: 8-bit and packed operands, double rows."""
    narrow = np.array([itemsize(name) != 2 and name != "float32" for name in program.names["dtype"]] or [False])
    reads = narrow[program.accesses["dtype"]] & ~program.accesses["write"]
    return (program.any(reads) | program.flag("double_row") | program.flag("mx")).astype(np.int64)


def multiply_ns(program: Program, hw: Hardware) -> Floats:
    """Time of each matmul, its weight load before it and not hidden, at the full clock; meaningless for other rows."""
    tensor = hw.tensor
    turned = program.api("nc_transpose")
    columns = np.where(turned, program.instructions["partitions"], program.instructions["elements"])
    rate = np.where(_wide(program), tensor.fp32_cycles_per_column, tensor.cycles_per_column) / tensor.clock_ghz
    weights = np.where(turned, program.instructions["elements"], program.instructions["stationary"])
    streamed = np.maximum(columns, tensor.min_columns) + np.minimum(weights, tensor.min_columns)
    each: Floats = tensor.issue_ns + streamed * rate
    return each * _passes(program, hw)


def _wide(program: Program) -> Bools:
    """Matmuls of 4-byte operands, which stream at the fp32 rate; tf32 runs as 16 bit and packed fp8 as fp8."""
    wide = np.array([name in {"float32", "int32", "uint32"} for name in program.names["dtype"]] or [False])
    read = ~program.accesses["write"]
    return program.any(wide[program.accesses["dtype"]] & read) & ~program.flag("mx")


def _matmuls(device: Device, program: Program, extra: int, hw: Hardware) -> None:
    """Fill in weight loads and multiplies. Costs: performance guide; see the hardware table for what was measured."""
    tensor = hw.tensor
    rows = np.flatnonzero(device.passes[device.source] > 0)
    source = device.source[rows]
    loads = (rows - device.start[source]) % 2 == 0
    wide = _wide(program)[source]
    transpose = program.api("nc_transpose")[source]
    elements, partitions = program.instructions["elements"][source], program.instructions["partitions"][source]
    columns = np.where(transpose, partitions, elements)
    stationary = np.where(transpose, elements, program.instructions["stationary"][source])
    rate = np.where(wide, tensor.fp32_cycles_per_column, tensor.cycles_per_column) / tensor.clock_ghz
    multiply = tensor.issue_ns + np.maximum(columns, tensor.min_columns) * rate
    weights = np.minimum(stationary, tensor.min_columns) * rate
    turned = transpose | program.flag("transpose")[source]
    wide_load = np.where(turned, tensor.fp32_transpose_load_cycles_per_column, tensor.fp32_load_cycles_per_column)
    load_rate = np.where(wide, wide_load, tensor.load_cycles_per_column) / tensor.clock_ghz
    device.interval[rows] = np.where(loads, weights, multiply)
    shown = tensor.load_fixed_ns + stationary * load_rate
    through = tensor.pipeline_ns + tensor.pipeline_cycles / tensor.clock_ghz
    device.duration[rows] = np.where(loads, shown, multiply + through)
    device.opcode[rows] = np.where(loads, extra, extra + 1)
    known = {
        key: class_of(hw, f"tensor.{key}") for key in ("fp32_cycles_per_column", "cycles_per_column", "load_fixed_ns")
    }
    multiply_cls = np.where(wide, known["fp32_cycles_per_column"], known["cycles_per_column"])
    multiply_cls = np.maximum(multiply_cls, _unmeasured(program)[source])
    multiply_cls = np.where(device.array[rows] > 0, CLASSES.index("guessed"), multiply_cls)
    device.cls[rows] = np.where(loads, known["load_fixed_ns"], multiply_cls)
    device.load[rows] = loads


def _table_loads(program: Program, engine: Ints) -> Bools:
    """ScalarE instructions before which a set of activation functions is loaded.

    Profiles show one load before the first instruction, a copy too, and each later one as soon as the last instruction
    of the set before is done: what is in every set counts to the set that comes next. Where nothing else runs, none.
    """
    own = np.array([name in EVERY_SET for name in program.names["function"]] + [True])
    function = program.instructions["function"].astype(np.int64)
    rows = np.flatnonzero(engine == SCALAR)
    changed = np.zeros(len(program), np.bool_)
    special = ~own[function[rows]] & program.api("activation", "activate2", "activation_reduce")[rows]
    if not special.any():
        return changed
    place = np.where(special, np.arange(len(rows)), np.flatnonzero(special)[-1])
    needed = function[rows][np.minimum.accumulate(place[::-1])[::-1]]
    changed[rows] = np.r_[True, needed[1:] != needed[:-1]]
    return changed


def _fixed(device: Device, where: Bools, opcode: int, hw: Hardware, key: str) -> None:
    device.interval[where] = device.duration[where] = hw.source(key).value
    device.opcode[where] = opcode
    device.cls[where] = class_of(hw, key)


def _casts(program: Program) -> Bools:
    """Copies that change the data type."""
    access = program.accesses
    dtype = np.zeros((2, len(program)), np.int64)
    for direction in (0, 1):
        mine = access["write"] == bool(direction)
        dtype[direction][access["instruction"][mine]] = access["dtype"][mine]
    casts: Bools = program.api("tensor_copy") & (dtype[0] != dtype[1])
    return casts
