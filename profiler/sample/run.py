"""What a sample is made of: programs of five engines, and what they did when they ran."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

ENGINES = ("Tensor", "Scalar", "GpSimd", "Vector", "Sync")
EXECUTED = {"engine": pl.Int64, "pc": pl.Int64, "start": pl.Int64, "end": pl.Int64, "wait": pl.Int64}
PACKETS = {
    "engine": pl.Int64, "queue": pl.Int64, "start": pl.Int64, "end": pl.Int64, "size": pl.Int64, "crc": pl.Int64,
}  # fmt: skip
SEMAPHORES = {"t": pl.Int64, "index": pl.Int64, "value": pl.Int64}
THROTTLES = {"t": pl.Int64, "k": pl.Int64, "n": pl.Int64, "type": pl.Int64}


@dataclass(frozen=True, slots=True)
class Op:
    """One compiled instruction: its 64 bytes, and where it came from.

    Attributes:
        bir: id in the compiler's intermediate form, None for an instruction without one.
        line: line of the kernel's source, None where debug information is to be absent.
        after: BIR ids that it depends on.
    """

    image: bytes
    bir: int | None = None
    name: str = ""
    line: int | None = None
    after: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Core:
    """One physical core: what it was given, and what it did. Times are picoseconds since the start of the execution.

    Attributes:
        programs: per engine of `ENGINES`, its compiled instructions.
        executed: `EXECUTED`; pc counts compiled instructions.
        packets: `PACKETS`; engine is 0 to 31 within the core pair.
        semaphores: `SEMAPHORES`.
        throttles: `THROTTLES`.
    """

    programs: tuple[tuple[Op, ...], ...] = ((), (), (), (), ())
    executed: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=EXECUTED))
    packets: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=PACKETS))
    semaphores: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SEMAPHORES))
    throttles: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=THROTTLES))


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of one program.

    Attributes:
        uuid: 16 bytes that NTFF and NEFF share.
        total: length of the execution, ps.
        queues: (queue index, name) of DMA queues on every DMA engine.
        tick: ps of one tick of version 4's clocks; times of such a file must be multiples of it.
        kernel, file: name and source file of the kernel, for debug information.
    """

    cores: tuple[Core, ...]
    total: int
    uuid: bytes = bytes(range(1, 17))
    queues: tuple[tuple[int, str], ...] = ((0, "qPoolDynamic"), (1, "qSPDynamicHW"))
    kernel: str = "kernel"
    file: str = "kernel.py"
    instance_type: str = "trn2.3xlarge"
    tick: int = 1000
    execution: int = 2


def records(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """16-byte records."""
    out = np.zeros(len(a), np.dtype([("a", "<u4"), ("b", "<u4"), ("t", "<u8")]))
    out["a"], out["b"], out["t"] = a, b, t
    return out
