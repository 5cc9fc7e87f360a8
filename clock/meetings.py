"""Where programs wait for each other: core barriers, transfers between cores, collectives between ranks.

Each program is laid out by itself; then every member of a meeting is held until the last one has come, and the programs
concerned are laid out again, until nothing moves. A meeting costs what the hardware table says under `handover`: a
barrier its signals, a collective `hops x hop + bytes / bandwidth`, of which its engine is busy with the trigger only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .costs import class_of
from .program import Bools, Floats, Ints, Program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nkilab.hardware import Hardware

    from .expand import Device

ROUNDS = 64
"""Most times that the programs are laid out; each round settles at least one more meeting of every program."""

BARRIER = "core_barrier"
TRANSFER = "sendrecv"

# Steps one after the other, and the share of the contributed bytes that crosses a rank's link: of n ranks, f(n).
# Source: "Intra-node Collective Communications", Mesh and Ring algorithms and the table of operations.
_ALGORITHMS: Mapping[str, tuple[int, Callable[[int], float]]] = {
    "all_reduce": (2, lambda n: 2 * (n - 1) / n),
    "all_gather": (1, lambda n: n - 1.0),
    "all_gather_v": (1, lambda n: (n - 1) / n),
    "reduce_scatter": (1, lambda n: (n - 1) / n),
    "all_to_all": (1, lambda n: (n - 1) / n),
    "all_to_all_v": (1, lambda n: (n - 1) / n),
}
_PERMUTE: tuple[int, Callable[[int], float]] = (1, lambda n: 1.0 if n > 1 else 0.0)


@dataclass(frozen=True, slots=True)
class Meetings:
    """Columns over the parts that programs take in meetings, by trace row: `number` of the meeting, `cost` in ns.

    `moves`: a collective, which goes on beside the engine that triggers it.
    """

    row: Ints
    number: Ints
    cost: Floats
    moves: Bools
    hw: Hardware

    def __len__(self) -> int:
        return len(self.row)

    def at(self, program: Program, device: Device) -> tuple[Ints, Ints]:
        """Device rows of a program that are meetings, and their rows here."""
        order = np.argsort(self.row)
        trace_row = program.rows[device.source]
        place = np.minimum(np.searchsorted(self.row, trace_row, sorter=order), len(self) - 1)
        mine = order[place]
        rows = np.flatnonzero(self.row[mine] == trace_row)
        rows = rows[np.unique(trace_row[rows], return_index=True)[1]]
        return rows, mine[rows]


def meetings(
    columns: Mapping[str, Mapping[str, Any]], names: Mapping[str, tuple[str, ...]], hw: Hardware
) -> Meetings | None:
    """The meetings of a trace, None where it has none."""
    table = columns.get("collectives", {})
    if not len(table.get("meeting", ())):
        return None
    number = np.asarray(table["meeting"], np.int64)
    ranks = np.array([len(np.unique(np.asarray(table["rank"])[number == n])) for n in number.tolist()])
    sent = np.asarray(table["sent"], np.float64)
    largest = np.zeros(number.max() + 1)
    np.maximum.at(largest, number, sent)
    apis = [names["api"][code].removesuffix("_trigger") for code in np.asarray(table["api"]).tolist()]
    cost = np.array(
        [meeting_ns(api, count, size, hw) for api, count, size in zip(apis, ranks, largest[number], strict=True)]
    )
    moves = np.array([api not in (BARRIER, TRANSFER) for api in apis])
    return Meetings(np.asarray(table["instruction"], np.int64), number, cost, moves, hw)


def meeting_ns(api: str, ranks: int, size: float, hw: Hardware) -> float:
    """What a meeting costs when all are there, in ns: of so many ranks that contribute so many bytes each."""
    if api == TRANSFER:
        return 0.0
    if api == BARRIER:
        return hw.handover.barrier_ns
    hops, share = _ALGORITHMS.get(api, _PERMUTE)
    return hops * hw.handover.hop_ns + size * share(ranks) / hw.handover.link_gbps


def apply(found: Meetings, program: Program, device: Device) -> Floats:
    """Put the costs of meetings into the device rows; returns for each row how long after its end its work is done."""
    rows, mine = found.at(program, device)
    after = np.zeros(len(device.source))
    compute = device.transfer[rows] < 0
    rows, mine = rows[compute], mine[compute]
    moves = found.moves[mine]
    busy = np.where(moves, found.hw.handover.sync_ns, found.cost[mine])
    device.interval[rows] = device.duration[rows] = busy
    device.cls[rows] = class_of(found.hw, "handover.hop_ns")
    after[rows] = np.where(moves, found.cost[mine], 0.0)
    return after


def held(found: Meetings, places: Sequence[tuple[Ints, Ints]], starts: Sequence[Floats]) -> list[Floats]:
    """For each program the earliest start of each device row, given when its rows started: that of the last member."""
    latest = np.zeros(found.number.max() + 1)
    for (rows, mine), start in zip(places, starts, strict=True):
        np.maximum.at(latest, found.number[mine], start[rows])
    holds: list[Floats] = []
    for (rows, mine), start in zip(places, starts, strict=True):
        hold = np.zeros(len(start))
        hold[rows] = latest[found.number[mine]]
        holds.append(hold)
    return holds
