"""The encodings of instructions that are understood, one function per opcode.

Each was compared with the vendor tool's `operands` text, byte counts and element counts of the same instructions, on
every row of four profiles; docs/readers.md lists the counts. A form answers only for instructions in which every byte
without a known meaning has the one value seen there, so that an encoding not yet seen gives null, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .image import Image, bracketed, decimal, hexadecimal, joined, named, spans, texts

Ints = NDArray[np.int64]

DTYPES = {0x06: "bfloat16", 0x0A: "fp32"}
DTYPE_BYTES = {0x06: 2, 0x0A: 4}
ACTIVATIONS = {0x07: "EXP"}
_ALU = {0x00: "BYPASS", 0x04: "ADD", 0x06: "MULTIPLY", 0x08: "MAX"}
_FP32_MODE = {0: "", 1: "fp32_mode=LOW ", 2: "fp32_mode=HIGH ", 3: "fp32_mode=LOW_HIGH "}
_PSUM_START = 0x2000000
_GROUPS = {44: 0x0F, 45: 0x0F}
_TABLE = 0x2000


@dataclass(frozen=True, slots=True)
class Move:
    """Bytes that instructions read or write in one memory; `known` where they could be told."""

    memory: str
    size: Ints
    known: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a form makes of its instructions: the text behind the semaphores, the bytes moved, and what else it knows."""

    body: pl.Series
    moves: tuple[Move, ...] = ()
    columns: dict[str, pl.Series] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Form:
    """One opcode: the bytes that carry a field, the value of those that do not (0 where not given), and its reader."""

    read: Callable[[Image], Meaning]
    free: tuple[int, ...] = ()
    template: dict[int, int] = field(default_factory=dict)


def _size(codes: Ints) -> Ints:
    """Bytes of each data type, 0 where unknown."""
    table = np.zeros(256, np.int64)
    table[list(DTYPE_BYTES)] = list(DTYPE_BYTES.values())
    return table[codes]


def _product(image: Image, offsets: tuple[int, ...]) -> Ints:
    """The product of 16-bit counts."""
    out = np.ones(len(image), np.int64)
    for at in offsets:
        out = out * image.ints(at, "u2")
    return out


def _onchip(image: Image, address: int, counts: tuple[int, ...], dtype: Ints, way: str) -> tuple[Move, ...]:
    """Bytes per partition of an on-chip access pattern, to SBUF or PSUM by address."""
    psum = image.ints(address, "u4") >= _PSUM_START
    width = _size(dtype)
    size = _product(image, counts) * width
    return tuple(
        Move(f"{memory}_{way}_bytes", size, (psum == inside) & (width > 0))
        for memory, inside in (("psum", True), ("sbuf", False))
    )


def _pattern(image: Image, address: int, axes: int) -> pl.Series:
    """`0x2000[1,0,0][512,1,1]`: start, strides and counts, as they follow one another."""
    strides = [address + 4 + 2 * axis for axis in range(axes)]
    counts = [address + 4 + 2 * (axes + axis) for axis in range(axes)]
    where = hexadecimal(image.ints(address, "u4"))
    return joined(where, bracketed(image, strides, "i2"), bracketed(image, counts, "u2"))


def _transpose(image: Image) -> dict[str, pl.Series]:
    """REGULAR or TRANSPOSE, of the tensor engine."""
    return {"tensor_instruction_type": named(image.ints(34, "u1"), {0: "REGULAR", 1: "TRANSPOSE"})}


def _tile(image: Image) -> pl.Series:
    """The part of the array in use. The order of unequal numbers is not known, so only a full array has a text."""
    return named(image.ints(38, "u2"), {0x8080: "128*128"})


def _ldweights(image: Image) -> Meaning:
    dtype = image.ints(32, "u1")
    mode = named(image.ints(33, "u1"), _FP32_MODE)
    way = named(image.ints(34, "u1"), {0: "DISABLED", 1: "ENABLED"})
    body = joined(
        mode, "transpose_mode=", way, " src=", named(dtype, DTYPES), "@", _pattern(image, 16, 3), " ", _tile(image), " "
    )
    return Meaning(body, _onchip(image, 16, (26, 28, 30), dtype, "read"), _transpose(image))


def _matmul(image: Image) -> Meaning:
    dtype = image.ints(32, "u1")
    body = joined(
        "acc_flags=", decimal(image.ints(43, "u1")), " ", named(image.ints(33, "u1"), _FP32_MODE),
        "src=", named(dtype, DTYPES), "@", _pattern(image, 16, 3), " dst=", _pattern(image, 48, 3), " ", _tile(image), " ",
    )  # fmt: skip
    elements = _product(image, (26, 28, 30)) * image.ints(38, "u1") * image.ints(39, "u1")
    transposed = image.ints(34, "u1") == 1
    columns = _transpose(image) | {
        "tensor_elements": pl.Series(elements),
        "raw_flops": pl.Series(2 * elements),
        "flops_transpose": pl.Series(np.where(transposed, 2 * elements, 0)),
    }
    moves = _onchip(image, 16, (26, 28, 30), dtype, "read") + _onchip(image, 48, (58, 60, 62), dtype, "write")
    return Meaning(body, moves, columns)


