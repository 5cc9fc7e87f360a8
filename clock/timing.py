"""From a trace to its times: the passes in order, and the tables that come out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nkilab.hardware import Policy

from .costs import CLASSES, compute_cost, operands
from .dependences import FLOW, KINDS, Edges, dependences
from .dma import QUEUE_TYPES, QUEUES, SOFTWARE, Transfers, hbm_bytes, transfers
from .engines import engine_of
from .expand import Device, expand
from .meetings import ROUNDS, Meetings, apply, held, meetings
from .pieces import in_pieces
from .placement import Placement, resource_edges
from .ports import Shared, shared
from .program import ENGINES, PSUM, SBUF, Floats, Ints, Program, programs
from .ranges import alternatives, body_range
from .ready import ready_order
from .repeats import without_repeats
from .schedule import ENGINE_STREAMS, Times, run
from .spill import laid_out, spill_kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nkilab.hardware import Hardware

Columns = dict[str, npt.NDArray[Any]]
_SAME = 1e-6
"""Times closer than this, in ns, are equal."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Modelled times of a trace; all times in ns from the first DMA trigger of the body.

    Attributes:
        instructions: columns over device instructions: trace_row, engine, opcode, start, end, ready, cost_class.
        dma: columns over transfers and the engines each one uses: trace_row, queue, engine, start, end, bytes, elements,
            issue (row of `instructions`), queue_type, spill (1 saves a tensor that SBUF has no room for, 2 loads it again).
        flows: columns over dependences: producer, consumer (rows of `instructions`, or the first row of a transfer in
            `dma`), producer_is_dma, consumer_is_dma, gap (end of one to start of the other), kind.
        occupancy: columns over changes: space, t, bytes (in a partition), rank, core.
        placements: columns over tensors (or pieces of them) in SBUF and PSUM: tensor, space, address (-1: did not fit), bytes,
            start, end.
        throttle: columns over stretches of TensorE's clock: t, cold, rank, core.
        collectives: columns over the parts that programs take in barriers, transfers between cores and collectives:
            trace_row, meeting, start (all members are there), end (the data is), algorithm (empty where it is no collective).
        names: of the coded columns: engine, opcode, cost_class, queue, queue_type, kind.
        body_ns: first trigger to last end. total_ns: with the launch's prologue and tail.
        range_ns: lowest and highest body, from the uncertainty of each class in the hardware table, the error of whole
            launches, and other choices of the compiler.
        confidence: share of modelled engine time by class.
        class_ns: that time, in ns.
        owner: for each tensor the one that is used in its place: itself, but for loads that are left out (`Policy.repeats`).
    """

    instructions: Columns
    dma: Columns
    flows: Columns
    occupancy: Columns
    placements: Columns
    throttle: Columns
    collectives: Columns
    names: Mapping[str, tuple[str, ...]]
    body_ns: float
    total_ns: float
    range_ns: tuple[float, float]
    confidence: Mapping[str, float]
    class_ns: Mapping[str, float]
    owner: Ints


def time(
    columns: Mapping[str, Mapping[str, Any]],
    names: Mapping[str, tuple[str, ...]],
    hw: Hardware,
    policy: Policy | None = None,
    *,
    ranges: bool = True,
) -> Timing:
    """Time a trace.

    Args:
        columns: tables `instructions`, `accesses` and `tensors` of the trace, as docs/contracts.md gives them.
        names: the lists that its coded columns point into.
        hw: the hardware table.
        policy: what the vendor's compiler decides and the trace does not say.
        ranges: time a short trace under other assumptions too, for `range_ns`.

    Raises:
        UsageError: the trace lacks a table, a column or a list of names.
    """
    parts = programs(columns, names)
    policy = _settled(parts, hw, policy or Policy())
    others = alternatives(hw, policy, sum(map(len, parts))) if ranges else []
    bodies = [_end(_timed(parts, columns, names, *other)) for other in others]
    return _join(_timed(parts, columns, names, hw, policy), hw, bodies)


def _settled(parts: list[Program], hw: Hardware, policy: Policy) -> Policy:
    """The policy, without leaving out loads where there are none: then a range need not be timed with all of them."""
    if policy.repeats and all(without_repeats(program, hw, policy)[0] is program for program in parts):
        return policy.replace(repeats=0.0)
    return policy


def _timed(
    given: list[Program],
    columns: Mapping[str, Mapping[str, Any]],
    names: Mapping[str, tuple[str, ...]],
    hw: Hardware,
    policy: Policy,
) -> list[_Part]:
    """The tables of every core."""
    return [_part(*one) for one in _laid_out(prepared(given, hw, policy), meetings(columns, names, hw), hw)]


def prepared(given: list[Program], hw: Hardware, policy: Policy) -> list[Prepared]:
    """The programs of every core with all that does not depend on times."""
    done = [without_repeats(program, hw, policy) for program in given]
    shares = _sharing([program for program, _ in done], hw)
    return [_prepare(*each, hw, policy, cores) for each, cores in zip(done, shares, strict=True)]


def launch_ns(hw: Hardware) -> float:
    """What a launch adds to its body."""
    return hw.launch.prologue_ns + hw.launch.tail_ns


def _sharing(given: list[Program], hw: Hardware) -> list[float]:
    """How many times its own traffic the HBM stack of each program moves: 1 alone, 2 beside a core that moves as much.

    A stack serves some cores of a rank; one that moves less than its share leaves the rest to the others.
    """
    ranks = [int(program.instructions["rank"][0]) if len(program) else -1 for program in given]
    moved = [hbm_bytes(program) for program in given]
    shares = []
    for index, (rank, own) in enumerate(zip(ranks, moved, strict=True)):
        others = [size for i, size in enumerate(moved) if ranks[i] == rank and i != index]
        busiest = sorted(others, reverse=True)[: hw.hbm.cores - 1]
        shares.append(1.0 + sum(min(size, own) for size in busiest) / own if own else 1.0)
    return shares


def _end(parts: list[_Part]) -> float:
    """When the last instruction, DMA or collective of all cores ends."""
    tables = [table for part in parts for table in (part.instructions, part.dma, part.collectives)]
    return float(max([table["end"].max() for table in tables if len(table["end"])], default=0.0))


@dataclass(frozen=True, slots=True)
class Prepared:
    """One core's program, ready to be laid out in time."""

    program: Program
    placement: Placement
    moved: Transfers
    device: Device
    stream: Ints
    producer: Ints
    consumer: Ints
    kind: Ints
    waits: list[tuple[int, ...]]
    met: Shared
    owner: Ints

    def run(self, hw: Hardware, hold: Floats | None = None, after: Floats | None = None) -> Times:
        """Lay it out."""
        source = self.device.source
        return run(
            self.device,
            self.moved,
            self.stream[source],
            self.program.rows[source],
            self.waits,
            self.met,
            hw,
            hold,
            after,
        )


