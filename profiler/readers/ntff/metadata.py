"""The metadata message of an NTFF as dataclasses. Field numbers were found in real files; there is no public schema."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..wire import Message, Source
from .header import HEADER_BYTES, Layout

MAX_GRAPHS = 64
MAX_SECTIONS = 1 << 10
MAX_CORE = 1 << 16
INSTRUCTION_BYTES = 64
_SIGNED = 1 << 63


@dataclass(frozen=True, slots=True)
class Section:
    """A run of 16-byte records at [start, end) of the file: its kind, hardware block and core."""

    kind: int
    block: int
    nc: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Clock:
    """One clock: its reading at the start, its tick, and the tick in picoseconds it should have had."""

    init: int
    tick: int
    expected: int


@dataclass(frozen=True, slots=True)
class Queue:
    """One ring of a DMA queue: engine and queue index, type code, name, DRAM channel (-1: none)."""

    engine: int
    index: int
    type: int
    name: str
    channel: int


@dataclass(frozen=True, slots=True)
class Code:
    """The program of one engine as it lay in device memory: first address, and the image at [start, end) of the file."""

    address: int
    start: int
    end: int

    @property
    def size(self) -> int:
        """Number of 64-byte instructions."""
        return (self.end - self.start) // INSTRUCTION_BYTES


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """One physical core: its program, queues, clocks, memory use and records.

    Attributes:
        core: 0 or 1 within the logical core.
        nc: physical core index of the device.
        patches: per engine, rows of (device pc, count, operation 0 insert | 2 delete).
        engine_clocks, dma_clocks: by engine index.
        memory: (kind code, bytes, name; "" in version 4).
        total_ps: length of the execution on this core.
    """

    name: str
    core: int
    nc: int
    code: dict[int, Code]
    patches: dict[int, NDArray[np.int64]]
    sections: tuple[Section, ...]
    queues: tuple[Queue, ...]
    engine_clocks: tuple[Clock, ...]
    dma_clocks: tuple[Clock, ...]
    memory: tuple[tuple[int, int, str], ...]
    total_ps: int


@dataclass(frozen=True, slots=True, eq=False)
class Capture:
    """One NTFF: one execution of one program on one logical core.

    Attributes:
        uuid: 32 hex digits of the program's uuid, "" where the file has none.
        uuid_exact: False where only a C string of it is left (versions 4 and 5), cut at the first NUL.
        start_ps, stop_ps: the execution on the device's clock (version 6), else None.
    """

    version: int
    neff_name: str
    uuid: str
    uuid_exact: bool
    execution: int
    runtime: str
    driver: str
    collectives: str
    instance_type: str
    instance_id: str
    pid: int
    start_ps: int | None
    stop_ps: int | None
    graphs: tuple[Graph, ...]

    def facts(self) -> dict[str, str]:
        """What the file says about itself, for the Metadata table; unknown facts are left out."""
        facts = {
            "ntff_version": str(self.version),
            "neff_name": self.neff_name,
            "neff_uuid": self.uuid if self.uuid_exact else "",
            "execution_index": str(self.execution) if self.execution else "",
            "runtime_version": self.runtime,
            "driver_version": self.driver,
            "collectives_version": self.collectives,
            "instance_type": self.instance_type,
            "instance_id": self.instance_id,
            "process_id": str(self.pid) if self.pid else "",
            "num_physical_cores": str(len(self.graphs)),
        }
        return {key: value for key, value in facts.items() if value}


def capture(source: Source, where: Layout) -> Capture:
    """Read the metadata of an NTFF.

    Raises:
        InputError: malformed, or a section or program that lies outside the file or over another one.
    """
    top = Message.parse(source, HEADER_BYTES, where.raw, "metadata")
    nodes = top.messages(4, MAX_GRAPHS)
    bodies = [node.message(4) for node in nodes]
    found = [graph for body in bodies for graph in body.messages(1, MAX_GRAPHS)]
    if len(found) > MAX_GRAPHS:
        raise source.fail("metadata.4.4.1", HEADER_BYTES, f"{len(found)} cores, at most {MAX_GRAPHS}")
    shared = top.messages(16, MAX_SECTIONS) if where.version >= 6 else None
    graphs = tuple(_graph(message, core, where, shared) for core, message in enumerate(found))
    _disjoint(source, where, graphs)
    uuid, exact = _uuid(top, bodies)
    span = top.message(15)
    return Capture(
        version=where.version,
        neff_name=top.text(1),
        uuid=uuid,
        uuid_exact=exact,
        execution=top.number(5),
        runtime=_release(top.message(8)),
        driver=_release(top.message(11)),
        collectives=_release(top.message(12)),
        instance_type=top.text(9),
        instance_id=top.text(17),
        pid=top.number(18),
        start_ps=span.optional(2),
        stop_ps=span.optional(3),
        graphs=graphs,
    )


def _uuid(top: Message, bodies: list[Message]) -> tuple[str, bool]:
    """The program's uuid, and whether it is whole: the node carries all 16 bytes, the top field a C string."""
    for raw in (*(body.raw(5) for body in bodies), top.message(15).raw(1)):
        if len(raw) == 16:
            return raw.hex(), True
    head = top.raw(2).split(b"\0")[0][:16]
    return head.hex(), len(head) == 16