def _elementwise(image: Image, operation: str | pl.Series = "") -> Meaning:
    """COPY, CAST, RECIPROCAL and, with an operation, TENSOR_REDUCE: four axes in, four axes out."""
    src, dst = image.ints(32, "u1"), image.ints(33, "u1")
    body = joined(
        operation, "src=", named(src, DTYPES), "@", _pattern(image, 12, 4),
        " dst=", named(dst, DTYPES), "@", _pattern(image, 44, 4), " channels=", decimal(image.ints(34, "u1")), " ",
    )  # fmt: skip
    moves = _onchip(image, 12, (24, 26, 28, 30), src, "read") + _onchip(image, 44, (56, 58, 60, 62), dst, "write")
    return Meaning(body, moves)


def _reduce(image: Image) -> Meaning:
    negated = named(image.ints(35, "u1"), {0: "", 1: "negated=1 "})
    axis = named(image.ints(37, "u1"), {2: "X"})
    return _elementwise(image, joined("op=", named(image.ints(36, "u1"), _ALU), " dim=", axis, " ", negated))


def _three_axes(image: Image, src: Ints, before: pl.Series, after: str | pl.Series) -> Meaning:
    """ACTIVATE and TENSOR_SCALAR: three axes in, three axes out."""
    dst = image.ints(33, "u1")
    body = joined(
        before, " src=", named(src, DTYPES), "@", _pattern(image, 16, 3),
        " dst=", named(dst, DTYPES), "@", _pattern(image, 48, 3), " channels=", decimal(image.ints(34, "u1")), " ", after,
    )  # fmt: skip
    moves = _onchip(image, 16, (26, 28, 30), src, "read") + _onchip(image, 48, (58, 60, 62), dst, "write")
    return Meaning(body, moves)


def _activate(image: Image) -> Meaning:
    types = image.ints(32, "u1")
    function = named(image.ints(35, "u1"), ACTIVATIONS)
    bias = named(types >> 4, DTYPES)
    before = joined(function, " bias_ptr=", bias, "@", hexadecimal(image.ints(40, "u4")))
    scale, imm = (texts(image.number(at, "f4"), lambda value: f"{value:f}") for at in (36, 44))
    after = joined("scale=", scale, " imm=", imm, " accumulator_cmd=IDLE")
    meaning = _three_axes(image, types & 15, before, after)
    return Meaning(meaning.body, meaning.moves, {"scalar_activation_fn": function})


def _tensor_scalar(image: Image) -> Meaning:
    first, second = (named(image.ints(at, "u1"), _ALU) for at in (36, 37))
    before = joined(
        "ops=", first, ",", second, " imm=", hexadecimal(image.ints(40, "u4")), ",0 imm_src=PTR,INSTRUCTION"
    )
    return _three_axes(image, image.ints(32, "u1"), before, "")


def _dma(image: Image) -> Meaning:
    sides = [_dma_side(image, "src", 16, 24, 32), _dma_side(image, "dst", 40, 48, 56)]
    body = joined(
        "semaphore=", decimal(image.ints(13, "u1")), " sem_increment=", decimal(image.ints(14, "u1")),
        "  src_elem_size=", decimal(image.ints(36, "u2")), " dst_elem_size=", decimal(image.ints(60, "u2")),
        " src_pattern=", sides[0].pattern, " dst_pattern=", sides[1].pattern,
        " ", sides[0].place, " ", sides[1].place, _cast(image), " compute_op=NONE ",
    )  # fmt: skip
    moved = _product(image, (32, 34, 36)), _product(image, (56, 58, 60))
    onchip, other = (side.onchip for side in sides)
    known = onchip != other
    moves = (
        Move("sbuf_read_bytes", moved[0], known & onchip),
        Move("hbm_read_bytes", moved[0], known & ~onchip),
        Move("sbuf_write_bytes", moved[1], known & other),
        Move("hbm_write_bytes", moved[1], known & ~other),
    )
    return Meaning(body, moves)


def _cast(image: Image) -> pl.Series:
    """The data types of a DMA that converts, else nothing."""
    src, dst = image.ints(62, "u1"), image.ints(63, "u1")
    cast = joined(" in_dtype=", named(src, DTYPES), " out_dtype=", named(dst, DTYPES))
    return cast.zip_with(pl.Series(src != dst), pl.Series([""], dtype=pl.String).new_from_index(0, len(image)))


@dataclass(frozen=True, slots=True)
class _Side:
    """Source or destination of a DMA: where it is, its pattern, and whether it lies in SBUF."""

    place: pl.Series
    pattern: pl.Series
    onchip: NDArray[np.bool_]


