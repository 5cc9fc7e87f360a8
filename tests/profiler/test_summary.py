"""`summary`: the source's own metrics verbatim, the others computed by the vendor's formulas."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from nkilab.profiler import Origin, Profile
from nkilab.profiler.analyses.computed import computed
from nkilab.profiler.analyses.metrics import METRICS, describe
from nkilab.profiler.errors import NotInProfileError
from nkilab.profiler.readers import read
from tests.profiler import makers

RUNS = ("fused_bf16_s512", "baseline_bf16_s512", "fused_fp32_s1024", "baseline_fp32_s1024")
NS = 1e-9

# What the tables do not hold, and why.
UNDETERMINED = {
    "nc_idx": "the vendor adds the ids of both cores of an LNC pair; a sum of ids is no id",
    "model_flops": "needs the compiler's HLO statistics",
    "mfu_hlo_estimated_percent": "needs the compiler's HLO statistics",
    "mfu_hlo_max_achievable_estimated_percent": "needs the compiler's HLO statistics",
    "dma_transfer_time": "needs transfers; without DGE notifications packets cannot be joined into them",
    "dma_transfer_average_bytes": "needs transfers; without DGE notifications packets cannot be joined into them",
    "cc_cores_instruction_time": "needs the collectives cores' instructions, which no table holds",
    "cc_cores_instruction_active_time": "needs the collectives cores' instructions, which no table holds",
    "cc_cores_instruction_active_time_percent": "needs the collectives cores' instructions, which no table holds",
    "cc_cores_instruction_count": "needs the collectives cores' instructions, which no table holds",
}
VERSIONS = {
    "instance_type",
    "compiler_version",
    "runtime_version",
    "driver_version",
    "collectives_version",
    "profiler_version",
}


def hand_made(tmp_path: Path, **tables: list[makers.Row] | None) -> Profile:
    return read(makers.write(tmp_path / "p.json", makers.device_json(**tables)))


def test_every_metric_of_the_hand_made_run(tmp_path: Path) -> None:
    found = computed(hand_made(tmp_path))
    peak = 2 * 10 * 10 * 2e9  # FLOP/s of one core
    expected = {
        "total_time": 1000 * NS,
        "neuroncore_cycle_count": 1500,
        "tensor_engine_active_time": 200 * NS,  # [0, 150) and [140, 200): a union over both cores
        "tensor_engine_active_time_percent": 0.2,
        "tensor_engine_instruction_time": 260 * NS,
        "tensor_engine_instruction_count": 3,
        "vector_engine_active_time": 60 * NS,  # the semaphore wait is left out
        "vector_engine_instruction_count": 2,  # and counted here
        "matmul_instruction_count": 3,
        "hardware_flops": 3000,
        "transpose_flops": 1000,
        "dma_active_time": 250 * NS,
        "dma_active_cycles": 375,
        "dma_packet_time": 300 * NS,
        "hardware_dynamic_dma_active_time": 150 * NS,
        "hardware_dynamic_dma_active_time_percent": 0.6,
        "hardware_dynamic_dma_packet_percent": 2 / 3,
        "hardware_dynamic_dma_size": 3072,
        "static_dma_size_percent": 0.25,
        "dynamic_dma_size_percent": 0.75,
        "hbm_read_bytes": 3000,
        "psum_write_bytes": 64,
        "inputs_and_weights_size_bytes": 700,
        "inputs_outputs_weights_size_bytes": 1000,
        "weight_size_bytes": 100,
        "mm_arithmetic_intensity": 0.5,
        "peak_flops_bandwidth_ratio": peak / 16e9,
        "hfu_estimated_percent": 3000 / (2 * peak * 1000 * NS),
        "mfu_inst_estimated_percent": 2000 / (2 * peak * 1000 * NS),
        "mfu_inst_max_achievable_estimated_percent": 0.5 * 16e9 / (2 * peak),
        "mbu_estimated_percent": 4000 / (16e9 * 1000 * NS),
        "total_active_time": (260 + 150 + 100) * NS,
        "event_count": 4,
        "trace_count": 11,
        "dma_queue_count": 3,
        "throttle_active_nc0_time_ns": 200,
        "throttle_avg_util_limit_nc0_percent": 500 / 900,  # until the last instruction's end
        "throttle_activity_1_active_time_nc0_percent": 200 / 900,
        "throttle_activity_1_avg_util_limit_nc0_percent": 0.5,
        "cc_op_count": 0,
    }
    assert {name: found.get(name) for name in expected} == pytest.approx(expected)


def test_what_the_tables_do_not_hold_is_absent_not_zero(tmp_path: Path) -> None:
    found = computed(hand_made(tmp_path, dma=None, ham=None, neff_node=None, model_info=None))
    assert "total_time" in found
    assert not [name for name in found if "dma" in name or "throttle" in name or "weight" in name or "trace" in name]
    rows = [makers.instruction(0, 10, "Tensor", "MATMUL")]
    without_work = computed(hand_made(tmp_path, instruction=rows))
    assert "hardware_flops" not in without_work
    assert "mfu_estimated_percent" not in without_work
    assert "hbm_read_bytes" not in without_work


def test_a_sum_over_instructions_of_which_some_are_unknown_is_not_given(tmp_path: Path) -> None:
    load = makers.instruction(300, 310, "GpSimd", "DMA_DIRECT2D", hbm_read_bytes=100, sbuf_write_bytes=100)
    unread = makers.instruction(320, 330, "GpSimd", "DMA_DIRECT2D")
    product = makers.instruction(340, 350, "Tensor", "MATMUL", elements=7, psum_write_bytes=8)
    assert computed(hand_made(tmp_path, instruction=[load, product]))["hbm_read_bytes"] == 100
    partly = computed(hand_made(tmp_path, instruction=[load, unread, product]))
    assert not [name for name in partly if name.startswith(("hbm_", "sbuf_", "psum_", "mbu_estimated", "mm_"))]
    assert partly["hardware_flops"] == 14
    without = makers.instruction(360, 370, "Tensor", "MATMUL")
    assert "hardware_flops" not in computed(hand_made(tmp_path, instruction=[load, product, without]))


def test_the_files_own_metrics_go_before_ours(tmp_path: Path) -> None:
    p = hand_made(tmp_path, summary=[{"total_time": 7.0, "instance_type": "trn2.48xlarge"}])
    rows = {row["metric"]: row for row in p.summary().table().to_dicts()}
    assert rows["total_time"]["value"] == 7.0
    assert rows["total_time"]["by"] == "vendor"
    assert rows["instance_type"]["text"] == "trn2.48xlarge"
    assert rows["tensor_engine_active_time"]["by"] == "nkilab"
    assert rows["tensor_engine_active_time_percent"]["denominator"] == "total_time"


def test_a_simulated_run_gives_the_same_names_and_says_that_they_are_modelled(tmp_path: Path) -> None:
    measured = hand_made(tmp_path)
    tables = {name: measured.table(name) for name in measured.names}
    modelled = Profile.build(tables, Origin("simulated"))
    assert modelled.summary().table()["metric"].to_list() == measured.summary().table()["metric"].to_list()
    assert set(modelled.summary().table()["by"].to_list()) >= {"model"}
    assert "modelled" in str(modelled.summary())
    assert "modelled" not in str(measured.summary())


def test_rates_come_from_the_hardware_table_when_the_profile_names_only_its_target() -> None:
    instructions = pl.DataFrame(
        [{"start_ts": 0, "end_ts": 1000, "engine": "Tensor", "opcode": "MATMUL", "raw_flops": 10**6}]
    )
    metadata = pl.DataFrame({"key": ["target"], "value": ["trn2"]})
    found = computed(Profile.build({"Instruction": instructions, "Metadata": metadata}, Origin("simulated")))
    assert found["hfu_estimated_percent"] == pytest.approx(10**6 / (2 * 128 * 128 * 2.4e9 * 1e-6))


def test_a_profile_without_any_metric_says_so() -> None:
    with pytest.raises(NotInProfileError, match="no metric"):
        Profile.build({}, Origin("folder")).summary()
    p = Profile.build({"Summary": pl.DataFrame({"metric": ["a_time"], "value": [1.0]})}, Origin("summary"))
    assert p.summary().get("total_time") is None
    with pytest.raises(NotInProfileError, match="total_time"):
        p.summary()["total_time"]


def test_every_metric_has_a_unit_that_its_name_promises() -> None:
    assert len(METRICS) > 90
    for metric in METRICS.values():
        assert metric.definition, metric.name
        if metric.name.endswith("_percent"):
            assert metric.unit == "fraction", metric.name
            assert metric.denominator or "dynamic" in metric.name or "static" in metric.name or metric.numerator, (
                metric.name
            )
        elif metric.name.endswith("_time"):
            assert metric.unit == "s", metric.name
    assert describe("throttle_active_nc4_time_ns").unit == "ns"
    assert describe("throttle_activity_0_active_time_nc4_percent").denominator == "total_time"
    assert describe("something_new_bytes").unit == "bytes"


def test_it_prints_every_metric_and_serialises(tmp_path: Path) -> None:
    s = hand_made(tmp_path).summary()
    text = str(s)
    for name in s.table()["metric"]:
        assert name in text
    assert "1.00 us" in text
    assert json.loads(json.dumps(s.to_json()))["kind"] == "device-json"
    assert s.scan().collect().equals(s.table())


@pytest.mark.parametrize("run", RUNS)
def test_real_summary_is_the_vendors_verbatim(run: str, shared_profiles: Path) -> None:
    path = shared_profiles / "trn2-attention" / run / "profile.json"
    vendor = json.loads(path.read_bytes())["summary"][0]
    ours = read(path).summary()
    assert len(vendor) > 100
    assert {name: ours[name] for name in vendor} == vendor
    if run == "fused_bf16_s512":
        assert "36.35 us" in str(ours)


@pytest.mark.parametrize("run", RUNS)
def test_real_metrics_computed_from_the_json_equal_the_vendors(run: str, shared_profiles: Path) -> None:
    """Counts, bytes and FLOPs to 1e-6; times as far as the JSON's whole nanoseconds go: it cuts picoseconds off each row."""
    path = shared_profiles / "trn2-attention" / run / "profile.json"
    p = read(path)
    vendor = {k: v for k, v in json.loads(path.read_bytes())["summary"][0].items() if not isinstance(v, str)}
    ours = computed(p.with_tables({"Summary": None}))
    assert set(vendor) - set(ours) == set(UNDETERMINED)
    timed = {
        name for name in vendor if "time" in name or "cycles" in name or "cycle_count" in name or "throttle" in name
    }
    rated = {name for name in vendor if name.startswith(("mfu_inst_est", "mfu_est", "hfu", "mbu"))}
    exact = set(ours) & set(vendor) - timed - rated
    assert len(exact) > 40
    assert {name: ours[name] for name in exact} == pytest.approx({name: vendor[name] for name in exact}, rel=1e-6)
    for name in (timed | rated) & set(ours):
        assert ours[name] == pytest.approx(vendor[name], rel=6e-3), name


