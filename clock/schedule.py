"""The loop that gives every device instruction and DMA its time.

Engines and issuing streams are in order; what is on different ones runs as soon as its operands are there. Compute
engines are laid out as far as their operands are known; then the DMA (or instruction of GpSimdE or another engine that
also issues DMAs) that can go earliest goes next, so that what shares an issuing engine, the DMA engines or HBM is served
in order of time.

One pass over the rows on Python numbers in lists: no arrays and no objects by row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from . import channels, throttle
from .array import Tiles
from .dma import QUEUE_ENGINE, QUEUES
from .ports import Ports, Shared, ports
from .program import GPSIMD, TENSOR

if TYPE_CHECKING:
    from nkilab.hardware import Hardware

    from .dma import Transfers
    from .expand import Device
    from .program import Floats, Ints

ENGINE_STREAMS = 5
STREAMS = ENGINE_STREAMS + 2 * len(QUEUES)
_UNKNOWN = -1.0


@dataclass(frozen=True, slots=True)
class Times:
    """When everything happened, in ns.

    Columns over device instructions: `start`, `end`, `ready` (operands there) and `done` (for a DMA: data landed). Columns
    over transfers and the engines each one uses: `piece_start`, `piece_end`. `throttle`: (time, cold) of each change.
    """

    start: Floats
    end: Floats
    ready: Floats
    done: Floats
    piece_start: Floats
    piece_end: Floats
    throttle: list[tuple[float, bool]]


@dataclass(slots=True)
class _Stream:
    """An in-order list of device rows: those of an engine, or loads or stores of a queue; `at` is the next one.

    `resource`: the engine that it occupies, which it may share with other streams. `ready`: when the operands of the next row are there.
    """

    rows: list[int]
    resource: int
    at: int = 0
    ready: float = _UNKNOWN


@dataclass(slots=True)
class _State:
    """The state of the loop. Lists are indexed by device row; `free` by resource. `written`: place in program order."""

    waits: list[tuple[int, ...]]
    interval: list[float]
    duration: list[float]
    load: list[bool]
    transfer: list[int]
    written: list[int]
    start: list[float]
    end: list[float]
    ready: list[float]
    done: list[float]
    visible: list[float]
    streams: list[_Stream]
    timed: list[bool]
    free: list[float]
    same_engine: float
    across: float
    lead: float
    unclocked: tuple[float, float]
    array: list[int]
    tiles: Tiles | None
    ports: Ports
    weights: float = 0.0
    loaded: float = 0.0
    waiting: dict[int, list[int]] = field(default_factory=dict)
    woken: list[int] = field(default_factory=list)
    hold: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)

    def operands(self, row: int, stream: int) -> float:
        """When the operands of a row are there; _UNKNOWN where a row lacks, for which the stream then waits."""
        ready, visible = self.hold[row], self.visible
        for mark in self.waits[row]:
            other = mark if mark >= 0 else ~mark
            time = visible[other]
            if time < 0.0:
                self.waiting.setdefault(other, []).append(stream)
                return _UNKNOWN
            if mark < 0:
                time = self.done[other] + self.same_engine
            ready = max(ready, time)
        return ready

    def finish(self, row: int, visible: float) -> None:
        """From `visible` on, other streams may use what the row did; wake those that wait for it."""
        self.visible[row] = visible
        if row in self.waiting:
            self.woken += self.waiting.pop(row)


def run(
    device: Device,
    moved: Transfers,
    stream: Ints,
    written: Ints,
    waits: list[tuple[int, ...]],
    met: Shared,
    hw: Hardware,
    hold: Floats | None = None,
    after: Floats | None = None,
) -> Times:
    """Lay out all device instructions and DMAs in time.

    Args:
        device: device instructions in issue order.
        moved: their DMAs.
        stream: in-order stream of each device row: 0 to 4 an engine, from 5 on loads and stores of each DMA queue.
        written: place of each device row in program order.
        waits: for each device row the rows it waits for; ~row where both are on one engine.
        met: what each device row shares with other engines.
        hw: the hardware table.
        hold: earliest start of each device row, in ns; 0 where not given.
        after: how long after a GpSimdE row's end its work is done (see meetings.py), in ns; 0 where not given.
    """
    state = _state(device, stream, written, waits, met, hw)
    idle = [0.0] * len(device.source)
    state.hold = idle if hold is None else hold.tolist()
    state.after = idle if after is None else after.tolist()
    grid, lanes = throttle.clock(hw.throttle), channels.channels(moved, hw)
    timed = [code for code in range(STREAMS) if state.timed[code] and state.streams[code].rows]
    state.woken = [*range(STREAMS)]
    _wake(state, grid)
    while True:
        code, when = _next(state, timed, lanes)
        if code < 0:
            break
        _issue(state, code, when, lanes)
        state.woken.append(code)
        _wake(state, grid)
    start, end = channels.pieces_table(lanes, moved)
    found = [np.array(column) for column in (state.start, state.end, state.ready, state.done)]
    return Times(found[0], found[1], found[2], found[3], start, end, grid.changes)


def _state(
    device: Device, stream: Ints, written: Ints, waits: list[tuple[int, ...]], met: Shared, hw: Hardware
) -> _State:
    count = len(device.source)
    streams = [_Stream(np.flatnonzero(stream == code).tolist(), _resource(code)) for code in range(STREAMS)]
    issuing = {lane.resource for lane in streams[ENGINE_STREAMS:] if lane.rows} | met.engines
    return _State(
        waits=waits,
        interval=device.interval.tolist(),
        duration=device.duration.tolist(),
        load=device.load.tolist(),
        transfer=device.transfer.tolist(),
        written=written.tolist(),
        start=[0.0] * count,
        end=[0.0] * count,
        ready=[0.0] * count,
        done=[0.0] * count,
        visible=[_UNKNOWN] * count,
        streams=streams,
        timed=[code >= ENGINE_STREAMS or code == GPSIMD or code in issuing for code in range(STREAMS)],
        free=[0.0] * ENGINE_STREAMS,
        same_engine=hw.handover.same_engine_ns,
        across=hw.handover.signal_ns + hw.handover.wait_ns,
        lead=hw.dma.software_start_ns,
        unclocked=(hw.tensor.pipeline_ns, hw.tensor.load_fixed_ns),
        array=device.array.tolist(),
        tiles=Tiles(hw.tensor.min_columns / hw.tensor.clock_ghz) if device.array.any() else None,
        ports=ports(met),
    )


def _resource(stream: int) -> int:
    """What a stream occupies: the engine that issues its DMAs, or itself."""
    return stream if stream < ENGINE_STREAMS else QUEUE_ENGINE[(stream - ENGINE_STREAMS) // 2]


def _wake(state: _State, grid: throttle.Clock) -> None:
    """Let every woken stream go on until none can."""
    while state.woken:
        code = state.woken.pop()
        lane = state.streams[code]
        if lane.at >= len(lane.rows):
            lane.ready = _UNKNOWN
        elif state.timed[code]:
            lane.ready = state.operands(lane.rows[lane.at], code)
        elif code == TENSOR and state.tiles:
            _multiply_tiles(state, lane, grid, state.tiles)
        elif code == TENSOR:
            _multiply(state, lane, grid)
        else:
            _compute(state, lane, code)


def _compute(state: _State, lane: _Stream, code: int) -> None:
    """Run a compute engine as far as its operands are known."""
    rows, at, free = lane.rows, lane.at, state.free[code]
    while at < len(rows):
        row = rows[at]
        ready = state.operands(row, code)
        if ready < 0.0:
            break
        begin = max(ready, free)
        end = begin + state.duration[row]
        free = begin + state.interval[row]
        state.ready[row], state.start[row], state.end[row], state.done[row] = ready, begin, end, end
        state.finish(row, end + state.across)
        at += 1
    lane.at, state.free[code] = at, free


def _multiply(state: _State, lane: _Stream, grid: throttle.Clock) -> None:
    """Run TensorE as far as its operands are known: weights are loaded behind the multiply before.

    A load may start when the multiply that uses the weights before has started; a multiply when its weights are in and
    the one before has streamed its columns.
    """
    rows, at, free, weights, loaded = lane.rows, lane.at, state.free[TENSOR], state.weights, state.loaded
    fixed, fixed_load = state.unclocked
    while at < len(rows):
        row = rows[at]
        ready = state.operands(row, TENSOR)
        if ready < 0.0:
            break
        if state.load[row]:
            begin = max(ready, weights)
            factor = grid.factor(begin)
            loaded = begin + state.interval[row] * factor
            end = begin + fixed_load + (state.duration[row] - fixed_load) * factor
        else:
            begin = max(ready, free, loaded)
            factor = grid.factor(begin)
            length = state.interval[row] * factor
            grid.work(begin, length)
            end = begin + fixed + (state.duration[row] - fixed) * factor
            free, weights = begin + length, begin
        state.ready[row], state.start[row], state.end[row], state.done[row] = ready, begin, end, end
        state.finish(row, end + state.across)
        at += 1
    lane.at, state.free[TENSOR], state.weights, state.loaded = at, free, weights, loaded


def _multiply_tiles(state: _State, lane: _Stream, grid: throttle.Clock, tiles: Tiles) -> None:
    """As `_multiply`, for an array of which multiplies use parts: those on other parts need not wait."""
    rows, (fixed, fixed_load) = lane.rows, state.unclocked
    while lane.at < len(rows):
        row = rows[lane.at]
        ready = state.operands(row, TENSOR)
        if ready < 0.0:
            break
        part = state.array[row]
        if state.load[row]:
            begin = max(ready, tiles.may_load(part), tiles.last)
            factor = grid.factor(begin)
            state.loaded = begin + state.interval[row] * factor
            end = begin + fixed_load + (state.duration[row] - fixed_load) * factor
        else:
            begin = max(ready, state.loaded, tiles.may_multiply(part))
            factor = grid.factor(begin)
            length = state.interval[row] * factor
            alone = tiles.multiply(part, begin, length)
            grid.work(begin + length - alone, alone)
            end = begin + fixed + (state.duration[row] - fixed) * factor
        state.ready[row], state.start[row], state.end[row], state.done[row] = ready, begin, end, end
        state.finish(row, end + state.across)
        lane.at += 1


def _next(state: _State, timed: list[int], lanes: channels.Channels) -> tuple[int, float]:
    """The stream whose next row can go earliest, and when; -1 where none can.

    Of two DMAs the first in issue order goes, of a DMA and another instruction the first in program order: a DMA that
    was moved ahead takes no turn from what stood before it.
    """
    best, when, which = -1, 0.0, 0
    for code in timed:
        lane = state.streams[code]
        if lane.ready < 0.0:
            continue
        row = lane.rows[lane.at]
        time = max(lane.ready, state.free[lane.resource])
        if code >= ENGINE_STREAMS:
            time = max(time, lanes.room(state.transfer[row]))
        else:
            time = state.ports.free(row, code, time)
        if best < 0 or time < when or (time == when and _before(state, code, row, best, which)):
            best, when, which = code, time, row
    return best, when


def _before(state: _State, code: int, row: int, other: int, which: int) -> bool:
    """Whether one of two rows that can go at the same time goes first."""
    if (code < ENGINE_STREAMS) == (other < ENGINE_STREAMS):
        return row < which
    return state.written[row] < state.written[which]


def _issue(state: _State, code: int, when: float, lanes: channels.Channels) -> None:
    """Run the next row of a stream at a time: issue a DMA, or run a GpSimdE instruction."""
    lane = state.streams[code]
    row = lane.rows[lane.at]
    shown = when + state.lead if _resource(code) == GPSIMD and code >= ENGINE_STREAMS else when
    late = 0.0 if code >= ENGINE_STREAMS else state.ports.take(row, code, when, state.interval[row])
    state.ready[row], state.start[row], state.end[row] = lane.ready, shown, shown + state.duration[row] + late
    state.free[lane.resource] = when + state.interval[row] + late
    if code >= ENGINE_STREAMS:
        state.done[row] = lanes.move(state.transfer[row], when)
        state.finish(row, state.done[row] + lanes.completion)
    else:
        state.done[row] = state.end[row] + state.after[row]
        state.finish(row, state.done[row] + state.across)
    lane.at += 1
    lane.ready = _UNKNOWN
