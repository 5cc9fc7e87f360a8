"""Every row of the vendor tool's JSON, from the NTFF and the NEFF alone.

The JSON holds whole nanoseconds, cut off; the device counts picoseconds, which is what the reader gives.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from nkilab.profiler.profile import Profile
from nkilab.profiler.readers import ntff

VARIANTS = ("baseline_bf16_s512", "baseline_fp32_s1024", "fused_bf16_s512", "fused_fp32_s1024")
# One row is absent from the JSON's instructions although the tool itself counts it and has it among its busy intervals.
LOST_BY_THE_TOOL = {"baseline_fp32_s1024": [(0, "Sync", 8685, 8, 25)]}

Tables = dict[str, list[dict[str, object]]]


@pytest.fixture(scope="module", params=VARIANTS)
def run(request: pytest.FixtureRequest, shared_profiles: Path) -> tuple[str, Profile, Tables]:
    folder = shared_profiles / "trn2-attention" / request.param
    tables = json.loads((folder / "profile.json").read_text())
    return request.param, ntff.read(next(folder.glob("*.ntff"))), tables


def core(row: dict[str, object]) -> int:
    return int(str(row["subgraph"]).removeprefix("sg"))


def whole_ns(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """Nanoseconds cut off, after the float's last digit is rounded away (the device's unit is 0.001)."""
    return frame.with_columns(pl.col(name).round(3).floor().cast(pl.Int64) for name in columns)


def same(ours: Iterable[tuple[object, ...]], theirs: Iterable[tuple[object, ...]]) -> None:
    mine, vendor = Counter(ours), Counter(theirs)
    assert vendor, "the JSON has rows to compare with"
    assert not vendor - mine, f"in the JSON only: {list((vendor - mine).items())[:5]}"
    assert not mine - vendor, f"in ours only: {list((mine - vendor).items())[:5]}"


def instructions(name: str, profile: Profile) -> pl.DataFrame:
    rows = whole_ns(profile.table("Instruction"), "start_ts", "duration_ns", "evt_wait_time_ns")
    lost = LOST_BY_THE_TOOL.get(name, [])
    key = pl.struct("pcore_idx", "engine", "start_ts", "duration_ns", "pc")
    kept = rows.filter(~key.map_elements(lambda row: tuple(row.values()) in lost, return_dtype=pl.Boolean))
    assert rows.height - kept.height == len(lost)
    return kept


def test_instructions_where_when_and_what(run: tuple[str, Profile, Tables]) -> None:
    name, profile, tables = run
    ours = instructions(name, profile).select(
        "pcore_idx",
        "engine",
        "timeline_track",
        "start_ts",
        "duration_ns",
        "pc",
        "compiler_pc",
        "opcode",
        "compiler_opcode",
    )
    keys = ("subgroup", "label", "timestamp", "duration", "pc", "compiler_pc", "opcode", "compiler_opcode")
    same(ours.iter_rows(), ((core(row), *(row.get(key) for key in keys)) for row in tables["instruction"]))


def test_instructions_names_of_the_compiler(run: tuple[str, Profile, Tables]) -> None:
    name, profile, tables = run
    numbers = ("raw_bir_id", "raw_penguin_id")
    columns = ("pcore_idx", "engine", "start_ts", "pc", "bir_id", "bir_instruction_name", "penguin_id", *numbers)
    ours = (
        instructions(name, profile)
        .select(columns)
        .with_columns(pl.col(pl.String).fill_null(""), pl.col(numbers).fill_null(0))
    )
    keys = ("subgroup", "timestamp", "pc", "bir_id", "bir_instruction_name", "penguin_id", *numbers)
    same(ours.iter_rows(), ((core(row), *(row[key] for key in keys)) for row in tables["instruction"]))


@pytest.mark.parametrize(
    ("column", "key"),
    [
        ("evt_wait_time_ns", "evt_wait_time"),
        ("crc_in", "crc_in"),
        ("crc_out", "crc_out"),
        ("operands", "operands"),
        ("tensor_instruction_type", "instruction_type"),
        ("scalar_activation_fn", "activation_fn"),
        ("tensor_elements", "elements"),
        ("hbm_read_bytes", "hbm_read_bytes"),
        ("hbm_write_bytes", "hbm_write_bytes"),
        ("sbuf_read_bytes", "sbuf_read_bytes"),
        ("sbuf_write_bytes", "sbuf_write_bytes"),
        ("psum_read_bytes", "psum_read_bytes"),
        ("psum_write_bytes", "psum_write_bytes"),
    ],
)
def test_what_the_encoding_says(run: tuple[str, Profile, Tables], column: str, key: str) -> None:
    name, profile, tables = run
    ours = instructions(name, profile).select("pcore_idx", "engine", "start_ts", "pc", column)
    theirs = (
        (core(row), row["subgroup"], row["timestamp"], row["pc"], row.get(key) if row.get(key) != "" else None)
        for row in tables["instruction"]
    )
    same(ours.iter_rows(), theirs)


def test_instruction_counts_are_the_tools_own(run: tuple[str, Profile, Tables]) -> None:
    _, profile, tables = run
    counted = dict(profile.table("Instruction").group_by("engine").len().iter_rows())
    summary = tables["summary"][0]
    assert counted == {engine: summary[f"{engine.lower()}_engine_instruction_count"] for engine in counted}
    assert len(counted) == 5


def test_dma_packets(run: tuple[str, Profile, Tables]) -> None:
    _, profile, tables = run
    columns = (
        "pcore_idx",
        "start_ts",
        "duration_ns",
        "engine_idx",
        "queue_idx",
        "transfer_bytes",
        "crc",
        "queue_type",
        "read_bytes",
        "write_bytes",
    )
    ours = whole_ns(profile.table("DmaPacket"), "start_ts", "duration_ns").select(columns)
    keys = ("transfer_size", "crc", "queue_type", "read_size", "write_size")
    theirs = (
        (
            core(row),
            row["timestamp"],
            row["duration"],
            int(str(row["dma_engine"])),
            int(str(row["dma_queue"])),
            *(row[key] for key in keys),
        )
        for row in tables["dma"]
    )
    same(ours.iter_rows(), theirs)


def test_dma_rates_to_the_tools_seven_digits(run: tuple[str, Profile, Tables]) -> None:
    _, profile, tables = run
    ours = np.sort(profile.table("DmaPacket")["throughput"].to_numpy())
    theirs = np.sort([float(str(row["transfer_rate"])) for row in tables["dma"]])
    np.testing.assert_allclose(ours, theirs, rtol=3e-7)


def test_semaphores(run: tuple[str, Profile, Tables]) -> None:
    _, profile, tables = run
    ours = whole_ns(profile.table("SemaphoreUpdate"), "timestamp").select("pcore_idx", "timestamp", "id", "value")
    same(
        ours.iter_rows(), ((core(row), row["timestamp"], row["id"], row["value"]) for row in tables["semaphore_update"])
    )


def test_throttle_windows(run: tuple[str, Profile, Tables]) -> None:
    _, profile, tables = run
    columns = ("pcore_idx", "timestamp", "duration", "k", "n", "type")
    ours = whole_ns(profile.table("Throttle"), "timestamp", "duration").select(columns)
    same(ours.iter_rows(), ((core(row), *(row[key] for key in columns[1:])) for row in tables["ham"]))


def test_busy_intervals(run: tuple[str, Profile, Tables]) -> None:
    _, profile, tables = run
    rows = whole_ns(profile.table("ActiveTime"), "start_ts", "end_ts", "duration_ns").with_columns(
        pl.col("engine").str.to_lowercase()
    )
    columns = ("pcore_idx", "engine", "start_ts", "end_ts", "duration_ns")
    same(rows.select(columns).iter_rows(), (tuple(row[key] for key in columns) for row in tables["active_time"]))


@pytest.mark.parametrize("engine", ["Tensor", "Vector", "Scalar", "GpSimd", "Sync"])
def test_active_time_within_a_nanosecond(run: tuple[str, Profile, Tables], engine: str) -> None:
    _, profile, tables = run
    rows = profile.table("ActiveTime").filter(engine=engine).sort("start_ts")
    until = rows["end_ts"].cum_max().shift(1, fill_value=0.0)
    union = (rows["end_ts"] - rows.select(pl.max_horizontal("start_ts", until))["start_ts"]).clip(0).sum()
    stated = float(str(tables["summary"][0][f"{engine.lower()}_engine_active_time"])) * 1e9
    assert stated > 0
    assert abs(union - stated) < 1


def test_total_time_exactly(run: tuple[str, Profile, Tables]) -> None:
    _, profile, tables = run
    assert profile.table("Summary").rows() == [("total_time", tables["summary"][0]["total_time"], None)]
    assert int(profile.fact("last_hw_timestamp") or 0) == tables["metadata"][0]["last_hw_timestamp"]


def test_flops_and_bytes_add_up_to_the_summary(run: tuple[str, Profile, Tables]) -> None:
    _, profile, tables = run
    rows, summary = profile.table("Instruction"), tables["summary"][0]
    assert rows["raw_flops"].sum() == summary["hardware_flops"] > 0
    assert rows["flops_transpose"].sum() == summary["transpose_flops"] > 0
    for column in (
        "hbm_read_bytes",
        "hbm_write_bytes",
        "sbuf_read_bytes",
        "sbuf_write_bytes",
        "psum_read_bytes",
        "psum_write_bytes",
    ):
        assert rows[column].sum() == summary[column] > 0


def test_dependences(run: tuple[str, Profile, Tables]) -> None:
    _, profile, tables = run
    rows = whole_ns(profile.table("Instruction"), "start_ts")
    ours = dict(zip(rows["id"], rows.select("pcore_idx", "engine", "start_ts", "pc").iter_rows(), strict=True))
    theirs = {row["id"]: (core(row), row["subgroup"], row["timestamp"], row["pc"]) for row in tables["instruction"]}
    flows = profile.table("Flow").select("in_id", "out_id", "dependency_type").iter_rows()
    before = ((row["id"], one) for row in tables["instruction"] for one in row.get("predecessors", []))  # type: ignore[attr-defined]
    same(
        ((ours[first], ours[then], kind) for first, then, kind in flows),
        ((theirs[one["id"]], theirs[then], one["type"]) for then, one in before),
    )


def test_queues_memory_tensors_and_header(run: tuple[str, Profile, Tables]) -> None:
    _, profile, tables = run
    queues = profile.table("DmaQueuesInfo").select("pcore_idx", "name", "idx", "engine_idx", "dram_channel")
    same(
        queues.iter_rows(),
        ((core(q), q["q_name"], q["q_idx"], q["q_eng_idx"], q["q_dram_channel"]) for q in tables["dma_queues_info"]),
    )
    memory = profile.table("HbmUsageSummaryByType").select("neuroncore_idx", "usage_type", "usage_bytes")
    same(memory.iter_rows(), ((m["nc"], m["usage_type"], m["amount_bytes"]) for m in tables["nc_mem_usage"]))
    tensors = profile.table("TensorInfo").drop_nulls("type").select("variable_name", "type", "format", "shape", "size")
    named = (t for t in tables["neff_node"] if t["variable_name"])
    same(
        tensors.iter_rows(),
        ((t["variable_name"], t["type"], t["format"], t["shape"], int(str(t["size"]))) for t in named),
    )
    header = dict(profile.table("NeffHeader").iter_rows())
    assert {key: tables["neff_header"][0][key] for key in header} == header


def test_counts_and_cycles_of_each_core(run: tuple[str, Profile, Tables]) -> None:
    _, profile, tables = run
    names = ("sg_name", "nc_idx", "neuroncore_cycle_count", "event_count", "trace_count", "dma_queue_count")
    ours = profile.table("ModelInfo").select(names)
    same(ours.iter_rows(), (tuple(row[name] for name in names) for row in tables["model_info"]))


def test_it_is_known_what_the_tool_leaves_out(run: tuple[str, Profile, Tables]) -> None:
    """Packets of busy table rings are absent from both; the reader says how many."""
    _, profile, _ = run
    assert any(
        "DMA packets of the runtime's instruction and table rings are left out" in note for note in profile.notes
    )
