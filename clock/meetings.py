"""Where programs wait for each other: core barriers, transfers between cores, collectives between ranks.

Each program is laid out by itself; then every member of a meeting is held until the last one has come, and the programs
concerned are laid out again, until nothing moves. A barrier costs its signals, a collective what its algorithm takes, of
which its engine is busy with the trigger only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .collectives import Route, collective
from .costs import class_of
from .program import Bools, Floats, Ints, Program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nkilab.hardware import Hardware

    from .expand import Device

ROUNDS = 64
"""Most times that the programs are laid out; each round settles at least one more meeting of every program."""

BARRIER = "core_barrier"
TRANSFER = "sendrecv"


@dataclass(frozen=True, slots=True)
class Meetings:
    """Columns over the parts that programs take in meetings, by trace row: `number` of the meeting, `cost` in ns.

    `moves`: a collective, which goes on beside the engine that triggers it; `algorithm`: how.
    """

    row: Ints
    number: Ints
    cost: Floats
    moves: Bools
    algorithm: tuple[str, ...]
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
    number, rank = np.asarray(table["meeting"], np.int64), np.asarray(table["rank"], np.int64)
    largest = np.zeros(number.max() + 1)
    np.maximum.at(largest, number, np.asarray(table["sent"], np.float64))
    apis = [names["api"][code].removesuffix("_trigger") for code in np.asarray(table["api"]).tolist()]
    cores = int(np.max(columns["instructions"]["core"], initial=0)) + 1
    members = {n: sorted(set(rank[number == n].tolist())) for n in np.unique(number).tolist()}
    groups = [names["group"][code] if code >= 0 else "" for code in np.asarray(table["group"]).tolist()]
    routes = {
        n: _route(apis[row], members[n], largest[n], cores, hw, groups[row])
        for n, row in zip(*map(np.ndarray.tolist, np.unique(number, return_index=True)), strict=True)
    }
    cost = np.array([routes[n].ns for n in number.tolist()])
    algorithm = tuple(routes[n].algorithm for n in number.tolist())
    moves = np.array([api not in (BARRIER, TRANSFER) for api in apis])
    return Meetings(np.asarray(table["instruction"], np.int64), number, cost, moves, algorithm, hw)


def _route(api: str, ranks: Sequence[int], size: float, cores: int, hw: Hardware, group: str) -> Route:
    """How the members of a meeting meet, and what that costs when all are there."""
    if api == TRANSFER:
        return Route("", 0.0)
    if api == BARRIER:
        return Route("", hw.handover.barrier_ns)
    return collective(api, ranks, size, cores, hw, _pairs(api, ranks, group))


def _pairs(api: str, ranks: Sequence[int], group: str) -> list[tuple[int, int]]:
    """Who sends to whom in a permute: as its pairs say, or around its list of ranks."""
    if not api.startswith("collective_permute"):
        return []
    lists = [[int(number) for number in re.findall(r"\d+", part)] for part in re.findall(r"[\[(]([\d, ]+)[\])]", group)]
    if api == "collective_permute":
        return [(pair[0], pair[1]) for pair in lists if len(pair) == 2 and set(pair) <= set(ranks)]
    ring = next((ring for ring in lists if set(ring) == set(ranks)), [])
    return [*zip(ring, (*ring[1:], *ring[:1]), strict=True)]


def apply(found: Meetings, program: Program, device: Device) -> Floats:
    """Put the costs of meetings into the device rows; returns for each row how long after its end its work is done."""
    rows, mine = found.at(program, device)
    after = np.zeros(len(device.source))
    compute = device.transfer[rows] < 0
    rows, mine = rows[compute], mine[compute]
    moves = found.moves[mine]
    busy = np.where(moves, found.hw.handover.sync_ns, found.cost[mine])
    device.interval[rows] = device.duration[rows] = busy
    device.cls[rows] = class_of(found.hw, "links.hop_ns")
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
