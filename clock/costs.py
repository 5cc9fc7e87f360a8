"""What one instruction costs on an engine: issue interval, duration and class, for all rows at once.

Interval: from its start to the earliest start of the next one on the same engine. Duration: from its start to its
result. The numbers are those of the hardware table; the rules that choose among them are those of the vendor's
performance and architecture guides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .program import GPSIMD, PSUM, SCALAR, SYNC, VECTOR, Bools, Floats, Ints, Program

if TYPE_CHECKING:
    from nkilab.hardware import Hardware

CLASSES = ("calibrated", "documented", "guessed")

# nki.isa function: device opcode, and the rate it runs at (a field of the hardware table's vector.cycles, or a rule below).
OPCODES: dict[str, tuple[str, str]] = {
    "tensor_copy": ("COPY", "copy"),
    "tensor_scalar": ("TENSOR_SCALAR", "copy"),
    "tensor_scalar_reduce": ("TENSOR_SCALAR", "copy"),
    "tensor_scalar_cumulative": ("TENSOR_SCALAR_CUMULATIVE", "scan"),
    "tensor_tensor": ("TENSOR_TENSOR", "tensor_tensor"),
    "scalar_tensor_tensor": ("SCALAR_TENSOR_TENSOR", "scalar_tensor_tensor"),
    "tensor_reduce": ("TENSOR_REDUCE", "reduce"),
    "tensor_partition_reduce": ("TENSOR_PARTITION_REDUCE", "reduce"),
    "tensor_tensor_scan": ("TENSOR_TENSOR_SCAN", "scan"),
    "tensor_copy_predicated": ("COPY_PREDICATED", "predicated"),
    "select_reduce": ("SELECT_REDUCE", "predicated"),
    "range_select": ("RANGE_SELECT", "copy"),
    "dropout": ("DROPOUT", "copy"),
    "memset": ("MEMSET", "memset"),
    "reciprocal": ("RECIPROCAL", "reciprocal"),
    "bn_stats": ("BN_STATS", "bn_stats"),
    "bn_aggr": ("BN_AGGR", "bn_aggr"),
    "max8": ("MAX8", "match"),
    "nc_find_index8": ("FIND_INDEX8", "match"),
    "nc_match_replace8": ("MATCH_REPLACE8", "match"),
    "nc_stream_shuffle": ("STREAM_SHUFFLE", "shuffle"),
    "nc_transpose": ("TRANSPOSE", "transpose"),
    "exponential": ("EXPONENTIAL", "exponential"),
    "quantize_mx": ("QUANTIZE_MX", "quantize_mx"),
    "iota": ("IOTA", "iota"),
    "affine_select": ("AFFINE_SELECT", "iota"),
    "local_gather": ("LOCAL_GATHER", "local_gather"),
    "nc_n_gather": ("GATHER", "gather"),
    "topk": ("TOPK", "topk"),
    "activation": ("ACTIVATE", "activate"),
    "activate2": ("ACTIVATE", "activate"),
    "activation_reduce": ("ACTIVATE", "activate"),
}
_OPERAND = ("tensor_scalar", "tensor_scalar_reduce")
_DOCUMENTED, _GUESSED = 1, 2
_MEASURED_FUNCTIONS = frozenset({"", "copy", "identity", "exp"})
_MEASURED_ELEMENTS = 4, 2048
"""Functions and numbers of elements near which profiles of trn2 have instructions; elsewhere no cost is calibrated."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Columns over instructions: `interval` and `duration` in ns, `cls` an index into `CLASSES`."""

    interval: Floats
    duration: Floats
    cls: Ints


@dataclass(frozen=True, slots=True)
class Operands:
    """What the cost rules ask of an instruction's operands, each a column over instructions.

    `psum`: one lies in PSUM. `mixed`: reads both PSUM and SBUF. `narrow`: all streamed operands are of at most 2 bytes.
    `contiguous`: their innermost elements touch. `slow`: one has an innermost stride that halves the rate.
    """

    psum: Bools
    mixed: Bools
    narrow: Bools
    contiguous: Bools
    slow: Bools


def operands(program: Program, hw: Hardware) -> Operands:
    """Summarise the operands of every instruction."""
    access, size = program.accesses, program.itemsize()
    streamed = access["elements"] > 1
    in_psum, read = access["space"] == PSUM, ~access["write"]
    return Operands(
        psum=program.any(in_psum),
        mixed=program.any(in_psum & read) & program.any(~in_psum & read),
        narrow=~program.any(streamed & (size > 2)),
        contiguous=~program.any(streamed & (access["stride"] != size)),
        slow=program.any(streamed & (np.abs(access["stride"]) >= hw.access.slow_stride_bytes)),
    )


