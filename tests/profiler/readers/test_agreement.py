"""One run in every form: what `summary`, `engines` and `lines` say of it does not depend on the form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import nkilab
from nkilab.profiler import Profile, sample
from nkilab.profiler.readers import read

VARIANTS = ("baseline_bf16_s512", "baseline_fp32_s1024", "fused_bf16_s512", "fused_fp32_s1024")
TIMES = ("active_ns", "instruction_ns", "idle_ns")


def explorer(p: Profile, folder: Path) -> Path:
    """The tables as the Explorer has them: whole nanoseconds, wide Metadata and Summary, no column of ours."""
    folder.mkdir()
    for name in ("Instruction", "DmaPacket", "ActiveTime", "SemaphoreUpdate", "Throttle", "Flow"):
        if p.has(name):
            times = [c for c, dtype in p.table(name).schema.items() if dtype == pl.Float64 and c != "throughput"]
            rows = p.table(name).with_columns(pl.col(times).floor().cast(pl.Int64)).drop("file", "line", strict=False)
            rows.write_parquet(folder / f"{name}.parquet")
    for name, key, value in (("Metadata", "key", "value"), ("Summary", "metric", "value")):
        rows = p.table(name).drop_nulls(value)
        pl.DataFrame(dict(zip(rows[key].to_list(), rows[value].to_list(), strict=True))).write_parquet(folder / f"{name}.parquet")  # fmt: skip
    return folder


def by_engine(p: Profile) -> pl.DataFrame:
    rows = p.engines().table()
    keys = [name for name in ("engine", "core", "pcore_idx") if name in rows.columns]
    return rows.sort(keys).select(*keys, *(name for name in (*TIMES, "instructions", "count", "flops") if name in rows.columns))  # fmt: skip


def agree(one: pl.DataFrame, other: pl.DataFrame, ns: float) -> None:
    """Same rows; texts and counts equal, times within `ns`."""
    assert one.columns == other.columns
    assert one.height == other.height > 0
    for name, dtype in one.schema.items():
        if dtype == pl.Float64:
            a, b = (frame[name].fill_null(-1).to_numpy() for frame in (one, other))
            assert np.allclose(a, b, rtol=1e-9, atol=ns), name
        else:
            assert one[name].equals(other[name]), name


def test_every_form_of_the_sample_agrees(tmp_path: Path) -> None:
    ntff = read(sample.write(tmp_path / "ntff"))
    saved = read(ntff.to_parquet(tmp_path / "saved"))
    parquet = read(explorer(ntff, tmp_path / "explorer"))
    agree(by_engine(ntff), by_engine(saved), 0)
    agree(by_engine(ntff), by_engine(parquet), ntff.table("Instruction").height)
    assert ntff.summary()["total_time"] == saved.summary()["total_time"] == parquet.summary()["total_time"]
    lines = ntff.lines().table()
    agree(lines, saved.lines().table(), 0)
    assert lines.height == 9
    exported_agrees(ntff, tmp_path / "exported")


def exported_agrees(p: Profile, folder: Path) -> None:
    """The Explorer's tables as nkilab exports them: whole nanoseconds, and every line with its instructions."""
    exported = read(p.to_explorer(folder))
    agree(by_engine(p), by_engine(exported), p.table("Instruction").height + p.table("DmaPacket").height)
    assert exported.summary()["total_time"] == pytest.approx(p.summary()["total_time"], abs=1.1e-9)
    one, other = (
        each.lines().table().drop_nulls("line").sort("file", "line").select("file", "line", "instructions")
        for each in (p, exported)
    )
    agree(one, other, 0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_ntff_json_and_parquet_of_one_run_agree(variant: str, shared_profiles: Path, tmp_path: Path) -> None:
    folder = shared_profiles / "trn2-attention" / variant
    ntff, json = read(next(folder.glob("*.ntff"))), read(folder / "profile.json")
    parquet = read(explorer(ntff, tmp_path / "explorer"))
    saved = read(json.to_parquet(tmp_path / "saved"))
    most = float(
        ntff.table("Instruction").height + ntff.table("DmaPacket").height
    )  # the JSON cuts each time to whole nanoseconds
    lacking = ntff.table("Instruction").height - json.table("Instruction").height  # one DRAIN of one run
    columns = [
        name for name in by_engine(ntff).columns if lacking == 0 or name not in ("instructions", "count", "idle_ns")
    ]
    agree(by_engine(json), by_engine(saved), 0)
    agree(by_engine(ntff), by_engine(parquet), most)
    agree(by_engine(ntff).select(columns), by_engine(json).select(columns), most)
    stated = {name: json.summary()[name] for name in ("total_time", "tensor_engine_active_time", "hardware_flops")}
    for p in (ntff, parquet):
        assert {name: p.summary()[name] for name in stated} == pytest.approx(stated, rel=1e-3)


def test_a_simulated_run_agrees_with_its_saved_form(tmp_path: Path, repository: Path) -> None:
    a, b = np.ones((512, 512), np.float32), np.ones((512, 512), np.float32)
    run = nkilab.simulate(f"{repository}/kernels/matmul.py:matmul_tiled", a, b)
    again = nkilab.load(run.save(tmp_path / "run"))
    agree(by_engine(run.profile), by_engine(again.profile), 0)
    agree(run.lines().table(), again.lines().table(), 0)
    assert run.summary()["total_time"] == again.summary()["total_time"] == pytest.approx(run.total_us / 1e6)
    exported_agrees(run.profile, tmp_path / "exported")


@pytest.mark.parametrize("kernel", ["moe_tkg", "attn_tkg"])
def test_lines_of_a_real_kernel_are_the_same_saved_and_in_the_explorers_form(
    kernel: str, shared_profiles: Path, tmp_path: Path
) -> None:
    ntff = read(next((shared_profiles / "trn2-nki-source" / kernel).glob("*.ntff")))
    located = ntff.table("Instruction").with_columns(nki_source_location=pl.format("{}:{}", "file", "line"))
    parquet = read(explorer(ntff.with_tables({"Instruction": located}), tmp_path / "explorer"))
    agree(ntff.lines().table(), read(ntff.save(tmp_path / "saved")).lines().table(), 0)
    one, other = (p.lines().table().drop_nulls("line").sort("file", "line") for p in (ntff, parquet))
    columns = ("file", "line", "instructions")
    agree(one.select(columns), other.select(columns), 0)
