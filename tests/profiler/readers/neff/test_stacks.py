"""Calls and loop iterations of a kernel."""

from __future__ import annotations

import json

import polars as pl

from nkilab.profiler.readers.neff.stacks import EMPTY, stacks
from nkilab.profiler.readers.wire import Source

NAME = "k.klir.debuginfo.json"
INNER = {"iter": {"var": "j", "val": "3", "line": 12, "children": [{"inst": {"name": "inst.2", "line": 13}}]}}
TREE = [
    {
        "lnc": 1,
        "info": [
            {"inst": {"name": "jmp.1", "line": 0}},
            {
                "func": {
                    "name": "k",
                    "file": "k.py",
                    "line": 10,
                    "children": [
                        {"inst": {"name": "inst.1", "line": 11}},
                        {"func": {"name": "helper", "line": 20, "children": [INNER]}},
                    ],
                }
            },
        ],
    }
]


def test_frames_iterations_and_where_an_instruction_stands() -> None:
    found, note = stacks({NAME: Source(json.dumps(TREE).encode(), NAME)})
    assert note == ""
    assert found.frames.rows() == [(0, "k", None, "k.py", 10), (1, "helper", 0, "k.py", 20)]
    assert found.iterations.rows() == [(0, "j", 3, None, "k.py", 12)]
    rows = found.locate(pl.DataFrame({"bir_instruction_name": ["inst.2-wait-0", "inst.1", "jmp.1", "other", None]}))
    assert rows["stack_frame_id"].to_list() == [1, 0, None, None, None]
    assert rows["iteration_variable_id"].to_list() == [0, None, None, None, None]


def test_a_damaged_or_endless_tree_is_left_out_with_a_note() -> None:
    for text in ("{", "[" * 100_000, json.dumps(TREE)[:-5]):
        found, note = stacks({NAME: Source(text.encode(), NAME)})
        assert found is EMPTY
        assert "call stacks left out" in note


def test_other_shapes_of_json_give_nothing() -> None:
    for tree in ({}, [1], [{"info": [None, {"func": 5}, {"iter": {"val": [], "children": "x"}}]}]):
        found, _ = stacks({NAME: Source(json.dumps(tree).encode(), NAME)})
        assert found.where.is_empty()
