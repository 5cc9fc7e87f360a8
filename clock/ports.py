"""What engines share beside their operands: ports of the memories, PSUM's banks, a bus.

Sources: architecture guide of Trainium and Inferentia2, concurrent accesses by engines: VectorE and GpSimdE never access
SBUF at once, VectorE and ScalarE never PSUM. Architecture guide of Trainium2, data movement: both are lifted, but
accesses to one bank of PSUM collide, and VectorE's performance mode uses a bus that it shares with GpSimdE.
How the hardware arbitrates is not published. Here who comes first goes first; an instruction in performance mode runs
at its plain rate for as long as GpSimdE computes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .costs import fast_ns
from .program import GPSIMD, PSUM, SBUF, SCALAR, VECTOR, Bools, Floats, Ints, Program

if TYPE_CHECKING:
    from nkilab.hardware import Hardware

    from .costs import Operands
    from .expand import Device
    from .placement import Placement

_SBUF_PORT, _PSUM_PORT = 1 << 30, 1 << 31


@dataclass(frozen=True, slots=True)
class Shared:
    """Columns over device rows, and the `engines` that must be served in order of time.

    `holds`: bits of what the row keeps other engines from. `gain`: ns that VectorE saves by its performance mode.
    `bus`: whether GpSimdE takes the bus of that mode.
    """

    holds: Ints
    gain: Floats
    bus: Bools
    engines: frozenset[int]


def shared(
    program: Program, device: Device, engine: Ints, placement: Placement, seen: Operands, hw: Hardware
) -> Shared:
    """What each device row shares with other engines."""
    holds = np.zeros(len(program), np.int64)
    vector, scalar, gpsimd = (engine == code for code in (VECTOR, SCALAR, GPSIMD))
    if hw.access.vector_scalar_share_psum:
        holds |= np.where(vector | scalar, _banks(program, placement, hw), 0)
    else:
        holds |= np.where((vector | scalar) & _touches(program, PSUM), _PSUM_PORT, 0)
    gain, bus = np.zeros(len(program)), np.zeros(len(program), np.bool_)
    if not hw.access.vector_gpsimd_share_sbuf:
        holds |= np.where((vector | gpsimd) & _touches(program, SBUF), _SBUF_PORT, 0)
    elif gpsimd.any():
        gain, bus = np.where(vector, fast_ns(program, seen, hw), 0.0), gpsimd
    engines = {code for code in (VECTOR, SCALAR, GPSIMD) if _met(holds, engine, code)}
    engines |= {VECTOR, GPSIMD} if gain.any() else set()
    main = device.start[:-1] + device.before
    found = Shared(
        np.zeros(len(device.source), np.int64),
        np.zeros(len(device.source)),
        np.zeros(len(device.source), np.bool_),
        frozenset(engines),
    )
    found.holds[main], found.gain[main], found.bus[main] = holds, gain, bus
    return found


def _touches(program: Program, space: int) -> Bools:
    return program.any(program.accesses["space"] == space)


def _banks(program: Program, placement: Placement, hw: Hardware) -> Ints:
    """Bits of the PSUM banks that each instruction accesses."""
    access = program.accesses
    rows = np.flatnonzero((access["space"] == PSUM) & (placement.address[access["tensor"]] >= 0))
    start = placement.address[access["tensor"][rows]]
    first = (start + access["b0"][rows]) // hw.psum.bank_bytes
    last = (start + access["b1"][rows] - 1) // hw.psum.bank_bytes
    banks = np.zeros(len(program), np.int64)
    np.bitwise_or.at(banks, access["instruction"][rows], (1 << (last + 1)) - (1 << first))
    return banks


def _met(holds: Ints, engine: Ints, code: int) -> bool:
    """Whether an engine holds something that another one holds too."""
    mine, others = (int(np.bitwise_or.reduce(holds[where], initial=0)) for where in (engine == code, engine != code))
    return bool(mine & others)


@dataclass(slots=True)
class Ports:
    """Who holds what until when, while engines are laid out in order of time."""

    holds: list[int]
    gain: list[float]
    bus: list[bool]
    until: dict[int, tuple[float, int]] = field(default_factory=dict)
    computes: float = 0.0

    def free(self, row: int, engine: int, when: float) -> float:
        """When a row of an engine that could start at `when` may start."""
        wanted = self.holds[row]
        if wanted:
            for other, (end, held) in self.until.items():
                if held & wanted and other != engine and end > when:
                    when = end
        return when

    def take(self, row: int, engine: int, begin: float, interval: float) -> float:
        """Let a row start; how much longer than `interval` it takes for what others do."""
        late = self._slowed(row, begin, interval)
        if self.holds[row]:
            self.until[engine] = begin + interval + late, self.holds[row]
        if self.bus[row]:
            self.computes = max(self.computes, begin + interval)
        return late

    def _slowed(self, row: int, begin: float, interval: float) -> float:
        """What performance mode loses while GpSimdE computes: all of its gain, or that of the shared time."""
        gain, together = self.gain[row], self.computes - begin
        if gain <= 0.0 or together <= 0.0:
            return 0.0
        return gain * min(1.0, together / (interval + gain))


def ports(found: Shared) -> Ports:
    """Ports that nobody holds."""
    return Ports(found.holds.tolist(), found.gain.tolist(), found.bus.tolist())
