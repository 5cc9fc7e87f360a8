"""The enumerations of the NKI API, with the vendor's names and values (nki.isa and nki.language reference)."""

# ruff: noqa: N801 (the classes have the vendor's names)
from __future__ import annotations

from enum import Enum
from functools import total_ordering


class _Named(Enum):
    """An enumeration whose members hash by identity, as they are part of every plan's key."""

    __hash__ = object.__hash__


class MemoryRegion(_Named):
    """Memory regions of tensors: `nl.sbuf`, `nl.psum`, `nl.private_hbm` (also `nl.hbm`), `nl.shared_hbm`."""

    sbuf = "sbuf"
    psum = "psum"
    private_hbm = "private_hbm"
    shared_hbm = "shared_hbm"


class engine(_Named):
    """Engines of a NeuronCore."""

    tensor = 1
    vector = 5
    scalar = 2
    gpsimd = 3
    dma = 4
    sync = 6
    unknown = 0


class reduce_cmd(_Named):
    """What an instruction does with its engine's accumulator registers."""

    idle = 0
    reset = 1
    reduce = 2
    reset_reduce = 3
    load_reduce = 4


class dge_mode(_Named):
    """Which descriptor generation engine makes a DMA's descriptors."""

    unknown = 0
    swdge = 1
    hwdge = 2
    none = 3


class oob_mode(_Named):
    """What a dynamic address outside its tensor does."""

    error = 0
    skip = 1


class matmul_perf_mode(_Named):
    """Performance mode of a matmul."""

    none = "none"
    double_row = "double_row"


class dma_engine(_Named):
    """Which engine moves the data of a sendrecv."""

    dma = 1
    gpsimd_dma = 2


class dependency(_Named):
    """Kind of an edge given to `depends_on` (API 0.7); the members' values are not documented."""

    runtime = "runtime"
    schedule = "schedule"


@total_ordering
class nc_version(_Named):
    """NeuronCore generation; its members compare with each other and with ints."""

    gen2 = 2
    gen3 = 3
    gen4 = 4

    def __hash__(self) -> int:
        return hash(self.value)

    def __eq__(self, other: object) -> bool:
        return bool(self.value == _number(other))

    def __lt__(self, other: object) -> bool:
        number = _number(other)
        return NotImplemented if number is None else bool(self.value < number)

    def __int__(self) -> int:
        return int(self.value)


def _number(other: object) -> int | None:
    if isinstance(other, nc_version):
        return int(other.value)
    return other if isinstance(other, int) else None
