"""What a DMA costs: the stream that issues it, and how long it keeps each DMA engine busy.

Engine = SBUF partition / 8; each partition row, and each break in contiguity, is an element of its own; software
descriptors merge elements into packets, which saves packets but not elements: an engine takes no more of them than of the
smallest packets. Sources: the vendor's DMA guide, and packets in device profiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .costs import CLASSES, class_of
from .program import DMA_APIS, GPSIMD, HBM, SCALAR, SYNC, Bools, Floats, Ints, Program

if TYPE_CHECKING:
    from nkilab.hardware import Hardware, Policy

SOFTWARE, SYNC_QUEUE, SCALAR_QUEUE = range(3)
QUEUES = ("gpsimd_software", "sync_hardware", "scalar_hardware")
QUEUE_ENGINE = (GPSIMD, SYNC, SCALAR)
QUEUE_TYPES = ("software_dynamic", "hardware_dynamic")
_INDICES = ("index", "indices", "vector_offset", "scalar_offset", "register")


@dataclass(frozen=True, slots=True)
class Transfers:
    """Columns over DMAs, in program order.

    `row`: instruction. `queue`: index into `QUEUES`. `load`: writes on-chip memory. `issue`: ns on the issuing stream.
    `latency`: ns from the start of the issue to the first element. Engines `first` to `last` move `head`, `middle` ...,
    `tail` ns of elements each; `hbm`: ns of HBM bandwidth. `bytes`, `elements`: of the whole transfer; `rows_first`,
    `rows_last`: partition rows on the first and last engine, `rows`: on all. `descriptors`: most on one engine, with the
    semaphore's. `cls`: class of the cost.
    """

    row: Ints
    queue: Ints
    load: Bools
    issue: Floats
    latency: Floats
    first: Ints
    last: Ints
    head: Floats
    middle: Floats
    tail: Floats
    hbm: Floats
    bytes: Ints
    elements: Ints
    rows_first: Ints
    rows_last: Ints
    rows: Ints
    descriptors: Ints
    cls: Ints


@dataclass(frozen=True, slots=True)
class _Side:
    """The operand of each DMA that it writes, or the first one that it reads."""

    space: Ints
    kind: Ints
    p0: Ints
    p1: Ints
    elements: Ints
    run: Ints
    size: Ints


def transfers(program: Program, hw: Hardware, policy: Policy, cores: float = 1.0) -> Transfers:
    """Cost every DMA of a program whose HBM stack moves that many times its traffic."""
    rows = np.flatnonzero(program.api(*DMA_APIS))
    source, target = _side(program, rows, write=False), _side(program, rows, write=True)
    queue = _queues(program, rows, source, target, policy)
    on_chip = _pick(target.space != HBM, target, source)
    direct = (target.space == HBM) & (source.space == HBM)
    moved = target.elements * np.where(target.space == HBM, 1, target.p1 - target.p0)
    size = np.maximum(source.size, target.size)
    run = np.maximum(np.minimum(source.run // source.size, target.run // target.size), 1)
    first, last, counts = _spread(on_chip, direct, hw)
    pieces = np.maximum(moved // run, 1)
    rates = _rates(program.flag("dma_transpose")[rows], queue, source, target, hw)
    per_row = pieces / np.maximum(counts[2], 1)
    head, middle, tail = (rates.ns(count * per_row, run * size) for count in (counts[0], counts[3], counts[1]))
    crossings = (target.space == HBM).astype(np.int64) + (source.space == HBM)
    return Transfers(
        row=rows,
        queue=queue,
        load=target.space != HBM,
        issue=_issue_ns(program, rows, queue, hw),
        latency=_latency_ns(queue, source.space == HBM, hw),
        first=first,
        last=last,
        head=head,
        middle=middle,
        tail=tail,
        hbm=moved * size * crossings * cores / hw.hbm.gbps,
        bytes=moved * target.size,
        elements=pieces,
        rows_first=counts[0],
        rows_last=counts[1],
        rows=counts[2],
        descriptors=rates.descriptors(np.minimum(counts[2], hw.dma.partitions_per_engine) * per_row, run * size),
        cls=np.select(
            [rates.by_element(run * size)],
            [CLASSES.index("guessed")],
            np.maximum(class_of(hw, "dma.element_ns"), _unmeasured(program, rows, direct, source, target)),
        ),
    )


def hbm_bytes(program: Program) -> float:
    """Bytes that the DMAs of a program read and write in HBM."""
    access = program.accesses
    mine = (access["space"] == HBM) & program.api(*DMA_APIS)[access["instruction"]] & ~program.role(*_INDICES)
    return float((access["elements"] * program.itemsize())[mine].sum())


def _side(program: Program, rows: Ints, *, write: bool) -> _Side:
    """First access of each DMA in one direction; index operands do not count."""
    access, size = program.accesses, program.itemsize()
    data = np.flatnonzero((access["write"] == write) & ~program.role(*_INDICES))
    found, where = np.unique(access["instruction"][data], return_index=True)
    place = np.searchsorted(found, rows)
    known = (place < len(found)) & (found[np.minimum(place, len(found) - 1)] == rows) if len(found) else rows < 0
    pick = data[where[np.minimum(place, max(len(found) - 1, 0))]] if len(found) else np.zeros(len(rows), np.int64)

    def column(values: Ints, default: int) -> Ints:
        return np.where(known, values[pick] if len(values) else default, default).astype(np.int64)

    return _Side(
        space=column(access["space"], HBM),
        kind=column(program.tensors["kind"][access["tensor"]] if len(access["tensor"]) else access["tensor"], 0),
        p0=column(access["p0"], 0),
        p1=column(access["p1"], 1),
        elements=column(access["elements"], 1),
        run=column(np.maximum(access["run"], size), 1),
        size=column(size, 1),
    )


def _pick(mask: Bools, yes: _Side, no: _Side) -> _Side:
    columns = {name: np.where(mask, getattr(yes, name), getattr(no, name)) for name in _Side.__dataclass_fields__}
    return _Side(**columns)


def _queues(program: Program, rows: Ints, source: _Side, target: _Side, policy: Policy) -> Ints:
    """The issuing stream of each DMA: as the kernel says, else as the policy says."""
    if policy.queue == "compiler":
        far = _pick(source.space == HBM, source, target)
        kind = np.array([_KIND_QUEUE.get(name, -1) for name in program.names["kind"]] or [0])[far.kind]
        free = np.where(kind >= 0, kind, np.where(target.space == HBM, SCALAR_QUEUE, SYNC_QUEUE))
    else:
        free = np.full(len(rows), ("gpsimd", "sync", "scalar").index(policy.queue))
    engine = program.instructions["engine"][rows]
    queue = np.select([engine == code for code in QUEUE_ENGINE], range(len(QUEUES)), free)
    queue = np.where(program.flag("swdge")[rows], SOFTWARE, queue)
    return np.where(program.flag("hwdge")[rows] & (queue == SOFTWARE), SYNC_QUEUE, queue)


_KIND_QUEUE = {"input": SOFTWARE, "output": SOFTWARE, "constant": SYNC_QUEUE}


def _issue_ns(program: Program, rows: Ints, queue: Ints, hw: Hardware) -> Floats:
    dma = hw.dma
    issue = np.array([dma.software_issue_ns, dma.sync_issue_ns, dma.scalar_issue_ns])[queue]
    register = program.flag("dynamic_address")[rows] | program.flag("indirect")[rows]
    return np.where(register, dma.register_issue_ns, issue)


def _unmeasured(program: Program, rows: Ints, direct: Bools, source: _Side, target: _Side) -> Ints:
    """1 for DMAs of a kind that no profile has: transposes, indirect ones, within HBM or within SBUF."""
    inside = (source.space != HBM) & (target.space != HBM)
    turned = program.flag("dma_transpose") | program.api("dma_transpose")
    unmeasured: Ints = (direct | inside | (turned | program.flag("indirect"))[rows]).astype(np.int64)
    return unmeasured


def _latency_ns(queue: Ints, load: Bools, hw: Hardware) -> Floats:
    """From the start of the issue to data on all engines."""
    dma = hw.dma
    first = np.where(queue == SOFTWARE, dma.software_start_ns + dma.software_latency_ns, dma.hardware_latency_ns)
    return first + np.where(load, dma.load_start_ns, dma.store_start_ns)


def _spread(on_chip: _Side, direct: Bools, hw: Hardware) -> tuple[Ints, Ints, tuple[Ints, Ints, Ints, Ints]]:
    """First and last engine, and the partition rows on the first, the last, all, and each one between.

    Between two places in HBM all engines share the work.
    """
    share = hw.dma.partitions_per_engine
    p0 = np.where(direct, 0, on_chip.p0)
    p1 = np.where(direct, hw.dma.engines * share, np.maximum(on_chip.p1, on_chip.p0 + 1))
    first, last = p0 // share, (p1 - 1) // share
    rows = p1 - p0
    on_first = np.minimum(rows, (first + 1) * share - p0)
    on_last = np.where(first == last, rows, p1 - last * share)
    return (
        first % hw.dma.engines,
        np.minimum(last, hw.dma.engines - 1),
        (on_first, on_last, rows, np.full(len(p0), share)),
    )


@dataclass(frozen=True, slots=True)
class _Rates:
    """What the time of a DMA's elements depends on beside their number and size."""

    merges: Bools
    cast: Bools
    factor: Floats
    hw: Hardware

    def descriptors(self, count: Floats, size: Ints) -> Ints:
        """Descriptors of `count` elements of `size` bytes on one engine, and the one of the semaphore."""
        packet = self.hw.dma.packet_bytes
        merged = np.where(self.merges & (size < packet), count * size / max(packet, 1), count)
        return np.ceil(merged).astype(np.int64) + 1

    def by_element(self, size: Ints) -> Bools:
        """Where merged elements are so small that their number counts, not their bytes: a guess."""
        dma = self.hw.dma
        if not dma.packet_bytes:
            return np.zeros(len(size), np.bool_)
        packet = element_ns(np.array(dma.packet_bytes), self.hw) - dma.element_overlap_ns
        found: Bools = self.merges & (size * packet < (dma.element_ns[0] - dma.element_overlap_ns) * dma.packet_bytes)
        return found

    def ns(self, count: Floats, size: Ints) -> Floats:
        """Time of `count` elements of `size` bytes on one engine."""
        dma = self.hw.dma
        overlap = dma.element_overlap_ns
        apart = count * (element_ns(size, self.hw) - overlap + np.where(self.cast, dma.cast_element_ns, 0.0))
        if not dma.packet_bytes:
            return apart * self.factor
        whole, rest = np.divmod(count * size, dma.packet_bytes)
        packet = element_ns(np.array(dma.packet_bytes), self.hw) - overlap
        merged = whole * packet + np.where(rest > 0, element_ns(rest, self.hw) - overlap, 0.0)
        merged = np.maximum(merged, count * (dma.element_ns[0] - overlap))
        return np.where(self.merges & (size < dma.packet_bytes), merged, apart) * self.factor


def _rates(transpose: Bools, queue: Ints, source: _Side, target: _Side, hw: Hardware) -> _Rates:
    dma = hw.dma
    inside = (source.space != HBM) & (target.space != HBM)
    efficiency = np.where(inside, dma.sbuf_transpose_efficiency, dma.transpose_efficiency)
    cast = source.size != target.size
    return _Rates((queue == SOFTWARE) & ~cast, cast, np.where(transpose, 1.0 / efficiency, 1.0), hw)


def element_ns(size: Ints | Floats, hw: Hardware) -> Floats:
    """Time of one element of `size` bytes on one DMA engine, in ns: linear between the measured sizes and beyond."""
    sizes, times = np.array(hw.dma.element_bytes, np.float64), np.array(hw.dma.element_ns)
    slope = (times[-1] - times[-2]) / (sizes[-1] - sizes[-2])
    value: Floats = np.interp(size, sizes, times) + np.maximum(np.asarray(size) - sizes[-1], 0.0) * slope
    return value
