"""What a collective takes: its algorithm, the steps one after the other, and the bytes over each kind of wire.

Ranks fill chips and chips fill nodes in order of their numbers. A gather (or, with the steps the other way around, a
scatter) of one chunk a rank is one traversal; an all_reduce is two. Between nodes an algorithm of the same kind runs
first, on one rank of each node.

Sources: "Intra-node Collective Communications" (algorithms, their latency, their sizes) and "Inter-node Collective
Communications" (hierarchy). No time of a collective is published: rates are those of the wires, and all of it counts as
guessed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from math import log2
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nkilab.hardware import Hardware

_KANGARING_READS = 0.75
"""HBM accesses of KangaRing's gather relative to Ring's: 3 for each chunk and two ranks, not 4."""


@dataclass(frozen=True, slots=True)
class Route:
    """How a collective is done, and its time in ns from the moment when all ranks are there."""

    algorithm: str
    ns: float


@dataclass(frozen=True, slots=True)
class _Group:
    """Ranks of one node that take part: `ranks` of them on `chips`, at most `beside` on one; `full`: nobody else is on these."""

    ranks: int
    chips: tuple[int, ...]
    beside: int
    full: bool
    cores: int
    hw: Hardware

    @property
    def local_gbps(self) -> float:
        """Rate of one rank within its chip: each byte is read from HBM and written to it, by the rank's DMA engines."""
        hbm, dma = self.hw.hbm, self.hw.dma
        return self.cores * min(hbm.gbps / hbm.cores / 2, dma.engines * dma.engine_gbps)

    @property
    def wire_gbps(self) -> float:
        """Rate at which a chip sends over all its links: a chip's figure counts both directions."""
        return self.hw.links.chip_gbps / 2

    def distance(self) -> float:
        """Links between two chips of the group on average: 1 through a switch, more across the torus."""
        pairs = [_between(a, b, self.hw.links.torus) for a, b in combinations(self.chips, 2)]
        return sum(pairs) / len(pairs) if pairs else 1.0