@dataclass(frozen=True, slots=True)
class _Part:
    """The tables of one core, and what its totals are made of."""

    instructions: Columns
    dma: Columns
    flows: Columns
    occupancy: Columns
    placements: Columns
    throttle: Columns
    collectives: Columns
    opcodes: tuple[str, ...]
    class_ns: Floats
    owner: Ints


def _prepare(given: Program, owner: Ints, hw: Hardware, policy: Policy, cores: float) -> Prepared:
    """Everything about one core's program that does not depend on times."""
    program, placement = laid_out(ready_order(in_pieces(given, hw), hw, policy), hw, policy)
    seen = operands(program, hw)
    engine = engine_of(program, seen, hw, policy)
    moved = transfers(program, hw, policy, cores)
    device = expand(program, engine, compute_cost(program, engine, seen, hw), moved, hw)
    stream = _streams(engine, moved, policy)
    edges = Edges.join([dependences(program, stream), resource_edges(program, placement, stream, policy.lead)])
    producer, consumer = device.producer(program)[edges.producer], device.consumer(program)[edges.consumer]
    waits = _waits(producer, consumer, stream[device.source], edges.kind)
    met = shared(program, device, engine, placement, seen, hw)
    return Prepared(program, placement, moved, device, stream, producer, consumer, edges.kind, waits, met, owner)


def _laid_out(prepared: list[Prepared], found: Meetings | None, hw: Hardware) -> list[tuple[Prepared, Times, Columns]]:
    """All programs in time, and their rows of `collectives`; members of a meeting go on when the last has come."""
    if found is None:
        return [(one, one.run(hw), _collectives(one, None)) for one in prepared]
    afters = [apply(found, one.program, one.device) for one in prepared]
    places = [found.at(one.program, one.device) for one in prepared]
    times = [one.run(hw, None, after) for one, after in zip(prepared, afters, strict=True)]
    for _ in range(ROUNDS):
        holds = held(found, places, [each.start for each in times])
        late = [bool((hold > each.start + _SAME).any()) for hold, each in zip(holds, times, strict=True)]
        if not any(late):
            break
        times = [
            one.run(hw, hold, after) if again else each
            for one, hold, after, again, each in zip(prepared, holds, afters, late, times, strict=True)
        ]
    tables = [_collectives(one, (found, each)) for one, each in zip(prepared, times, strict=True)]
    return list(zip(prepared, times, tables, strict=True))


