"""Starts and ends, first in first out: the vectorised pairing against the obvious one."""

from __future__ import annotations

from collections import deque

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nkilab.profiler.readers.ntff.records import pairs

events = st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=60)


def obvious(found: list[tuple[int, bool]]) -> list[tuple[int, int]]:
    """One queue of open starts per key; an end takes the oldest, or is dropped."""
    open_, out = {}, []
    for index, (key, end) in enumerate(found):
        queue = open_.setdefault(key, deque())
        if not end:
            queue.append(index)
        elif queue:
            out.append((queue.popleft(), index))
    return sorted(out)


@given(events)
def test_as_a_queue_per_key_would(found: list[tuple[int, bool]]) -> None:
    key = np.array([key for key, _ in found], np.uint32)
    ends = np.array([end for _, end in found], bool)
    first, last = pairs(key, ends)
    assert list(zip(first.tolist(), last.tolist(), strict=True)) == obvious(found)


def test_an_end_without_a_start_does_not_shift_those_behind_it() -> None:
    first, last = pairs(np.zeros(3, np.uint32), np.array([True, False, True]))
    assert (first.tolist(), last.tolist()) == ([1], [2])
