"""64-byte instructions, written: the encodings that the reader understands (`readers.ntff.forms`)."""

from __future__ import annotations

import struct

BFLOAT16, FP32 = 0x06, 0x0A
PSUM = 0x2000000
_SIZE = 64


def _blank(opcode: int, wait: tuple[int, int] | None, signal: int | None) -> bytearray:
    """Opcode, the semaphore waited for (index, at least), and the one counted up."""
    out = bytearray(_SIZE)
    out[0], out[1] = opcode, 0x10
    if wait:
        out[4], out[5] = 0x05, wait[0]
        out[8:12] = struct.pack("<I", wait[1])
    if signal is not None:
        out[6], out[7] = 0x13, signal
    return out


def _pattern(out: bytearray, at: int, address: int, strides: tuple[int, ...], counts: tuple[int, ...]) -> None:
    """An access pattern: start, strides, counts."""
    axes = len(strides)
    out[at : at + 4 + 4 * axes] = struct.pack(f"<I{axes}h{axes}H", address, *strides, *counts)


def load_weights(src: int, columns: int = 128, dtype: int = BFLOAT16, wait: tuple[int, int] | None = None) -> bytes:
    """LDWEIGHTS of a (128, columns) stationary tile."""
    out = _blank(0x01, wait, None)
    _pattern(out, 16, src, (-1, 0, 0), (columns, 1, 1))
    out[32], out[38], out[39], out[44], out[45] = dtype, 128, columns, 0x0F, 0x0F
    return bytes(out)


def matmul(
    src: int, dst: int, free: int, columns: int = 128, dtype: int = BFLOAT16, *, transpose: bool = False, flags: int = 3,
    wait: tuple[int, int] | None = None, signal: int | None = None,
) -> bytes:  # fmt: skip
    """MATMUL of a (128, free) moving tile with the loaded weights, into PSUM."""
    out = _blank(0x02, wait, signal)
    _pattern(out, 16, src, (1, 0, 0), (free, 1, 1))
    _pattern(out, 48, dst, (1, 0, 0), (free, 1, 1))
    out[32], out[34], out[38], out[39], out[43], out[44], out[45] = dtype, transpose, 128, columns, flags, 0x0F, 0x0F
    return bytes(out)


def _four_axes(
    opcode: int, src: int, dst: int, counts: tuple[int, int], dtypes: tuple[int, int], out: bytearray
) -> None:
    """Source and destination of COPY, CAST, RECIPROCAL and TENSOR_REDUCE."""
    out[0] = opcode
    _pattern(out, 12, src, (1, 1, 1, 1), (counts[0], 1, 1, 1))
    _pattern(out, 44, dst, (1, 1, 1, 1), (counts[1], 1, 1, 1))
    out[32], out[33], out[34] = *dtypes, 128


def copy(
    src: int,
    dst: int,
    free: int,
    dtypes: tuple[int, int] = (FP32, FP32),
    wait: tuple[int, int] | None = None,
    signal: int | None = None,
) -> bytes:
    """COPY, or CAST between two data types."""
    out = _blank(0, wait, signal)
    _four_axes(0x46 if dtypes[0] == dtypes[1] else 0x47, src, dst, (free, free), dtypes, out)
    return bytes(out)


def reciprocal(src: int, dst: int, free: int, wait: tuple[int, int] | None = None, signal: int | None = None) -> bytes:
    """RECIPROCAL."""
    out = _blank(0, wait, signal)
    _four_axes(0x48, src, dst, (free, free), (FP32, FP32), out)
    return bytes(out)


def reduce(
    src: int, dst: int, free: int, *, add: bool, negate: bool = False, wait: tuple[int, int] | None = None, signal: int | None = None,
) -> bytes:  # fmt: skip
    """TENSOR_REDUCE along the free dimension: sum, or maximum."""
    out = _blank(0, wait, signal)
    _four_axes(0x42, src, dst, (free, 1), (FP32, FP32), out)
    out[35], out[36], out[37] = negate, (0x04 if add else 0x08), 2
    return bytes(out)


def _three_axes(src: int, dst: int, free: int, out: bytearray) -> None:
    """Source and destination of ACTIVATE and TENSOR_SCALAR."""
    _pattern(out, 16, src, (1, 1, 1), (free, 1, 1))
    _pattern(out, 48, dst, (1, 1, 1), (free, 1, 1))
    out[33], out[34] = FP32, 128


def exp(
    src: int, dst: int, free: int, bias: int, wait: tuple[int, int] | None = None, signal: int | None = None
) -> bytes:
    """ACTIVATE with EXP."""
    out = _blank(0x21, wait, signal)
    _three_axes(src, dst, free, out)
    out[32], out[35] = FP32 << 4 | FP32, 0x07
    out[36:40] = struct.pack("<f", 1.0)
    out[40:44] = struct.pack("<I", bias)
    return bytes(out)


def multiply(
    src: int, dst: int, free: int, by: int, wait: tuple[int, int] | None = None, signal: int | None = None
) -> bytes:
    """TENSOR_SCALAR: multiply each row by a number of its partition."""
    out = _blank(0x43, wait, signal)
    _three_axes(src, dst, free, out)
    out[32], out[35], out[36] = FP32, 1, 0x06
    out[40:44] = struct.pack("<I", by)
    return bytes(out)


def dma(src: int, dst: int, row_bytes: int, semaphore: int, wait: tuple[int, int] | None = None) -> bytes:
    """DMA_DIRECT2D of 128 rows; addresses as the device sees them."""
    out = _blank(0xB8, wait, None)
    out[13], out[14] = semaphore, 16
    out[16:40] = struct.pack("<QiiHHHH", src, row_bytes, 1, 128, 1, row_bytes, 0)
    out[40:64] = struct.pack("<QiiHHHBB", dst, 262144, 1, 128, 1, row_bytes, FP32, FP32)
    return bytes(out)


def plain(opcode: int) -> bytes:
    """An instruction without operands, such as DRAIN (0xA2)."""
    return bytes(_blank(opcode, None, None))


def notify(hint: int) -> bytes:
    """NOTIFY, which marks the program's start and end in the trace."""
    out = _blank(0xA6, None, None)
    out[2], out[36], out[39] = 9, hint, 1
    return bytes(out)