def opcode_names(program: Program) -> tuple[str, ...]:
    """Device opcode of each entry of `names["api"]`."""
    return tuple(OPCODES.get(name, (name.upper(), ""))[0] for name in program.names["api"])


def compute_cost(program: Program, engine: Ints, seen: Operands, hw: Hardware) -> Cost:
    """Cost of every instruction on the engine that `engine` gives it; DMAs and matmuls get a meaningless row."""
    count = len(program)
    result = Cost(np.zeros(count), np.zeros(count), np.zeros(count, np.int64))
    for code, cost in (
        (VECTOR, _vector(program, seen, hw)),
        (SCALAR, _scalar(program, seen, hw)),
        (GPSIMD, _gpsimd(program, seen, hw)),
        (SYNC, _sync(program, hw)),
    ):
        mine = engine == code
        result.interval[mine] = cost.interval[mine]
        result.duration[mine] = cost.duration[mine]
        result.cls[mine] = cost.cls[mine]
    return Cost(result.interval, result.duration, np.maximum(result.cls, _unmeasured(program, seen) * _DOCUMENTED))


def _unmeasured(program: Program, seen: Operands) -> Bools:
    """Instructions unlike every measured one: another function, far fewer or more elements, strides, run-time addresses."""
    other = np.array([name not in _MEASURED_FUNCTIONS for name in program.names["function"]] + [False])
    function = other[program.instructions["function"]] & program.api("activation", "activate2", "activation_reduce")
    low, high = _MEASURED_ELEMENTS
    elements = program.instructions["elements"]
    far: Bools = function | (elements < low) | (elements > high) | seen.slow | program.flag("dynamic_address")
    return far


def _kinds(program: Program) -> list[str]:
    return [OPCODES.get(name, ("", ""))[1] for name in program.names["api"]]


def _vector(program: Program, seen: Operands, hw: Hardware) -> Cost:
    vector, elements = hw.vector, program.instructions["elements"]
    cycles, cls = _vector_cycles(program, seen, hw)
    interval = vector.issue_ns + elements * cycles * np.where(seen.slow, 2.0, 1.0) / vector.clock_ghz
    interval = interval + np.where(program.api(*_OPERAND), vector.operand_ns, 0.0)
    interval = _addressed(program, interval, vector.clock_ghz, hw)
    return Cost(interval, interval + vector.pipeline_ns, np.maximum(cls, class_of(hw, "vector.issue_ns")))


def _addressed(program: Program, interval: Floats, clock_ghz: float, hw: Hardware) -> Floats:
    """Intervals with the least that a register-addressed instruction takes: the same number of cycles on every engine."""
    least = hw.vector.register_copy_ns * hw.vector.clock_ghz / clock_ghz
    return np.where(program.flag("dynamic_address"), np.maximum(interval, least), interval)


def _vector_cycles(program: Program, seen: Operands, hw: Hardware) -> tuple[Floats, Ints]:
    """Cycles per element of every instruction on VectorE, and the class of that number."""
    fields = {name: i for i, name in enumerate(hw.vector.cycles.__dataclass_fields__)}
    value = np.array([getattr(hw.vector.cycles, name) for name in fields] + [1.0])
    known = np.array([class_of(hw, f"vector.cycles.{name}") for name in fields] + [_GUESSED])
    pick = np.full(len(program), len(fields))
    kinds, api = _kinds(program), program.instructions["api"]
    for kind in set(kinds):
        mine = np.isin(api, [i for i, name in enumerate(kinds) if name == kind])
        for name, where in _modes(kind, seen):
            if name in fields:
                pick[mine & where] = fields[name]
    return value[pick], known[pick]


def fast_ns(program: Program, seen: Operands, hw: Hardware) -> Floats:
    """What VectorE's performance mode saves of each instruction against its plain rate, in ns."""
    cycles, _ = _vector_cycles(program, seen, hw)
    plain = {"copy": "copy_psum", "tensor_tensor": "tensor_tensor", "scalar_tensor_tensor": "scalar_tensor_tensor"}
    rate = [getattr(hw.vector.cycles, plain[kind]) if kind in plain else 0.0 for kind in _kinds(program)]
    saved = np.array([*rate, 0.0])[program.instructions["api"]] - cycles
    found: Floats = np.maximum(saved, 0.0) * program.instructions["elements"] / hw.vector.clock_ghz
    return found


