"""NTFF files, written: versions 4, 5 and 6."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from .encode import notify, plain
from .run import ENGINES, Core, Run, records
from .wire import Value, message, repeated

PREAMBLE = (plain(0xA4), notify(2))
EPILOGUE = (plain(0xA2), notify(3))
_ORIGIN = 2_000_000_000_000
_BEFORE = 50_000
_HEADER = 128
_PCS = 0x1FFFFF


@dataclass(frozen=True, slots=True)
class _Body:
    """The raw area while it grows, and what the metadata has to say about it."""

    raw: bytearray
    sections: list[bytes]

    def place(self, data: bytes) -> int:
        """Append, and say where."""
        self.raw.extend(data)
        return len(self.raw) - len(data)


def ntff(run: Run, version: int = 6) -> bytes:
    """One NTFF.

    Args:
        run: what ran; version 4 needs times that are multiples of `run.tick`.
        version: 4, 5 or 6.
    """
    body = _Body(bytearray(), [])
    graphs = [_graph(run, core, index, version, body) for index, core in enumerate(run.cores)]
    node = message((4, message(*repeated(1, graphs), (5, run.uuid if version >= 6 else b""))))
    top: list[tuple[int, Value]] = [
        (1, f"{run.kernel}.neff"),
        (2, run.uuid.split(b"\0")[0] + b"\0"),
        (4, node),
        (5, run.execution),
        (8, message((1, 2), (2, 30), (3, 51))),
        (9, run.instance_type),
    ]
    if version >= 6:
        top += [(15, message((1, run.uuid), (2, _ORIGIN), (3, _ORIGIN + run.total))), *repeated(16, body.sections)]
    metadata = message(*top)
    head = bytes([version]) + len(metadata).to_bytes(7, "little")
    return head.ljust(_HEADER, b"\0") + metadata + bytes(body.raw)


def _graph(run: Run, core: Core, index: int, version: int, body: _Body) -> bytes:
    """One core: its program, queues, clocks and records."""
    nc = 4 + index
    fields: list[tuple[int, Value]] = [(1, f"sg{index:02d}"), (3, nc)]
    fields += repeated(4, (_code(core, engine, version, body) for engine in range(len(ENGINES))))
    fields += repeated(5, (_patch(core, engine) for engine in range(len(ENGINES))))
    found = {(0, 0): _instructions(run, core, version), (1, 0): _semaphores(run, core, version)}
    found |= {(4, 1): _packets(run, core, version), (5, 0): _throttles(run, core, version)}
    sections = [_section(kind, block, nc, data.tobytes(), version, body) for (kind, block), data in found.items()]
    if version >= 6:
        body.sections.extend(sections)
    else:
        fields += repeated(6, sections)
    fields += repeated(
        7,
        (
            message((1, engine), (2, queue), (3, 2), (4, name), (7, 2))
            for queue, name in run.queues
            for engine in range(64, 80)
        ),
    )
    clock = message((1, _init(version)), (2, 1), (3, run.tick if version == 4 else 1))
    fields.append((10, message(*((number, clock) for number in range(1, 6)), *repeated(8, [clock] * 16))))
    fields += repeated(11, (message((2, size), (3, name)) for name, size in (("tensor", 1 << 20), ("weight", 1 << 16))))
    return message(*fields, (14, run.total))


def _init(version: int) -> int:
    """The reading that version 4's clocks start from."""
    return 7_000_000 if version == 4 else 0


def _time(run: Run, time: np.ndarray, version: int) -> np.ndarray:
    """Times since the start as readings of the device's clocks."""
    absolute = time.astype(np.int64) + _ORIGIN
    return (absolute // run.tick + _init(version) if version == 4 else absolute).astype(np.uint64)


def _address(engine: int) -> int:
    """Where an engine's program lies in device memory."""
    return 0x800500000000 + engine * 0x4000000


def _code(core: Core, engine: int, version: int, body: _Body) -> bytes:
    """One engine's program as the device had it: the compiled one between the runtime's own instructions."""
    image = b"".join((*PREAMBLE, *(op.image for op in core.programs[engine]), *EPILOGUE))
    if version < 6:
        return message((1, engine), (2, _address(engine)), (3, image))
    return message((1, engine), (2, _address(engine)), (7, body.place(image)), (8, len(image)))


def _patch(core: Core, engine: int) -> bytes:
    """What the runtime inserted: before and behind the compiled program."""
    behind = (len(PREAMBLE) + len(core.programs[engine])) * 64
    inserted = message((2, len(PREAMBLE))), message((1, behind), (2, len(EPILOGUE)))
    return message((1, engine), *repeated(2, inserted))


def _section(kind: int, block: int, nc: int, data: bytes, version: int, body: _Body) -> bytes:
    """Where records lie."""
    return message((1, kind), (3, block), (5, body.place(data)), (6, len(data)), (7, nc if version >= 6 else 0))


def _in_time_order(rows: np.ndarray) -> np.ndarray:
    """Records as the device writes them; at one time an end comes before a start."""
    ends = np.where(rows["a"] >> 24 & 1 == 1, 0, 1)
    return rows[np.lexsort((ends, rows["t"]))]


def _instructions(run: Run, core: Core, version: int) -> np.ndarray:
    """Starts and ends of instructions, with the preamble's NOTIFY that ends when the execution starts."""
    first = pl.DataFrame(
        {"engine": [0], "pc": [-1], "start": [-_BEFORE // run.tick * run.tick], "end": [0], "wait": [0]}
    )
    rows = pl.concat([first, core.executed.cast(first.schema)])
    engine, pc, start, end, wait = (rows[name].to_numpy() for name in ("engine", "pc", "start", "end", "wait"))
    place = np.array([_address(e) >> 6 for e in range(len(ENGINES))])[engine] + pc + len(PREAMBLE)
    low = (place & _PCS) | (0x84 + 4 * engine) << 24
    begin = records(low, wait << 16, _time(run, start, version))
    stop = records(low | 1 << 24, np.full(len(rows), 0xFFFFFFFF), _time(run, end, version))
    return _in_time_order(np.concatenate([begin, stop]))


def _packets(run: Run, core: Core, version: int) -> np.ndarray:
    """Starts and ends of DMA packets, each ring in order."""
    rows = core.packets
    engine, queue, start, end, size, crc = (rows[name].to_numpy() for name in rows.columns)
    high = (0x80 + engine) << 24
    begin = records(high, queue << 4 | 1, _time(run, start, version))
    stop = records(high | size, crc << 16 | queue << 4 | 5, _time(run, end, version))
    both = np.concatenate([begin, stop])
    return both[np.lexsort((-(both["b"].astype(np.int64) & 15), both["t"]))]


def _semaphores(run: Run, core: Core, version: int) -> np.ndarray:
    """Changes of semaphores, as the tensor engine reports them."""
    t, index, value = (core.semaphores[name].to_numpy() for name in core.semaphores.columns)
    code = np.where(value == 0, 0xF9, 0xF3)
    return records(0x87 << 24 | code << 16 | 0x100 | index, value, _time(run, t, version))


def _throttles(run: Run, core: Core, version: int) -> np.ndarray:
    """Starts of throttle windows."""
    t, k, n, kind = (core.throttles[name].to_numpy() for name in core.throttles.columns)
    return records(0x9E << 24 | n << 16, kind << 8 | k, _time(run, t, version))
