"""Which form of the program an instruction came from: the one parent that the debug info names, none where it is not one."""

from __future__ import annotations

from nkilab.profiler.readers.neff.debug_info import engine_debug
from nkilab.profiler.readers.wire import Source
from nkilab.profiler.sample.wire import message, packed


def entry(bir: int, *parents: int) -> bytes:
    return message((1, bir), (2, f"I-{bir}"), *([(3, packed(parents))] if parents else []))


def test_one_parent_is_the_penguin_id_and_several_are_none() -> None:
    backend = message((3, entry(1, 300)), (3, entry(2)), (3, entry(3, 4, 5)), (3, entry(4, 0)))
    rows = engine_debug(None, Source(backend, "backend")).instructions
    assert rows.select("raw_bir_id", "raw_penguin_id").rows() == [(1, 300), (2, None), (3, None), (4, 0)]