def _release(message: Message) -> str:
    """A version such as 2.30.51; "" where the message is empty."""
    if not message.numbers:
        return ""
    parts = [message.number(number) for number in (1, 2, 3)]
    text = ".".join(map(str, parts))
    return f"{text} ({git[:5]})" if (git := message.text(5)) else text


def _graph(message: Message, core: int, where: Layout, shared: tuple[Message, ...] | None) -> Graph:
    """One physical core; from version 6 on sections are shared, each marked with its core's index."""
    nc = message.number(3)
    if nc > MAX_CORE:
        raise message.source.fail(f"{message.field}.3", where.raw, f"core {nc} of a device, at most {MAX_CORE}")
    marked = message.messages(6, MAX_SECTIONS) if shared is None else shared
    sections = [_section(section, nc, where) for section in marked if shared is None or section.number(7) == nc]
    clocks = message.message(10)
    return Graph(
        name=message.text(1, 64),
        core=core,
        nc=nc,
        code={code.number(1): _code(code, where) for code in message.messages(4, 64)},
        patches={patch.number(1): _patches(patch) for patch in message.messages(5, 64)},
        sections=tuple(section for section in sections if section.end > section.start),
        queues=tuple(_queue(queue) for queue in message.messages(7, 1 << 14)),
        engine_clocks=tuple(_clock(clocks.message(number)) for number in range(1, 6)),
        dma_clocks=tuple(_clock(clock) for clock in clocks.messages(8, 256)),
        memory=tuple((use.number(1), use.number(2), use.text(3, 64)) for use in message.messages(11, 256)),
        total_ps=message.number(14),
    )


def _section(message: Message, nc: int, where: Layout) -> Section:
    """One section, checked to lie in the file and to hold whole records."""
    start, size = message.number(5), message.number(6)
    source = message.source
    room = len(source.data) - where.raw
    if start > room or size > room - start:
        raise source.fail(message.field, where.raw + start, f"a section of {size} bytes, outside the file")
    if size % 16:
        raise source.fail(message.field, where.raw + start, f"a section of {size} bytes, which is no multiple of 16")
    return Section(message.number(1), message.number(3), nc, where.raw + start, where.raw + start + size)


def _code(message: Message, where: Layout) -> Code:
    """One engine's program: in the message itself (versions 4 and 5) or in the raw area (6)."""
    address = message.number(2)
    if where.version < 6:
        start, end = message.span(3)
        return Code(address, start, end)
    start, size = where.raw + message.number(7), message.number(8)
    if start + size > len(message.source.data):
        raise message.source.fail(message.field, start, f"a program of {size} bytes, outside the file")
    return Code(address, start, start + size)


def _patches(message: Message) -> NDArray[np.int64]:
    """The changes the runtime made to one engine's program."""
    rows = message.rows(2)
    offset, count, operation = (rows.ints(number) for number in (1, 2, 3))
    return np.stack([offset // INSTRUCTION_BYTES, count, operation], axis=1)


def _queue(message: Message) -> Queue:
    """One DMA ring."""
    return Queue(message.number(1), message.number(2), message.number(3), message.text(4, 256), message.number(7, -1))


def _clock(message: Message) -> Clock:
    """One clock; an absent tick is 1."""
    return Clock(message.number(1), max(message.number(2, 1), 1), max(message.number(3, 1), 1))


def _disjoint(source: Source, where: Layout, graphs: tuple[Graph, ...]) -> None:
    """Refuse sections that overlap: a small file must not claim many times its size."""
    spans = sorted((section.start, section.end) for graph in graphs for section in graph.sections)
    for (_, end), (start, _) in pairwise(spans):
        if start < end:
            raise source.fail("sections", start, "two sections over the same bytes")
    images = sum(code.end - code.start for graph in graphs for code in graph.code.values())
    if images > len(source.data):
        raise source.fail("engine code", where.raw, "programs that together are larger than the file")