def _collectives(one: Prepared, met: tuple[Meetings, Times] | None) -> Columns:
    if met is None:
        return {name: np.zeros(0) for name in ("trace_row", "meeting", "start", "end", "algorithm")}
    found, times = met
    rows, mine = found.at(one.program, one.device)
    return {
        "trace_row": found.row[mine],
        "meeting": found.number[mine],
        "start": times.start[rows],
        "end": times.done[rows],
        "algorithm": np.array([found.algorithm[place] for place in mine.tolist()], np.str_),
    }


def _part(one: Prepared, times: Times, collectives: Columns) -> _Part:
    """The tables of one core."""
    program, device, moved = one.program, one.device, one.moved
    memory = _memory(program, one.placement, device, times)
    throttle = {
        "t": np.array([t for t, _ in times.throttle]),
        "cold": np.array([cold for _, cold in times.throttle]),
    }
    return _Part(
        instructions=_instructions(program, device, times),
        dma=_dma_rows(program, device, moved, times),
        flows=_flows(one.producer, one.consumer, one.kind, device, moved, times),
        occupancy=_of_program(memory["occupancy"], program),
        placements=memory["placements"],
        throttle=_of_program(throttle, program),
        collectives=collectives,
        opcodes=device.opcodes,
        class_ns=_class_ns(device, moved, times),
        owner=one.owner,
    )


def _streams(engine: Ints, moved: Transfers, policy: Policy) -> Ints:
    """In-order stream of each instruction: its engine, or loads and stores of its queue."""
    stream = engine.copy()
    store = ~moved.load if policy.loads != "program" else np.zeros(len(moved.row), np.bool_)
    stream[moved.row] = ENGINE_STREAMS + 2 * moved.queue + store
    return stream


def _waits(producer: Ints, consumer: Ints, stream: Ints, kind: Ints) -> list[tuple[int, ...]]:
    """For each device row the rows it waits for, ~row where a compute engine waits for itself."""
    own = (stream[producer] == stream[consumer]) & (stream[producer] < ENGINE_STREAMS) & (kind == FLOW)
    mark = np.where(own, ~producer, producer)
    order = np.argsort(consumer, kind="stable")
    ends = np.searchsorted(consumer[order], np.arange(len(stream) + 1)).tolist()
    marks = mark[order].tolist()
    return [tuple(marks[a:b]) if b > a else () for a, b in pairwise(ends)]


def _instructions(program: Program, device: Device, times: Times) -> Columns:
    return {
        "trace_row": program.rows[device.source],
        "engine": device.engine.astype(np.int8),
        "opcode": device.opcode.astype(np.int16),
        "start": times.start,
        "end": times.end,
        "ready": times.ready,
        "cost_class": device.cls.astype(np.int8),
    }


def _dma_rows(program: Program, device: Device, moved: Transfers, times: Times) -> Columns:
    """One row for each engine of each transfer."""
    count = moved.last - moved.first + 1
    transfer = np.repeat(np.arange(len(count)), count)
    engine = np.arange(len(transfer)) - np.repeat(np.cumsum(count) - count, count) + moved.first[transfer]
    share = np.where(engine == moved.first[transfer], moved.rows_first[transfer], moved.rows_last[transfer])
    inner = (engine != moved.first[transfer]) & (engine != moved.last[transfer])
    even = (moved.rows - moved.rows_first - moved.rows_last)[transfer] // np.maximum(count[transfer] - 2, 1)
    rows = np.where(inner, even, share)
    part = rows / np.maximum(moved.rows[transfer], 1)
    return {
        "trace_row": program.rows[moved.row][transfer],
        "queue": moved.queue[transfer].astype(np.int8),
        "engine": engine.astype(np.int8),
        "start": times.piece_start,
        "end": times.piece_end,
        "bytes": np.rint(moved.bytes[transfer] * part).astype(np.int64),
        "elements": np.maximum(np.rint(moved.elements[transfer] * part), 1).astype(np.int64),
        "issue": device.start[moved.row][transfer],
        "queue_type": (moved.queue[transfer] != SOFTWARE).astype(np.int8),
        "spill": spill_kind(program)[moved.row][transfer].astype(np.int8),
    }


def _flows(producer: Ints, consumer: Ints, kind: Ints, device: Device, moved: Transfers, times: Times) -> Columns:
    """Dependences in rows of the instruction and DMA tables."""
    count = moved.last - moved.first + 1
    first = np.concatenate([np.cumsum(count) - count, [0]])
    from_dma, to_dma = device.transfer[producer] >= 0, device.transfer[consumer] >= 0
    return {
        "producer": np.where(from_dma, first[device.transfer[producer]], producer),
        "consumer": np.where(to_dma, first[device.transfer[consumer]], consumer),
        "producer_is_dma": from_dma,
        "consumer_is_dma": to_dma,
        "gap": times.start[consumer] - times.done[producer],
        "kind": kind.astype(np.int8),
    }


