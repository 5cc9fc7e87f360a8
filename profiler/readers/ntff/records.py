"""The 16-byte records of an NTFF section, and first-in first-out pairing of starts with ends."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..source import released
from ..wire import Source
from .metadata import Graph

RECORD = np.dtype([("a", "<u4"), ("b", "<u4"), ("t", "<u8")])
INSTRUCTION, EVENT, ERROR, DMA, THROTTLE = 0, 1, 2, 4, 5
BLOCK_NC, BLOCK_DMA = 0, 1

Ints = NDArray[np.int64]
Numbers = NDArray[np.integer]
_MOST_INT32 = 1 << 30


def records(source: Source, graph: Graph, kind: int) -> NDArray[np.void]:
    """All records of one kind on one core, in file order, without a copy where they lie in one section."""
    found = [section for section in graph.sections if section.kind == kind and section.block in (BLOCK_NC, BLOCK_DMA)]
    views = [np.frombuffer(source.data, RECORD, (s.end - s.start) // 16, s.start) for s in found]
    if len(views) == 1:
        return views[0]
    whole = np.concatenate(views) if views else np.zeros(0, RECORD)
    released(source.data)
    return whole


def pairs(key: Numbers, ends: NDArray[np.bool_]) -> tuple[Numbers, Numbers]:
    """Pair each start with the end of the same key, first in first out, in record order.

    Args:
        key: per record, what a start and its end share; the largest value of its type leaves a record out.
        ends: per record, whether it is an end.

    Returns:
        record indices of the starts, in record order, and of their ends. An end without an open start (the trace began
        after the start) and a start without an end (it was still open, or the end was dropped) are left out.
    """
    index = np.dtype(np.int32 if len(key) < _MOST_INT32 else np.int64)
    order = np.argsort(key, kind="stable").astype(index)[: np.count_nonzero(key != np.iinfo(key.dtype).max)]
    lengths = _lengths(key[order]).astype(index)
    end = ends[order]
    kept = ~_orphans(end, lengths)
    order, end = order[kept], end[kept]
    group = np.repeat(np.arange(len(lengths), dtype=index), lengths)[kept]
    # Without orphans a key has at least as many starts as ends, and its n-th end belongs to its n-th start.
    wanted = np.bincount(group[end], minlength=len(lengths)).astype(index)
    starts, last, group = order[~end], order[end], group[~end]
    first = starts[_rank(group) < wanted[group]]
    back = np.argsort(first, kind="stable")
    return first[back], last[back]


def _lengths(ordered: Numbers) -> Ints:
    """Number of elements in each run of equal ones."""
    begins = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    return np.diff(begins, prepend=0, append=len(ordered)) if len(ordered) else begins


def _orphans(end: NDArray[np.bool_], lengths: Numbers) -> NDArray[np.bool_]:
    """Which records, ordered by key, are ends that come when nothing of their key is open.

    The number of open starts, counted as if it could go below zero, reaches a new minimum exactly at such an end. Each
    key is counted down from below all that the keys before it can reach, so that one running minimum serves for all.
    """
    if not len(end):
        return end
    step = np.where(end, np.int8(-1), np.int8(1))
    first = np.cumsum(lengths, dtype=lengths.dtype) - lengths
    depth = np.cumsum(step, dtype=lengths.dtype)
    depth -= np.repeat(depth[first] - step[first] + first, lengths)
    floor = np.repeat(-first, lengths)
    lowest = np.minimum.accumulate(depth)
    np.minimum(floor[1:], lowest[:-1], out=floor[1:])
    sunk: NDArray[np.bool_] = depth < floor
    return sunk


def _rank(group: Numbers) -> Numbers:
    """Position of each element within its run of equal groups."""
    lengths = _lengths(group).astype(group.dtype)
    first = np.cumsum(lengths, dtype=group.dtype) - lengths
    return np.arange(len(group), dtype=group.dtype) - np.repeat(first, lengths)