def _dma_side(image: Image, name: str, address: int, strides: int, counts: int) -> _Side:
    """An address, or an offset into a row of the table that the program fills at run time (tensors in HBM)."""
    where = image.number(address, "u8").astype(np.uint64)
    table = image.ints(address + 6, "u2") == _TABLE
    direct = joined(f"{name}_addr_imm=", hexadecimal(where), f" {name}_shape_reg=0")
    offset, index = hexadecimal(image.ints(address, "u4")), decimal(image.ints(address + 4, "u2"))
    indirect = joined(f"{name}_table_offset_imm=", offset, f" {name}_table_index=", index, f" {name}_shape_reg=0")
    pattern = joined(bracketed(image, (strides, strides + 4), "i4"), bracketed(image, (counts, counts + 2), "u2"))
    region = (where >> np.uint64(32)) & np.uint64(0xFF)
    place = indirect.zip_with(pl.Series(table), direct)
    return _Side(place, pattern, ~table & (region == 0x20))


def _write(image: Image) -> Meaning:
    two = image.ints(13, "u1") == 4
    data, dst = (joined(hexadecimal(image.number(at, "u8"))) for at in (32, 16))
    more_data, more_dst = (joined(",", hexadecimal(image.number(at, "u8"))) for at in (40, 24))
    both = pl.Series(two)
    none = pl.Series([""], dtype=pl.String).new_from_index(0, len(image))
    body = joined(
        "data=", data, more_data.zip_with(both, none), " size=4", texts(two, lambda two: ",4" if two else ""),
        " dst=", dst, more_dst.zip_with(both, none), " ",
    )  # fmt: skip
    return Meaning(body)


def _tensor_load(image: Image) -> Meaning:
    two = image.ints(14, "u1") == 2
    first, second = (joined("$R[", decimal(image.ints(at, "u1") & 0xFF), "]") for at in (32, 33))
    registers = joined(first, ",", second).zip_with(pl.Series(two), first)
    where = hexadecimal(image.number(16, "u8"))
    stride = decimal(image.ints(24, "i4"))
    count = decimal(image.ints(14, "u1"))
    return Meaning(joined("addr=uint32@", where, "[", stride, ",0][", count, ",1] data=", registers, " "))


def _branch(image: Image) -> Meaning:
    always = pl.Series(image.ints(12, "u1") == 0)
    label = decimal(image.ints(48, "u4"))
    either = joined("cmp_op=ALWAYS label_id=", label, " debugHint=2")
    equal = joined("cmp_op=EQ dtype=int32 cmp0=$R[0] cmp1=0 label_id=", label, " ")
    kind = image.ints(3, "u1") << 16 | image.ints(12, "u1") << 8 | image.ints(13, "u1")
    seen = named(kind, {0x000308: "", 0x020000: ""})
    return Meaning(joined(either.zip_with(always, equal), seen))


def _range_clear(image: Image) -> Meaning:
    first, last = (decimal(image.ints(at, "u1")) for at in (13, 14))
    return Meaning(joined("mode=SEMAPHORE_ZERO first=", first, " last=", last, " "))


def _notify(image: Image) -> Meaning:
    return Meaning(joined(" hint=", decimal(image.ints(36, "u1")), " notification=EXPLICIT  trace=START "))


def _constant(text: str) -> Callable[[Image], Meaning]:
    """A form without operands."""
    return lambda image: Meaning(pl.Series([text], dtype=pl.String).new_from_index(0, len(image)))


def _nop(image: Image) -> Meaning:
    return Meaning(joined("cycle=", decimal(image.ints(12, "u1")), " "))


def _ordering(image: Image) -> Meaning:
    return Meaning(joined("ordering_mode=", named(image.ints(12, "u1"), {0: "relaxed", 1: "strict"}), " "))


def _table_load(image: Image) -> Meaning:
    return _constant("table_sel=0 ")(image)


_SRC3 = ((16, 16), (48, 16))
_SRC4 = ((12, 20), (44, 20))
FORMS: dict[int, Form] = {
    0x01: Form(_ldweights, spans((16, 16), (32, 3), (38, 2)), _GROUPS),
    0x02: Form(_matmul, spans(*_SRC3, (32, 3), (38, 2), (43, 1)), _GROUPS),
    0x21: Form(_activate, spans(*_SRC3, (32, 16))),
    0x23: Form(_table_load),
    0x42: Form(_reduce, spans(*_SRC4, (32, 6))),
    0x43: Form(_tensor_scalar, spans(*_SRC3, (32, 3), (36, 2), (40, 4)), {35: 1}),
    0x46: Form(_elementwise, spans(*_SRC4, (32, 3))),
    0x47: Form(_elementwise, spans(*_SRC4, (32, 3))),
    0x48: Form(_elementwise, spans(*_SRC4, (32, 3))),
    0xA0: Form(_constant("setter=0 "), spans((32, 12))),
    0xA2: Form(_constant(""), (40,)),
    0xA4: Form(_nop, (12,)),
    0xA5: Form(_write, spans((13, 1), (16, 32)), {12: 4}),
    0xA6: Form(_notify, (36,), {2: 9, 39: 1}),
    0xA9: Form(_branch, spans((3, 1), (12, 2), (48, 4)), {14: 3}),
    0xAA: Form(_tensor_load, spans((14, 1), (16, 12), (32, 2)), {12: 9, 15: 1}),
    0xB0: Form(_range_clear, (13, 14), {12: 1}),
    0xB1: Form(_ordering, (12,)),
    0xB8: Form(_dma, spans((13, 2), (16, 22), (40, 24))),
}