def _modes(kind: str, seen: Operands) -> tuple[tuple[str, Bools], ...]:
    """The rates of one kind of instruction and where each holds; a later one overrides an earlier one.

    Source: architecture guide of Trainium2, Vector Engine Performance Mode; performance guide for the rest.
    """
    always = np.ones(len(seen.psum), np.bool_)
    fast = seen.narrow & ~seen.psum
    if kind == "copy":
        half = seen.narrow & (seen.contiguous | ~seen.psum)
        return (
            ("copy_4byte", always),
            ("copy_psum", seen.psum),
            ("copy_2byte_half", half),
            ("copy_2byte", fast & seen.contiguous),
        )
    if kind == "tensor_tensor":
        return ("tensor_tensor", always), ("copy_psum", seen.mixed), ("tensor_tensor_2byte", fast)
    if kind in {"scalar_tensor_tensor", "reduce", "memset"}:
        return (kind, always), (f"{kind}_2byte", fast)
    if kind == "predicated":
        return (kind, always), ("predicated_mixed", seen.mixed)
    return ((kind, always),)


def _scalar(program: Program, seen: Operands, hw: Hardware) -> Cost:
    scalar, elements = hw.scalar, program.instructions["elements"]
    cycles = np.where(seen.narrow, scalar.cycles_2byte, scalar.cycles) * np.where(seen.slow, 2.0, 1.0)
    function = program.api("activation", "activate2", "activation_reduce", "reciprocal")
    interval = scalar.issue_ns + elements * cycles / scalar.clock_ghz
    interval = interval + np.where(function, scalar.function_ns, 0.0) + np.where(seen.psum, 0.0, scalar.sbuf_ns)
    interval = _addressed(program, interval, scalar.clock_ghz, hw)
    known = np.where(seen.narrow, class_of(hw, "scalar.cycles_2byte"), class_of(hw, "scalar.cycles"))
    return Cost(interval, interval + scalar.pipeline_ns, np.maximum(known, class_of(hw, "scalar.issue_ns")))


def _gpsimd(program: Program, seen: Operands, hw: Hardware) -> Cost:
    gpsimd, elements = hw.gpsimd, program.instructions["elements"]
    api, kinds = program.instructions["api"], _kinds(program)

    def of_kind(kind: str) -> Bools:
        return np.isin(api, [i for i, name in enumerate(kinds) if name == kind])

    cycles, known = np.full(len(program), gpsimd.cycles), np.full(len(program), class_of(hw, "gpsimd.cycles"))
    for kind, value in (("iota", gpsimd.iota_cycles), ("gather", gpsimd.gather_cycles)):
        mine = of_kind(kind)
        cycles[mine], known[mine] = value, class_of(hw, f"gpsimd.{kind}_cycles")
    whole = gpsimd.issue_cycles + elements * cycles * np.where(seen.slow, 2.0, 1.0)
    for kind, formula in (("local_gather", _local_gather), ("topk", _topk)):
        rows = np.flatnonzero(of_kind(kind))
        if len(rows):
            whole[rows], known[rows] = formula(program, rows, hw), _DOCUMENTED
    interval = _addressed(program, whole / gpsimd.clock_ghz, gpsimd.clock_ghz, hw)
    return Cost(interval, interval + gpsimd.pipeline_ns, np.maximum(known, class_of(hw, "gpsimd.issue_cycles")))


def _of_role(program: Program, rows: Ints, role: str, column: Ints) -> Ints:
    """A column of the accesses with a role, for each of some instructions."""
    mine = np.flatnonzero(program.role(role))
    found = np.zeros(len(program), np.int64)
    found[program.accesses["instruction"][mine]] = column[mine]
    return found[rows]


def _local_gather(program: Program, rows: Ints, hw: Hardware) -> Floats:
    """Cycles: 150 + (indices x elements for each) / C, as the performance guide has it."""
    elements = program.accesses["elements"]
    gathered, indices = (_of_role(program, rows, role, elements) for role in ("dst", "index"))
    size = _of_role(program, rows, "dst", program.itemsize())
    each = np.maximum(gathered / np.maximum(16 * indices, 1), 1.0)
    rate = (28 + 4 * each) / (4 * each) / np.minimum(4 / size, each)
    return np.asarray(hw.gpsimd.issue_cycles + gathered / rate)


def _topk(program: Program, rows: Ints, hw: Hardware) -> Floats:
    """Cycles: 4 n + k, as the reference of nisa.topk has it; n is taken to be all of the 16 partitions' elements."""
    del hw
    elements = program.accesses["elements"]
    return np.asarray(
        4.0 * 16 * _of_role(program, rows, "src", elements) + _of_role(program, rows, "val_dst", elements)
    )


def _sync(program: Program, hw: Hardware) -> Cost:
    interval = np.full(len(program), hw.handover.sync_ns)
    registers = program.api("register_load", "register_store", "scalar_load", "scalar_store")
    cls = np.where(registers, _GUESSED, class_of(hw, "handover.sync_ns"))
    return Cost(interval, interval.copy(), cls)


def class_of(hw: Hardware, key: str) -> int:
    """Index into `CLASSES` of one number of the hardware table."""
    return CLASSES.index(hw.source(key).cls)
