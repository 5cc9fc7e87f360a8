"""What belongs to a function, a layer, a loop, a fused line: answers that can be added up by hand."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import polars as pl
import pytest

import nkilab
from nkilab.errors import UsageError
from nkilab.profiler import Profile
from nkilab.profiler.errors import NotInProfileError
from nkilab.profiler.readers import read
from tests.profiler.test_stalls import op, run

FRAMES = pl.DataFrame(
    {
        "stack_frame_id": [0, 1, 2, 3],
        "fully_qualified_function_name": ["block.kernel", "attention", "softmax", "mlp"],
        "parent_stack_frame_id": [None, 0, 1, 0],
        "file_path": "k.py",
        "line_number": [1, 10, 20, 30],
    }
)
TURNS = pl.DataFrame(
    {
        "iteration_variable_id": [0, 1, 2, 3],
        "variable_name": ["layer", "layer", "head", "head"],
        "variable_value": [0, 1, 0, 1],
        "parent_iteration_variable_id": [None, None, 1, 1],
    }
)


@pytest.fixture
def block() -> Profile:
    """A kernel that calls attention, which calls softmax, and an MLP: one instruction of each and one outside."""
    rows = [
        op(0, 0, 10, "Tensor", 5, function="block.kernel", stack_frame_id=0, layer="model/layers.0", raw_flops=100),
        op(1, 10, 30, "Tensor", 11, function="attention", stack_frame_id=1, layer="model/layers.0/attn/qk", raw_flops=400, iteration_variable_id=0),
        op(2, 30, 35, "Scalar", 21, function="softmax", stack_frame_id=2, layer="model/layers.0/attn", iteration_variable_id=1),
        op(3, 40, 70, "Vector", 21, function="softmax", stack_frame_id=2, layer="model/layers.0/attn", iteration_variable_id=3),
        op(4, 70, 75, "Tensor", 31, function="mlp", stack_frame_id=3, layer="model/layers.0/mlp", hlo_name="dot.7"),
        op(5, 75, 80, "Sync", None, opcode="NOP"),
    ]  # fmt: skip
    moved = pl.DataFrame(
        {"id": [9], "start_ts": [25.0], "end_ts": [90.0], "instruction_id": [1], "transfer_bytes": [64]}
    )
    tables = {"KernelStackFrames": FRAMES, "KernelIterationVariables": TURNS, "DmaPacketAggregated": moved}
    return run(rows, 100, **tables)


def ids(p: Profile) -> list[int]:
    return p.table("Instruction")["id"].to_list()


def test_a_function_holds_all_that_it_calls_and_its_latency_is_one_call(block: Profile) -> None:
    attention = block.where(function="attention")
    assert ids(attention) == [1, 2, 3]
    assert attention.latency_us == pytest.approx((90 - 10) / 1e3), "from its first instruction to its last transfer"
    assert ids(block.where(function="softmax")) == [2, 3]
    assert ids(block.where(function="kernel")) == [0, 1, 2, 3, 4], "the last part of a qualified name will do"
    with pytest.raises(NotInProfileError) as error:
        block.where(function="tention")
    assert "attention" in error.value.values


def test_a_layer_holds_its_modules(block: Profile) -> None:
    assert ids(block.where(layer="layers.0/attn")) == [1, 2, 3]
    assert ids(block.where(layer="model/layers.0")) == [0, 1, 2, 3, 4]
    assert ids(block.where(layer="mlp", operation="dot.7")) == [4]
    with pytest.raises(NotInProfileError):
        block.where(layer="layers")


def test_a_loop_or_one_iteration_of_it_with_the_loops_inside(block: Profile) -> None:
    assert ids(block.where(loop="layer")) == [1, 2, 3]
    assert ids(block.where(loop=("layer", 1))) == [2, 3]
    assert ids(block.where(loop=("head", 1), function="attention")) == [3]
    with pytest.raises(NotInProfileError, match="loop"):
        block.where(loop=("layer", 7))
    with pytest.raises(UsageError, match="loop"):
        block.where(loop=3)


def test_a_damaged_stack_that_goes_in_a_circle_ends(block: Profile) -> None:
    frames = FRAMES.with_columns(parent_stack_frame_id=pl.Series([2, 0, 1, 0]))
    p = block.with_tables({"KernelStackFrames": frames})
    assert ids(p.where(function="attention")) == [0, 1, 2, 3, 4]
    assert p.hierarchy().rows["instruction_ns"].max() == pytest.approx(70)


def test_only_the_collectives_that_the_function_began_are_kept(block: Profile) -> None:
    begin = pl.DataFrame([op(6, 80, 81, "GpSimd", 6, opcode="ALL_REDUCE", function="mlp", stack_frame_id=3)])
    rows = pl.concat([block.table("Instruction"), begin], how="diagonal_relaxed")
    operations = pl.DataFrame(
        {"operation": ["all_reduce"], "start_ts": [80.5], "end_ts": [95.0], "trigger_start_ts": [80.0]}
    )
    p = block.with_tables({"Instruction": rows, "CcOp": operations})
    assert p.where(function="mlp").has("CcOp")
    assert not p.where(function="attention").has("CcOp")


def test_the_levels_go_from_layer_to_instruction_and_add_up(block: Profile) -> None:
    found = block.hierarchy()
    rows = {row["path"]: row for row in found.rows.to_dicts()}
    deepest = "model/layers.0 › attn › qk › block.kernel › attention › k.py:11 › OP"
    names = deepest.split(" › ")
    levels = ["layer", "module", "module", "function", "function", "line", "instruction"]
    assert [rows[" › ".join(names[: k + 1])]["level"] for k in range(len(names))] == levels
    assert rows["model/layers.0 › mlp › dot.7"]["level"] == "operation"
    assert rows["model/layers.0"]["instruction_ns"] == 70
    assert rows["model/layers.0 › attn"]["instruction_ns"] == 55
    assert rows["model/layers.0 › attn"]["span_ns"] == 60
    assert rows["(no source)"]["instruction_ns"] == 5
    assert found.attributed == pytest.approx(70 / 75)
    for path, row in rows.items():
        children = [r["instruction_ns"] for r in rows.values() if r["parent"] == path]
        assert not children or sum(children) == pytest.approx(row["instruction_ns"])


def test_the_icicle_has_a_box_for_every_node_inside_its_parent(block: Profile) -> None:
    (icicle,) = block.hierarchy().figure().data
    assert len(set(icicle.ids)) == len(icicle.ids) == block.hierarchy().rows.height + 1
    assert set(icicle.parents) <= {"", *icicle.ids}
    assert icicle.branchvalues == "total"


def test_names_with_markup_or_separators_stay_names() -> None:
    rows = [op(0, 0, 10, "Tensor", 5, function="<b>a</b> › b"), op(1, 10, 20, "Tensor", 5, function="c")]
    p = run(rows, 20)
    assert p.hierarchy().rows.filter(depth=0)["name"].to_list() == ["<b>a</b> > b", "c"]
    assert "<b>" not in str(p.hierarchy().figure().data[0].labels)


def fused() -> Profile:
    """One instruction of two lines (20 ns, 5 bytes), one of one line behind it."""
    rows = [
        op(0, 0, 20, "Vector", 3, nki_source_location='["a.py:3","b.py:7:1","a.py:3"]', sbuf_read_bytes=5),
        op(1, 26, 30, "Vector", 3, nki_source_location="a.py:3", sbuf_read_bytes=8),
    ]
    rows = [{**row, "file": "a.py"} for row in rows]
    flow = pl.DataFrame({"in_id": [0], "out_id": [1], "in_table": "Instruction", "out_table": "Instruction"})
    return run(rows, 30, Flow=flow)


def test_fused_lines_share_an_instruction_equally_and_say_so() -> None:
    found = fused().lines()
    rows = {(row["file"], row["line"]): row for row in found.rows.to_dicts()}
    assert rows["a.py", 3]["instruction_ns"] == 14
    assert rows["b.py", 7]["instruction_ns"] == rows["b.py", 7]["fused_ns"] == 10
    assert rows["a.py", 3]["fused_ns"] == 10
    assert (rows["a.py", 3]["sbuf_read_bytes"], rows["b.py", 7]["sbuf_read_bytes"]) == (3 + 8, 2), "no byte is lost"
    assert (rows["a.py", 3]["instructions"], rows["b.py", 7]["instructions"]) == (2, 1)
    assert found.fused == pytest.approx(20 / 24)
    assert "shared equally" in str(found)


def test_a_stall_on_a_fused_instruction_is_shared_too() -> None:
    rows = {(row["file"], row["line"]): row for row in fused().lines().rows.to_dicts()}
    total = sum(row["stall_caused_ns"] for row in rows.values())
    assert total <= 6
    assert fused().where(line=7).table("Instruction")["id"].to_list() == [0]


def test_without_fused_instructions_nothing_is_said_of_them(block: Profile) -> None:
    found = block.lines()
    assert found.fused == 0
    assert found.rows["fused_ns"].null_count() == found.rows.height
    assert "fused" not in str(found)


@pytest.mark.parametrize("places", ["a.py:3, b.py:7", '["a.py:3","b.py:7"]', "a.py:3;b.py:7", "['a.py:3', 'b.py:7:2']"])
def test_the_vendors_json_may_name_several_places(places: str, tmp_path: Path) -> None:
    row = {"timestamp": 0, "duration": 10, "opcode": "OP", "subgroup": "Vector", "id": 1, "nki_source_location": places}
    path = tmp_path / "profile.json"
    path.write_text(
        json.dumps({"instruction": [row], "metadata": [{"first_hw_timestamp": 0, "last_hw_timestamp": 10}]})
    )
    found = read(path).lines().rows
    assert {(r["file"], r["line"], r["instruction_ns"]) for r in found.to_dicts()} == {
        ("a.py", 3, 5.0),
        ("b.py", 7, 5.0),
    }


def test_the_attention_block_of_a_simulated_kernel_is_one_call(repository: Path) -> None:
    x = np.zeros((1024, 1024), ml_dtypes.bfloat16)
    kernel = f"{repository}/kernels/matmul.py:matmul_hoisted"
    p = nkilab.simulate(kernel, x, x, sim=nkilab.Sim(values=False)).profile
    load, whole = p.where(function="load"), p.where(function="matmul_hoisted")
    assert whole.table("Instruction").height == p.table("Instruction").height
    assert 0 < load.table("Instruction").height < p.table("Instruction").height
    assert 0 < p.where(loop=("m", 0)).latency_us < whole.latency_us <= p.fact("body_ns") / 1e3  # type: ignore[operator]
    names = set(p.hierarchy().rows.filter(level="function")["name"])
    assert {"matmul_hoisted", "load", "store"} <= {name.rpartition(".")[2] for name in names}