# What an NTFF holds less than the vendor's JSON of it: rows that the tool leaves out of the trace but counts.
NOT_IN_NTFF = {
    "nd_idx": "the device's index is not in the trace",
    "cc_op_count": "collectives are not decoded: none may be zero or unknown",
    "cc_op_time": "collectives are not decoded: none may be zero or unknown",
    "cc_op_active_time": "collectives are not decoded: none may be zero or unknown",
    "cc_op_active_time_percent": "collectives are not decoded: none may be zero or unknown",
}


@pytest.mark.parametrize("run", RUNS)
def test_real_metrics_computed_from_the_ntff_equal_the_vendors_to_1e_6(run: str, shared_profiles: Path) -> None:
    folder = shared_profiles / "trn2-attention" / run
    vendor = json.loads((folder / "profile.json").read_bytes())["summary"][0]
    numbers = {name: value for name, value in vendor.items() if not isinstance(value, str)}
    ours = computed(read(next(folder.glob("*.ntff"))))
    assert set(numbers) - set(ours) <= set(UNDETERMINED) | set(NOT_IN_NTFF)
    both = set(numbers) & set(ours)
    assert len(both) >= 82
    assert {name: ours[name] for name in both} == pytest.approx({name: numbers[name] for name in both}, rel=1e-6)
