"""Trace and timing become tables: each NKI instruction's bytes and FLOPs once, names for codes, null for unknown.

The trace is made by hand: a DMA loads 128 partitions of 512 fp32 numbers, and one fp32 matmul uses them, which the
device does as two weight loads and two passes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import nkilab
from nkilab import hardware
from nkilab.errors import Location
from nkilab.join import Joinable, instructions, memory, movement, source, waits

NAMES = {
    "api": ("dma_copy", "nc_matmul"),
    "function": (),
    "flag": ("transpose", "accumulate", "dma_transpose"),
    "role": ("dst", "src", "stationary", "moving"),
    "dtype": ("float32", "bfloat16"),
    "kind": ("input", "output", "internal"),
    "tensor": ("a", "tile", ""),
    "shape": ("[256, 256]", "[128, 512]"),
    "file": ("kernel.py",),
    "python_function": ("kernel", "load"),
    "variable": ("k",),
}
LOAD, MATMUL = 0, 1
BYTES = 128 * 512 * 4
WEIGHTS = 128 * 128 * 4
FLOPS = 2 * 128 * 128 * 512


def columns(names: str, *rows: tuple[Any, ...]) -> dict[str, np.ndarray[Any, Any]]:
    """Rows written by hand, as columns."""
    values = list(zip(*rows, strict=True)) or [()] * len(names.split())
    return {name: np.array(column) for name, column in zip(names.split(), values, strict=True)}


TRACE = {
    "instructions": columns(
        "rank core api engine engines function partitions elements stationary flags flops "
        "hbm_read hbm_write sbuf_read sbuf_write psum_read psum_write site stack iteration",
        (0, 0, LOAD, 4, 16, -1, 128, 512, 0, 0, 0, BYTES, 0, 0, BYTES, 0, 0, 1, 1, -1),
        (0, 0, MATMUL, 0, 1, -1, 128, 512, 128, 2, FLOPS, 0, 0, BYTES + WEIGHTS, 0, 0, BYTES, 0, 0, 0),
    ),
    "accesses": columns(
        "instruction role write tensor space dtype p0 p1 b0 b1 elements run stride strided",
        (LOAD, 0, True, 1, 1, 0, 0, 128, 0, 2048, 512, 2048, 4, False),
        (LOAD, 1, False, 0, 0, 0, 0, 1, 0, BYTES, 128 * 512, 2048, 4, False),
        (MATMUL, 0, True, 2, 2, 0, 0, 128, 0, 2048, 512, 2048, 4, False),
        (MATMUL, 2, False, 1, 1, 0, 0, 128, 0, 512, 128, 512, 4, False),
        (MATMUL, 3, False, 1, 1, 0, 0, 128, 0, 2048, 512, 2048, 4, False),
    ),
    "tensors": columns(
        "rank core space dtype partitions bytes address kind site name shape",
        (0, 0, 0, 0, 1, BYTES, -1, 0, 0, 0, 0),
        (0, 0, 1, 0, 128, 2048, -1, 2, 1, 1, 1),
        (0, 0, 2, 0, 128, 2048, -1, 2, 0, 2, 1),
    ),
    "sites": columns("file line function", (0, 9, 0), (0, 4, 1)),
    "stacks": columns("site parent", (0, -1), (1, 0)),
    "iterations": columns("site variable value parent", (0, 0, 7, -1)),
}


@dataclass
class Timing:
    """What the clock gives, by hand."""

    instructions: dict[str, np.ndarray[Any, Any]]
    dma: dict[str, np.ndarray[Any, Any]]
    flows: dict[str, np.ndarray[Any, Any]]
    occupancy: dict[str, np.ndarray[Any, Any]]
    placements: dict[str, np.ndarray[Any, Any]]
    names: dict[str, tuple[str, ...]]
    confidence: dict[str, float] = field(
        default_factory=lambda: {"calibrated": 0.5, "documented": 0.25, "guessed": 0.25}
    )
    collectives: dict[str, np.ndarray[Any, Any]] = field(default_factory=lambda: columns("trace_row meeting start end"))
    class_ns: dict[str, float] = field(
        default_factory=lambda: {"calibrated": 400.0, "documented": 200.0, "guessed": 200.0}
    )


TIMING = Timing(
    columns(
        "trace_row engine opcode start end ready cost_class",
        (LOAD, 4, 0, 0.0, 50.0, 0.0, 0),
        (MATMUL, 0, 1, 2000.0, 2100.0, 2000.0, 1),
        (MATMUL, 0, 2, 2100.0, 2300.0, 2000.0, 0),
        (MATMUL, 0, 1, 2300.0, 2400.0, 2000.0, 1),
        (MATMUL, 0, 2, 2400.0, 2600.0, 2000.0, 0),
    ),
    columns(
        "trace_row queue engine start end bytes elements issue queue_type spill",
        (LOAD, 0, 0, 100.0, 1900.0, BYTES // 2, 64, 0, 0, 0),
        (LOAD, 0, 1, 100.0, 2000.0, BYTES // 2, 64, 0, 0, 0),
    ),
    columns(
        "producer consumer producer_is_dma consumer_is_dma gap kind",
        (0, 1, False, True, 50.0, 0),
        (1, 1, True, False, 0.0, 0),
    ),
    columns("space t bytes rank core", (1, 0.0, 2048, 0, 0), (2, 2100.0, 2048, 0, 1), (1, 2600.0, 0, 0, 0)),
    columns("tensor space address bytes start end", (1, 1, 4096, 2048, 0.0, 2600.0), (2, 2, -1, 2048, 2100.0, 2600.0)),
    {
        "opcode": ("DMA_DIRECT2D", "LDWEIGHTS", "MATMUL"),
        "queue": ("q-sync",),
        "queue_type": ("hardware_dynamic",),
        "kind": ("flow", "anti"),
    },
)


@pytest.fixture
def joined() -> Joinable:
    return Joinable(TRACE, NAMES, TIMING, hardware.load("trn2"))


def test_device_instructions_share_their_nki_instruction_s_work_once(joined: Joinable) -> None:
    table = instructions.table(joined)
    assert table["opcode"].to_list() == ["DMA_DIRECT2D", "LDWEIGHTS", "MATMUL", "LDWEIGHTS", "MATMUL"]
    assert table["raw_flops"].to_list() == [None, 0, FLOPS // 2, 0, FLOPS // 2]
    assert table["adjusted_flops"].to_list() == [None, 0, 2 * FLOPS, 0, 2 * FLOPS]
    assert table["sbuf_read_bytes"].to_list() == [0, WEIGHTS // 2, BYTES // 2, WEIGHTS // 2, BYTES // 2]
    assert table["psum_write_bytes"].to_list() == [0, 0, BYTES // 2, 0, BYTES // 2]
    assert table["hbm_read_bytes"].to_list() == [BYTES, 0, 0, 0, 0]


@pytest.mark.parametrize("name", ["hbm_read", "sbuf_read", "sbuf_write", "psum_write"])
def test_sums_over_the_table_are_the_trace_s(name: str, joined: Joinable) -> None:
    assert instructions.table(joined)[f"{name}_bytes"].sum() == TRACE["instructions"][name].sum()


def test_an_odd_count_of_bytes_loses_nothing(joined: Joinable) -> None:
    odd = {**TRACE, "instructions": {**TRACE["instructions"], "psum_write": np.array([0, 7])}}
    table = instructions.table(Joinable(odd, NAMES, TIMING, joined.hardware))
    assert table["psum_write_bytes"].to_list() == [0, 0, 4, 0, 3]


def test_instructions_know_their_line_stack_and_iteration(joined: Joinable) -> None:
    first, *_, last = instructions.table(joined).iter_rows(named=True)
    assert (first["file"], first["line"], first["function"]) == ("kernel.py", 4, "load")
    assert (first["nki_source_location"], first["stack_frame_id"]) == ("kernel.py:4", 1)
    assert (first["iteration_variable_id"], last["iteration_variable_id"]) == (None, 0)
    assert (first["engine"], last["engine"], last["compiler_opcode"]) == ("Sync", "Tensor", "nc_matmul")
    assert (
        last["operands"] == "dst=psum_2 float32[128,512] stationary=tile float32[128,128] moving=tile float32[128,512]"
    )
    assert (last["ready_ts"], last["duration_ns"], last["cost_class"]) == (2000.0, 200.0, "calibrated")


def test_pieces_of_one_issue_are_one_transfer(joined: Joinable) -> None:
    tables = movement.tables(joined)
    (transfer,) = tables["DmaPacketAggregated"].iter_rows(named=True)
    assert (transfer["start_ts"], transfer["end_ts"], transfer["transfer_bytes"]) == (100.0, 2000.0, BYTES)
    assert (transfer["source"], transfer["dest"], transfer["variable"]) == ("hbm", "sbuf", "a")
    assert (transfer["packets"], transfer["instruction_id"], transfer["queue_type"]) == (128, 0, "hardware_dynamic")
    packets = tables["DmaPacket"]
    assert packets["engine_idx"].to_list() == [0, 1]
    assert packets["packet_aggregation_id"].to_list() == [0, 0]


def test_a_flow_to_or_from_a_piece_is_one_of_its_transfer(joined: Joinable) -> None:
    flows = movement.tables(joined)["Flow"]
    ends = flows.select("in_table", "in_id", "out_table", "out_id").rows()
    assert ends == [
        ("Instruction", 0, "DmaPacketAggregated", 0),
        ("DmaPacketAggregated", 0, "Instruction", 1),
    ]


def test_a_wait_ends_when_what_another_engine_or_queue_does_has_ended(joined: Joinable) -> None:
    assert instructions.table(joined)["evt_wait_time_ns"].to_list() == [0.0, 2000.0, 0.0, 0.0, 0.0]
    updates = waits.updates(joined, movement.tables(joined)["DmaPacketAggregated"])
    assert updates.select("timestamp", "id", "value", "update_source").rows() == [(2000.0, "q-sync", 1, "AXI")]


def test_a_transfer_says_where_it_reads_and_writes(joined: Joinable) -> None:
    (transfer,) = movement.tables(joined)["DmaPacketAggregated"].iter_rows(named=True)
    read, write = (
        [transfer[f"{way}_{what}"] for what in ("sbuf_partitions", "shape", "offset")] for way in ("read", "write")
    )
    assert (read, write) == (["", None, "[0x0]"], ["0-127", "[128, 512]", "[0x0]"])


def test_memory_use_is_a_share_of_a_partition(joined: Joinable) -> None:
    sbuf, psum = memory.usage(joined, 1), memory.usage(joined, 2)
    assert sbuf["used_bytes"].to_list() == [2048, 0]
    assert sbuf["avg_util_percent"][0] == 2048 / joined.hardware.sbuf.partition_bytes
    assert psum["avg_util_percent"].to_list() == [2048 / joined.hardware.psum.partition_bytes]


def test_a_tensor_stays_where_the_clock_placed_it(joined: Joinable) -> None:
    tile, psum = memory.allocations(joined).iter_rows(named=True)
    assert (tile["tensor_name"], tile["start_ts"], tile["end_ts"]) == ("tile", 0.0, 2600.0)
    assert (tile["start_address"], tile["end_address"], tile["partitions"]) == (4096, 6144, 128)
    assert (tile["op_source_type"], tile["queue_name"], tile["opcode"]) == ("dma", "q-sync", None)
    assert (psum["op_source_type"], psum["queue_name"], psum["opcode"]) == ("instruction", None, "MATMUL")
    assert (psum["tensor_name"], psum["start_address"], psum["space"]) == ("psum_2", None, "psum")


def test_hbm_tensors_count_their_loads(joined: Joinable) -> None:
    (tensor,) = memory.tensors(joined).iter_rows(named=True)
    assert (tensor["variable_name"], tensor["type"], tensor["format"], tensor["size"]) == (
        "a",
        "input",
        "float32",
        BYTES,
    )
    assert tensor["shape"] == "[256 256]", "as the vendor writes it"
    assert (tensor["load_to_sbuf_dma_count"], tensor["load_to_sbuf_repeat_factor"]) == (1, 1.0)


def test_stacks_and_loop_variables_keep_their_parents(joined: Joinable) -> None:
    assert source.stack_frames(joined)["parent_stack_frame_id"].to_list() == [None, 0]
    (variable,) = source.iteration_variables(joined).iter_rows(named=True)
    assert (variable["variable_name"], variable["variable_value"], variable["line_number"]) == ("k", 7, 9)


def test_cost_classes_name_all_three(joined: Joinable) -> None:
    table = instructions.cost_classes(joined)
    assert table["cost_class"].to_list() == ["calibrated", "documented", "guessed"]
    assert table["time_ns"].to_list() == [400.0, 200.0, 200.0]
    assert table["share"].to_list() == [0.5, 0.25, 0.25]


def test_findings_without_a_place_have_none() -> None:
    from nkilab.simulator import Finding

    placed = Finding("a", "error", "m", Location("k.py", 3, "f"), "fix")
    table = source.findings((placed, Finding("b", "warning", "m", None, "fix")))
    assert table["line"].to_list() == [3, None]
    assert table["file"].to_list() == ["k.py", None]


def test_a_trace_of_nothing_gives_empty_tables(joined: Joinable) -> None:
    def empty(table: dict[str, Any]) -> dict[str, Any]:
        return {name: column[:0] for name, column in table.items()}

    parts = (TIMING.instructions, TIMING.dma, TIMING.flows, TIMING.occupancy, TIMING.placements)
    timing = Timing(*map(empty, parts), TIMING.names)
    nothing = Joinable({name: empty(table) for name, table in TRACE.items()}, NAMES, timing, joined.hardware)
    assert instructions.table(nothing).is_empty()
    assert all(table.is_empty() for table in movement.tables(nothing).values())
    assert memory.allocations(nothing).is_empty()


KERNELS = Path(__file__).parents[1] / "profiler" / "written_kernels.py"


@pytest.mark.parametrize(("rows", "spills"), [(32, True), (2, False)])
def test_spilled_bytes_stand_on_the_instructions_that_move_them(rows: int, spills: bool) -> None:
    x = np.zeros((rows * 128, 8192), np.float32)
    run = nkilab.simulate(f"{KERNELS}:spilling", x, sim=nkilab.Sim(target="trn2", values=False, on_finding="collect"))
    saved, loaded = (run.profile.table("Instruction")[f"spill_{what}_bytes"].sum() for what in ("save", "reload"))
    moved = run.profile.table("DmaPacketAggregated")
    assert moved["transfer_bytes"].sum() == 2 * x.nbytes + saved + loaded
    assert (saved > 0, loaded > 0) == (spills, spills)
    assert run.profile.dma().spilled_bytes == saved + loaded
    ways = moved.group_by("source", "dest").agg(pl.col("transfer_bytes").sum()).rows()
    assert sorted(ways) == [("hbm", "sbuf", x.nbytes + loaded), ("sbuf", "hbm", x.nbytes + saved)]


def test_use_of_partitions_and_banks_is_that_of_the_tensors_there() -> None:
    run = nkilab.simulate(str(Path(nkilab.__file__).parents[1] / "kernels" / "matmul.py") + ":matmul_tiled")
    banks = run.profile.table("PsumUsage")
    used = sum(banks[f"bank_{bank}_util_percent"] for bank in range(8)) / 8
    settled = banks.with_columns(used=used).group_by("timestamp", maintain_order=True).last()
    assert settled["used"].to_list() == pytest.approx(settled["avg_util_percent"].to_list())
    assert banks["bank_0_util_percent"].max() == 1.0
    sbuf = run.profile.table("SbufUsage").group_by("timestamp", maintain_order=True).last()
    for partition in (0, 32, 64, 96):
        assert sbuf[f"partition_{partition}_util_percent"].to_list() == pytest.approx(
            sbuf["avg_util_percent"].to_list()
        )
