"""`dma`, `memory`, `bounds`, `hierarchy`, `diff`, `collectives`: answers that can be added up by hand."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from nkilab.errors import UsageError
from nkilab.profiler import Origin, Profile
from nkilab.profiler.errors import NotInProfileError
from nkilab.profiler.readers import read
from tests.profiler import makers
from tests.profiler.test_stalls import op, run

REAL = (
    "trn2-attention/baseline_bf16_s512/profile.json",
    "trn2-attention/fused_fp32_s1024/fused_exec_2.ntff",
    "trn2-nki-source/moe_tkg",
)


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    return read(makers.write(tmp_path / "p.json", makers.device_json()))


def test_queues_with_their_sizes_and_rates(profile: Profile) -> None:
    found = profile.dma()
    first = found.table().row(0, named=True)
    assert (first["queue"], first["queue_type"], first["engines"]) == ("Q0", "hardware_dynamic", 2)
    assert (first["packets"], first["bytes"], first["active_ns"], first["busy_ns"]) == (2, 3072, 150, 200)
    assert first["bytes_per_s"] == pytest.approx(3072 / 150e-9)
    assert first["efficiency"] is None, "the hand-made machine has no hardware table"
    assert found.sizes.select("up_to_bytes", "packets").rows() == [(1024, 2), (2048, 1)]
    assert found.engines.select("engine_idx", "busy_ns").rows() == [(64, 200), (65, 100)]
    assert found.duplicates == 0


def test_reloads_are_said_before_the_table(profile: Profile) -> None:
    tensors = pl.DataFrame(
        {
            "variable_name": ["w", "x"],
            "size": [100, 50],
            "load_to_sbuf_total_size_bytes": [400, 50],
            "load_to_sbuf_dma_count": [4, 1],
        }
    )
    found = profile.with_tables({"TensorInfo": tensors}).dma()
    assert found.tensors.select("variable", "reload").rows() == [("w", 4.0), ("x", 1.0)]
    assert "w 4.00 times" in str(found)


def test_memory_peaks_means_and_holders() -> None:
    usage = pl.DataFrame(
        {
            "timestamp": [0.0, 100.0, 300.0],
            "avg_util_percent": [0.1, 0.5, 0.0],
            "used_bytes": [10, 50, 0],
            "pcore_idx": [0, 0, 0],
        }
    )
    stays = pl.DataFrame(
        {"tensor_name": ["a", "b", "c"], "start_ts": [0.0, 90.0, 301.0], "end_ts": [400.0, 200.0, 400.0], "start_address": [0, 10, 0], "end_address": [10, 50, 9], "space": ["sbuf"] * 3}
    )  # fmt: skip
    found = run([op(1, 0, 400, "Tensor")], 400, SbufUsage=usage, SbufAllocation=stays).memory()
    assert found.rows.row(0, named=True) == {
        "space": "sbuf",
        "core": "0",
        "peak": 0.5,
        "peak_bytes": 50,
        "at_ns": 100,
        "mean": (0.1 * 100 + 0.5 * 200) / 400,
    }
    assert found.holders["tensor_name"].to_list() == ["b", "a"]
    assert "b, a" in str(found)
    with pytest.raises(NotInProfileError, match="memory"):
        run([op(1, 0, 400, "Tensor")], 400).memory()


def test_the_ladder_of_bounds(profile: Profile) -> None:
    """1 000 ns; own work spans [0, 450): instructions with a line to 260, data to 450. DMA is busiest with 250, Tensor
    works 200. Of 4 000 HBM bytes 1 000 are needed once: DMA of 62.5, as long as 1 000 bytes take at 16 GB/s. 2 000 useful
    FLOPs on the one core that multiplies, at 400 GFLOP/s, take 5."""
    found = profile.bounds()
    steps = dict(found.rows.select("step", "ns").iter_rows())
    expected = {
        "as measured": 1000,
        "body": 450,
        "no stalls": 250,
        "no reloads": 200,
        "ideal DMA": 200,
        "ideal TensorE": 62.5,
    }
    assert steps == pytest.approx(expected)
    assert found.limit == "memory"
    assert found.roofline["achieved"][0] == pytest.approx(2000 / 1e-6)
    assert found.roofline["attainable"][0] == pytest.approx(0.5 * 16e9)
    assert "most to gain: no stalls, 0.20 us" in found.remarks()[0]


def test_a_tree_whose_parts_add_up() -> None:
    rows = [
        op(1, 0, 10, "Tensor", 3, function="f", layer="attention"), op(2, 10, 40, "Vector", 3, function="f", layer="attention", opcode="COPY"),
        op(3, 40, 45, "Tensor", 9, function="g", layer="mlp"), op(4, 45, 46, "Tensor"),
    ]  # fmt: skip
    found = run(rows, 46).hierarchy().table()
    tops = found.filter(depth=0)
    assert tops.select("name", "instruction_ns").rows() == [("attention", 40.0), ("mlp", 5.0), ("(no source)", 1.0)]
    assert found["path"].to_list()[:4] == [
        "attention",
        "attention › f",
        "attention › f › k.py:3",
        "attention › f › k.py:3 › COPY",
    ]
    for parent in found["path"]:
        children = found.filter(parent=parent)
        if children.height:
            assert children["instruction_ns"].sum() == found.filter(path=parent)["instruction_ns"].item()
    assert tops["share"].sum() == pytest.approx(1)


def test_a_difference_by_line_engine_and_opcode() -> None:
    before = run([op(1, 0, 100, "Tensor", 3), op(2, 100, 150, "Vector", 4)], 200)
    after = run([op(1, 0, 100, "Tensor", 3), op(2, 100, 110, "Vector", 4), op(3, 110, 120, "Scalar", 5)], 130)
    found = before.diff(after)
    lines = found.table().filter(by="line").select("key", "delta_ns", "a_count", "b_count").rows()
    assert lines == [("k.py:4", -40.0, 1, 1), ("k.py:5", 10.0, 0, 1), ("k.py:3", 0.0, 1, 1)]
    assert "-35.0%" in str(found)
    assert "k.py:4" in found.remarks()[0]
    assert not found.same_run
    assert found.figure().data


@pytest.mark.parametrize(
    ("rule", "breaks"),
    [
        ("total_us>+5%", False), ("total_us<-30%", True), ("total_us<-40%", False), ("total_us>0.1", True), ("total_us>+0.01", False),
        ("total_time > 1", False), ("vector_engine_active_time<-50%", True), ("total_us>=-35%", True),
    ],
)  # fmt: skip
def test_gates(rule: str, breaks: bool) -> None:
    before = run([op(1, 0, 100, "Tensor", 3), op(2, 100, 150, "Vector", 4)], 200)
    after = run([op(1, 0, 100, "Tensor", 3), op(2, 100, 110, "Vector", 4)], 130)
    sentence = before.diff(after).broken(rule)
    assert (sentence is not None) == breaks
    assert sentence is None or rule.split(">", maxsplit=1)[0].split("<", maxsplit=1)[0].strip() in sentence


@pytest.mark.parametrize("rule", ["total_us", "total_us>>3", "nonsense>+5%", "total_us>abc"])
def test_a_gate_that_is_not_understood_is_an_error(rule: str) -> None:
    p = run([op(1, 0, 100, "Tensor", 3)], 200)
    with pytest.raises(UsageError, match="fail-if"):
        p.diff(p).broken(rule)


@pytest.mark.parametrize(
    ("variant", "rows"), [("baseline_bf16_s512", 452), ("fused_bf16_s512", 436), ("fused_fp32_s1024", 857)]
)
def test_two_readings_of_one_run_are_the_same_run(variant: str, rows: int, shared_profiles: Path) -> None:
    folder = shared_profiles / "trn2-attention" / variant
    found = read(folder / "profile.json").diff(read(next(folder.glob("*.ntff"))))
    assert found.recorded["equal"].to_list() == [True] * 5
    assert found.same_run
    assert f"{rows} rows of Instruction" in str(found)
    assert "6 rows of Summary (total time, active time of each engine)" in " ".join(found.remarks())


@pytest.mark.parametrize("column", ["bir_id", "bir_instruction_name", "compiler_pc", "opcode"])
def test_one_name_that_differs_is_another_reading(column: str, shared_profiles: Path) -> None:
    p = read(shared_profiles / "trn2-attention" / "fused_bf16_s512" / "profile.json")
    rows = p.table("Instruction")
    one = rows[column].drop_nulls()[0]
    other = 7 if rows.schema[column] == pl.Int64 else "x"
    changed = rows.with_columns(
        pl.when(pl.col(column) == one).then(pl.lit(other)).otherwise(pl.col(column)).alias(column)
    )
    assert p.diff(p).same_run
    assert not p.diff(p.with_tables({"Instruction": changed})).same_run


def test_two_runs_are_not_two_readings(shared_profiles: Path) -> None:
    folder = shared_profiles / "trn2-attention" / "fused_bf16_s512"
    other = read(shared_profiles / "trn2-attention" / "baseline_bf16_s512" / "profile.json")
    assert not read(folder / "profile.json").diff(other).same_run


def test_two_readings_that_lack_one_row_of_each_other_name_it(shared_profiles: Path) -> None:
    folder = shared_profiles / "trn2-attention" / "baseline_fp32_s1024"
    found = read(next(folder.glob("*.ntff"))).diff(read(folder / "profile.json"))
    assert found.recorded["equal"].to_list() == [False, True, True, True, True]
    said = " ".join(found.remarks())
    assert "DRAIN on Sync at 8.685 us only before" in said
    assert "after's own summary counts 67 instructions on Sync, its table has 66" in said


def test_collectives_with_bandwidth_and_outliers() -> None:
    ops = pl.DataFrame(
        {
            "start_ts": [0.0, 200.0, 400.0, 1000.0], "end_ts": [100.0, 300.0, 500.0, 1400.0], "duration_ns": [100.0, 100.0, 100.0, 400.0],
            "operation": ["AllReduce"] * 4, "algorithm": ["Ring"] * 4, "dtype": ["bf16"] * 4, "input_size": [1000] * 4, "op_id": [1, 2, 3, 4],
            "cc_trigger_start_delay": [10.0, None, 30.0, None],
        }
    )  # fmt: skip
    found = run([op(1, 0, 50, "Tensor")], 1500, CcOp=ops).collectives()
    row = found.table().row(0, named=True)
    assert (row["operations"], row["median_ns"], row["slowest_ns"], row["delay_ns"]) == (4, 100, 400, 20)
    assert row["algorithm_bandwidth"] == pytest.approx(1000 / 100e-9)
    assert found.outliers.select("op_id", "slower").rows() == [(4, 4.0)]
    assert (found.hidden_ns, found.exposed_ns) == (50, 650)
    with pytest.raises(NotInProfileError, match="no collective"):
        run([op(1, 0, 50, "Tensor")], 1500).collectives()


@pytest.mark.parametrize("name", REAL)
def test_every_analysis_answers_on_real_profiles_and_serialises(name: str, shared_profiles: Path) -> None:
    p = read(shared_profiles / name)
    answers = [
        p.summary(),
        p.engines(),
        p.overlap(),
        p.lines(),
        p.hierarchy(),
        p.stalls(),
        p.bounds(),
        p.dma(),
        p.advice(),
        p.doctor(),
        p.diff(p),
    ]
    for answer in answers:
        assert answer.table().height > 0, answer.title
        assert answer.title in str(answer)
        assert "<table>" in answer._repr_html_()
        assert json.loads(json.dumps(answer.to_json())), answer.title
    assert p.hierarchy().figure().data
    assert p.bounds().figure().data
    ladder = p.bounds().rows["ns"].to_list()
    assert ladder == sorted(ladder, reverse=True)


def test_an_empty_profile_never_ends_in_a_traceback() -> None:
    p = Profile.build({}, Origin("folder"))
    for analysis in (
        p.summary,
        p.engines,
        p.overlap,
        p.lines,
        p.hierarchy,
        p.stalls,
        p.bounds,
        p.dma,
        p.memory,
        p.collectives,
        p.advice,
    ):
        with pytest.raises(NotInProfileError):
            analysis()
    assert p.doctor().rows.height > 0
    with pytest.raises(UsageError):
        p.diff(p)


def test_bus_bandwidth_is_the_rate_over_a_rank_s_links() -> None:
    kinds = {
        "AllReduce": 2 * 3 / 4,
        "all_gather": 3.0,
        "reduce_scatter": 3 / 4,
        "collective_permute": 1.0,
        "mystery": None,
    }
    rows = [
        {"operation": name, "input_size": 4000, "start_ts": 0.0, "end_ts": 10.0, "duration_ns": 10.0, "replica_group": "[[0, 1, 2, 3], [4, 5, 6, 7]]"}
        for name in kinds
    ]  # fmt: skip
    found = run([op(0, 0, 10, "Tensor")], 10, CcOp=pl.DataFrame(rows)).collectives().rows
    algorithm = 4000 / 10e-9
    got = dict(found.select("operation", "bus_bandwidth").iter_rows())
    assert got == {name: None if k is None else pytest.approx(k * algorithm) for name, k in kinds.items()}


def test_the_roofline_has_a_row_for_every_memory_with_known_bytes() -> None:
    row = op(
        0,
        0,
        1000,
        "Tensor",
        raw_flops=10**9,
        hbm_read_bytes=10**6,
        sbuf_read_bytes=4 * 10**6,
        psum_write_bytes=2 * 10**6,
    )
    facts = pl.DataFrame({"key": ["total_ns", "target"], "value": ["1000", "trn2"]})
    p = Profile.build({"Instruction": pl.DataFrame([row]), "Metadata": facts}, Origin("simulated"))
    found = p.bounds()
    roofs = {r["level"]: r for r in found.roofline.to_dicts()}
    assert set(roofs) == {"hbm", "sbuf", "psum"}
    peak = 2 * 128 * 128 * 2.4e9
    for level, size in (("hbm", 10**6), ("sbuf", 4 * 10**6), ("psum", 2 * 10**6)):
        one = roofs[level]
        assert one["intensity"] == pytest.approx(10**9 / size)
        assert one["attainable"] == pytest.approx(min(peak, 10**9 / size * one["bandwidth"]))
        assert one["achieved"] == pytest.approx(10**9 / 1e-6)
        assert one["cls"] == "documented"
        assert one["source"]
        assert level.upper() in str(found)
    lanes = 128 * 4 * 1e9
    assert roofs["psum"]["bandwidth"] == pytest.approx(2 * lanes * (2.4 + 0.96 + 1.2))
    assert len(found.roofline_figure().data) == 6


def test_spills_and_named_bytes_are_told_by_dma() -> None:
    moved = pl.DataFrame(
        {"id": [1, 2], "start_ts": [0.0, 5.0], "end_ts": [5.0, 9.0], "transfer_bytes": [300, 100], "variable": ["x", "unknown"]}
    )  # fmt: skip
    spilling = op(0, 0, 10, "Tensor") | {"spill_save_bytes": 60, "spill_reload_bytes": 40}
    found = run([spilling], 10, DmaPacketAggregated=moved).dma()
    assert found.named == pytest.approx(0.75)
    assert found.spilled_bytes == 100
    assert "for want of SBUF" in str(found)
    old = moved.with_columns(op=pl.lit("activation"), source=pl.lit("sbuf"), dest=pl.lit("sbuf"))
    assert run([op(0, 0, 10, "Tensor")], 10, DmaPacketAggregated=old).dma().spilled_bytes == 400, (
        "saved by an older nkilab"
    )
    measured = Profile.build(
        {"Instruction": pl.DataFrame([op(0, 0, 10, "Tensor")]), "DmaPacketAggregated": moved}, Origin("ntff")
    )
    assert measured.dma().spilled_bytes is None, "not in this profile, which is not 0"
