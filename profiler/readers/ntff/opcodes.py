"""Engine indices and opcode bytes by name.

Every opcode name here was compared with the vendor tool's JSON of the same run on 5 507 or more rows; bytes without a
proven name are shown as `OPCODE_0x..`.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

ENGINES = ("Tensor", "Scalar", "GpSimd", "Vector", "Sync")
DEBUG_NAMES = ("PE", "Activation", "Pool", "DVE", "SP")
NOTIFY = 0xA6
MATMUL = 0x02

OPCODES = {
    0x01: "LDWEIGHTS",
    0x02: "MATMUL",
    0x21: "ACTIVATE",
    0x23: "ACT_TABLE_LOAD",
    0x42: "TENSOR_REDUCE",
    0x43: "TENSOR_SCALAR",
    0x46: "COPY",
    0x47: "CAST",
    0x48: "RECIPROCAL",
    0xA0: "EVENT_SEMAPHORE",
    0xA2: "DRAIN",
    0xA4: "NOP",
    0xA5: "WRITE",
    0xA6: "NOTIFY",
    0xA9: "COMPARE_BRANCH",
    0xAA: "TENSOR_LOAD",
    0xB0: "EVENT_SEMAPHORE_RANGE_CLEAR",
    0xB1: "SET_ORDERING_MODE",
    0xB8: "DMA_DIRECT2D",
}


def names(codes: NDArray[np.uint8]) -> pl.Series:
    """The name of each opcode byte."""
    table = pl.Series([OPCODES.get(code, f"OPCODE_0x{code:02X}") for code in range(256)], dtype=pl.String)
    return table.gather(codes.astype(np.uint32))