def _memory(program: Program, placement: Placement, device: Device, times: Times) -> dict[str, Columns]:
    """Stays of tensors in SBUF and PSUM, and how full these are."""
    access = program.accesses
    rows = np.flatnonzero((access["space"] == SBUF) | (access["space"] == PSUM))
    tensor = access["tensor"][rows].astype(np.int64)
    begin = np.full(len(program.tensors["bytes"]), np.inf)
    end = np.full(len(begin), -np.inf)
    np.minimum.at(begin, tensor, times.start[device.consumer(program)[rows]])
    np.maximum.at(end, tensor, times.done[device.producer(program)[rows]])
    held = np.unique(tensor)
    size = program.tensors["bytes"][held].astype(np.int64)
    t = np.concatenate([begin[held], end[held]])
    order = np.lexsort((np.r_[np.ones(len(held)), np.zeros(len(held))], t))
    space = np.tile(program.tensors["space"][held], 2)[order]
    change = np.concatenate([size, -size])[order]
    level = np.where(
        space == SBUF, np.cumsum(np.where(space == SBUF, change, 0)), np.cumsum(np.where(space == PSUM, change, 0))
    )
    return {
        "occupancy": {"space": space, "t": t[order], "bytes": level},
        "placements": {
            "tensor": program.tensors.get("origin", np.arange(len(begin)))[held],
            "space": program.tensors["space"][held],
            "address": placement.address[held],
            "bytes": size,
            "start": begin[held],
            "end": end[held],
        },
    }


def _of_program(table: Columns, program: Program) -> Columns:
    """A table with columns for the rank and core of its program."""
    count = len(table["t"])
    columns = {name: np.full(count, program.instructions[name][:1].sum()) for name in ("rank", "core")}
    return {**table, **columns}


def _class_ns(device: Device, moved: Transfers, times: Times) -> Floats:
    """Engine time by class: what compute engines and DMA engines were kept busy with."""
    busy = np.where(device.load | (device.transfer >= 0), 0.0, np.minimum(device.interval, times.end - times.start))
    total = np.zeros(len(CLASSES))
    busy += np.where(device.transfer < 0, times.done - times.end, 0.0)
    total += np.bincount(device.cls, weights=busy, minlength=len(CLASSES))
    count = moved.last - moved.first + 1
    cls = np.repeat(moved.cls, count)
    total += np.bincount(cls, weights=times.piece_end - times.piece_start, minlength=len(CLASSES))
    return total


def _join(parts: list[_Part], hw: Hardware, others: list[float]) -> Timing:
    """The tables of all cores as one, row numbers shifted, and the totals."""
    tables: dict[str, Columns] = {}
    at_instruction = at_dma = 0
    for part in parts:
        shifted = _shifted(part, at_instruction, at_dma)
        for name, table in shifted.items():
            known = tables.setdefault(name, {key: column[:0] for key, column in table.items()})
            tables[name] = {key: np.concatenate([known[key], column]) for key, column in table.items()}
        at_instruction += len(part.instructions["start"])
        at_dma += len(part.dma["start"])
    body = _end(parts)
    spent = sum((part.class_ns for part in parts), np.zeros(len(CLASSES)))
    share = spent / spent.sum() if spent.sum() else spent
    return Timing(
        **tables,
        names=_names(parts[0].opcodes if parts else ()),
        body_ns=body,
        total_ns=body + launch_ns(hw),
        range_ns=body_range([body, *others], share, hw),
        confidence=dict(zip(CLASSES, share.tolist(), strict=True)),
        class_ns=dict(zip(CLASSES, spent.tolist(), strict=True)),
        owner=_owners(parts),
    )


def _owners(parts: list[_Part]) -> Ints:
    """The owner of each tensor, whichever core loads it."""
    found = np.arange(len(parts[0].owner) if parts else 0)
    for part in parts:
        found = np.where(part.owner != np.arange(len(found)), part.owner, found)
    return found


def _shifted(part: _Part, instructions: int, dma: int) -> dict[str, Columns]:
    """A core's tables with row numbers for the joined ones."""
    flows = dict(part.flows)
    for side in ("producer", "consumer"):
        flows[side] = flows[side] + np.where(flows[f"{side}_is_dma"], dma, instructions)
    return {
        "instructions": part.instructions,
        "dma": {**part.dma, "issue": part.dma["issue"] + instructions},
        "flows": flows,
        "occupancy": part.occupancy,
        "placements": part.placements,
        "throttle": part.throttle,
        "collectives": part.collectives,
    }


def _names(opcodes: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    return {
        "engine": ENGINES,
        "opcode": opcodes,
        "cost_class": CLASSES,
        "queue": QUEUES,
        "queue_type": QUEUE_TYPES,
        "kind": KINDS,
    }
