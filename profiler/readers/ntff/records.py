"""The 16-byte records of an NTFF section, and first-in first-out pairing of starts with ends."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..wire import Source
from .metadata import Graph

RECORD = np.dtype([("a", "<u4"), ("b", "<u4"), ("t", "<u8")])
INSTRUCTION, EVENT, ERROR, DMA, THROTTLE = 0, 1, 2, 4, 5
BLOCK_NC, BLOCK_DMA = 0, 1

Ints = NDArray[np.int64]
Uints = NDArray[np.uint32]


def records(source: Source, graph: Graph, kind: int) -> NDArray[np.void]:
    """All records of one kind on one core, in file order, without a copy where they lie in one section."""
    found = [section for section in graph.sections if section.kind == kind and section.block in (BLOCK_NC, BLOCK_DMA)]
    views = [np.frombuffer(source.data, RECORD, (s.end - s.start) // 16, s.start) for s in found]
    if len(views) == 1:
        return views[0]
    return np.concatenate(views) if views else np.zeros(0, RECORD)


def pairs(key: Uints, ends: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Pair each start with the end of the same key, first in first out, in record order.

    Args:
        key: per record, what a start and its end share.
        ends: per record, whether it is an end.

    Returns:
        record indices of the starts, in record order, and of their ends. An end without an open start (the trace began
        after the start) and a start without an end (it was still open, or the end was dropped) are left out.
    """
    order = np.argsort(key, kind="stable")
    group = np.concatenate([[0], np.cumsum(np.diff(key[order].astype(np.int64)) != 0)]) if len(key) else order
    end = ends[order]
    order, end, group = _without_orphans(order, end, group)
    starts, stops = order[~end], order[end]
    start_rank, stop_rank = _rank(group[~end]), _rank(group[end])
    width = int(max(start_rank.max(initial=0), stop_rank.max(initial=0))) + 1
    start_key, stop_key = group[~end] * width + start_rank, group[end] * width + stop_rank
    _, at_start, at_stop = np.intersect1d(start_key, stop_key, assume_unique=True, return_indices=True)
    first, last = starts[at_start], stops[at_stop]
    back = np.argsort(first, kind="stable")
    return first[back], last[back]


def _without_orphans(order: Ints, end: NDArray[np.bool_], group: Ints) -> tuple[Ints, NDArray[np.bool_], Ints]:
    """Leave out ends that come when nothing of their key is open.

    The number of open starts, counted as if it could go below zero, reaches a new minimum exactly at such an end.
    """
    if not len(order):
        return order, end, group
    depth = np.cumsum(np.where(end, -1, 1))
    first = np.searchsorted(group, group, side="left")
    depth = depth - (depth[first] - np.where(end[first], -1, 1))
    sunk = depth - group * (len(order) + 1)  # each group lies below the one before, so minima do not carry over
    low = np.minimum.accumulate(sunk)
    before = np.concatenate([[np.iinfo(np.int64).max], low[:-1]])
    floor = np.minimum(before, -group * (len(order) + 1))
    keep = ~(end & (sunk < floor))
    return order[keep], end[keep], group[keep]


def _rank(group: Ints) -> Ints:
    """Position of each element within its run of equal groups."""
    return np.arange(len(group)) - np.searchsorted(group, group, side="left")