def collective(
    api: str, ranks: Sequence[int], size: float, cores: int, hw: Hardware, pairs: Sequence[tuple[int, int]] = ()
) -> Route:
    """The route of a collective between these ranks of `cores` cores each, to which each contributes `size` bytes.

    Of the variable collectives `size` is the whole buffer of a rank. `pairs`: who sends to whom in a permute; each rank to
    the next one, the last to the first, where not given.
    """
    links, count = hw.links, len(ranks)
    per_node = max(links.cores_per_chip // cores, 1) * links.chips_per_node
    nodes = len({rank // per_node for rank in ranks})
    group = _of_node(ranks, per_node, cores, hw)
    if count == 1:
        return Route("copy", links.hop_ns + size / group.local_gbps)
    if api not in _TRAVERSALS and not api.startswith("all_to_all"):
        return _neighbours(pairs or [*zip(ranks, (*ranks[1:], ranks[0]), strict=True)], size, cores, hw)
    chunk = size if api == "all_gather" else size / count
    if api.startswith("all_to_all"):
        inside, outside = _exchange(group, size), _over_network(nodes, size / nodes, group, 1, "mesh")
    else:
        inside = _traversal(group, chunk * count / group.ranks, _TRAVERSALS[api])
        outside = _over_network(nodes, chunk, group, _TRAVERSALS[api])
    if nodes == 1:
        return inside
    name = f"{outside.algorithm} between nodes" + (f", {inside.algorithm} inside" if group.ranks > 1 else "")
    return Route(name, outside.ns + (inside.ns if group.ranks > 1 else 0.0))


_TRAVERSALS = {"all_reduce": 2, "all_gather": 1, "all_gather_v": 1, "reduce_scatter": 1}
"""How often all chunks go around."""


def _of_node(ranks: Sequence[int], per_node: int, cores: int, hw: Hardware) -> _Group:
    """The members on the node that has most of them."""
    node = Counter(rank // per_node for rank in ranks).most_common(1)[0][0]
    mine = [rank % per_node for rank in ranks if rank // per_node == node]
    per_chip = max(hw.links.cores_per_chip // cores, 1)
    chips = Counter(rank // per_chip for rank in mine)
    return _Group(len(mine), tuple(chips), max(chips.values()), set(chips.values()) == {per_chip}, cores, hw)


def _between(a: int, b: int, torus: tuple[int, ...]) -> int:
    """Links between two chips: along each dimension of the torus the shorter way around."""
    links = 0
    for length in reversed(torus):
        apart = abs(a % length - b % length)
        links += min(apart, length - apart)
        a, b = a // length, b // length
    return max(links, 1)


def _algorithm(chips: int, total: float, hw: Hardware, *, paired: bool) -> str:
    """Which one the sizes choose: mesh for small buffers, recursive doubling for middling ones, a ring for large ones."""
    if chips == 1 or total < hw.links.mesh_bytes:
        return "mesh"
    if total <= hw.links.rdh_bytes and log2(chips).is_integer():
        return "rdh"
    return "kangaring" if paired else "ring"


def _traversal(group: _Group, chunk: float, times: int) -> Route:
    """All chunks of a group to all of its ranks, once, or to one rank each and back."""
    links, chips = group.hw.links, len(group.chips)
    paired = group.full and group.beside > 1
    name = _algorithm(chips, group.ranks * chunk, group.hw, paired=paired)
    others = group.ranks - 1
    inside = others * chunk / group.local_gbps
    if name in {"ring", "kangaring"}:
        steps = others if name == "ring" else group.ranks / 2
        reads = inside if name == "ring" else inside * _KANGARING_READS
        return Route(name, times * (steps * links.hop_ns + max(others * chunk / group.wire_gbps, reads)))
    routed = group.distance() if name == "mesh" else (1 + group.distance()) / 2
    outside = group.beside * (chips - 1) * chunk * routed / group.wire_gbps
    steps = (1.0 if name == "mesh" else log2(chips)) * (chips > 1) + (group.beside > 1)
    if name == "rdh":
        return Route(name, times * (steps * links.hop_ns + max(outside, inside)))
    both = Route(name, times * (steps * links.hop_ns + outside + inside))
    if times == 1:
        return both
    # Every rank sends its whole buffer to every other one, and adds up what comes.
    whole = (outside + inside) * group.ranks
    single = Route("single-step mesh", (steps if chips == 1 else 1) * links.hop_ns + whole)
    return min(both, single, key=lambda route: route.ns)


def _exchange(group: _Group, size: float) -> Route:
    """A chunk from every rank to every other one: `size` bytes of each rank, shared out evenly."""
    chips, chunk = len(group.chips), size / group.ranks
    outside = group.beside * (group.ranks - group.beside) * chunk * group.distance() / group.wire_gbps
    steps = (chips > 1) + (group.beside > 1)
    return Route("mesh", steps * group.hw.links.hop_ns + outside + (group.ranks - 1) * chunk / group.local_gbps)


def _over_network(nodes: int, chunk: float, group: _Group, times: int, name: str = "") -> Route:
    """A traversal between nodes, by each rank with those at its place on the other nodes."""
    links, others = group.hw.links, nodes - 1
    if not name:
        name = "mesh" if nodes == 1 else _algorithm(nodes, nodes * chunk, group.hw, paired=False)
    steps = {"mesh": 1, "rdh": log2(nodes), "ring": others}[name]
    return Route(name, times * (steps * links.node_hop_ns + others * chunk * group.beside / links.node_gbps))


def _neighbours(pairs: Sequence[tuple[int, int]], size: float, cores: int, hw: Hardware) -> Route:
    """One rank to another: the slowest pair counts."""
    links, slowest = hw.links, 0.0
    per_chip = max(links.cores_per_chip // cores, 1)
    group = _of_node([pairs[0][0]], per_chip * links.chips_per_node, cores, hw)
    for a, b in pairs:
        chip, other = a // per_chip, b // per_chip
        if chip == other:
            took = links.hop_ns + size / group.local_gbps
        elif chip // links.chips_per_node != other // links.chips_per_node:
            took = links.node_hop_ns + size / links.node_gbps
        else:
            took = links.hop_ns + size / (group.wire_gbps / max(2 * len(links.torus), 1))
        slowest = max(slowest, took)
    return Route("ring", slowest)
