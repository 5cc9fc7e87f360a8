"""Profiles of simulated runs answer everything that measured ones do."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import polars as pl
import pytest

import nkilab
from nkilab.profiler import Profile
from nkilab.profiler.readers import read

STEPS = ("matmul_tiled", "matmul_hoisted", "matmul_blocked", "matmul_fully_blocked")


def simulated(repository: Path, step: str, size: int = 2048) -> tuple[Profile, float]:
    """The profile of one step of the matmul ladder with every load and no arithmetic, and its modelled body in ns."""
    sim = nkilab.Sim(values=False, policy=nkilab.Policy(repeats=0.0))
    lhsT, rhs = np.zeros((size, size), ml_dtypes.bfloat16), np.zeros((size, size), ml_dtypes.bfloat16)
    run = nkilab.simulate(f"{repository}/kernels/matmul.py:{step}", lhsT, rhs, sim=sim)
    return run.profile, run.body_us * 1e3


@pytest.mark.parametrize("step", STEPS)
def test_the_critical_path_is_as_long_as_the_modelled_body(step: str, repository: Path) -> None:
    p, body = simulated(repository, step, 1024)
    found = p.stalls()
    assert found.path_ns == pytest.approx(body, rel=1e-9)
    assert found.path.filter(table="Run").select(pl.col("end_ts") - pl.col("start_ts")).to_series().sum() < 3000


def test_time_is_accounted_for_and_every_line_is_known(repository: Path) -> None:
    p, _ = simulated(repository, "matmul_tiled", 1024)
    shares = p.stalls().rows.group_by("engine").agg(pl.col("share").sum())
    assert shares["share"].to_list() == pytest.approx([1.0] * shares.height)
    assert p.lines().attributed == 1.0
    assert p.lines().table()["source"].null_count() == 0
    assert p.summary()["hardware_flops"] == 2 * 1024**3


def test_advice_shrinks_along_the_ladder(repository: Path) -> None:
    tiled, _ = simulated(repository, "matmul_tiled")
    best, _ = simulated(repository, "matmul_fully_blocked")
    rules = set(tiled.advice().table()["rule"].to_list())
    assert {"reload", "exposed DMA", "DMA issue"} <= rules
    assert not {rule for rule in best.advice().table()["rule"] if "DMA" in rule or rule == "reload"}


def test_a_gate_between_two_steps(repository: Path) -> None:
    before, _ = simulated(repository, "matmul_tiled", 1024)
    after, _ = simulated(repository, "matmul_fully_blocked", 1024)
    assert before.diff(after).broken("total_us>+5%") is None
    assert after.diff(before).broken("total_us>+5%")


def test_everything_answers_again_after_saving(repository: Path, tmp_path: Path) -> None:
    p, _ = simulated(repository, "matmul_blocked", 1024)
    again = read(p.save(tmp_path / "saved"))
    for name in (
        "summary",
        "engines",
        "overlap",
        "lines",
        "hierarchy",
        "stalls",
        "bounds",
        "dma",
        "memory",
        "advice",
        "doctor",
    ):
        first, second = getattr(p, name)(), getattr(again, name)()
        assert json.dumps(first.to_json()) == json.dumps(second.to_json()), name


def test_loads_are_counted_as_the_clock_does_them(repository: Path) -> None:
    """Half of those of this small product are left out: their data is still in SBUF."""
    lhsT, rhs = np.zeros((1024, 1024), np.float32), np.zeros((1024, 1024), np.float32)
    for repeats, factors in ((0.0, [2.0, 8.0]), (0.25, [1.0, 4.0])):
        sim = nkilab.Sim(target="trn2", values=False, policy=nkilab.Policy(repeats=repeats))
        run = nkilab.simulate(f"{repository}/kernels/matmul.py:matmul_tiled", lhsT, rhs, sim=sim)
        tensors = run.profile.table("TensorInfo").filter(type="input")
        assert tensors["load_to_sbuf_repeat_factor"].to_list() == factors
        assert tensors["load_to_sbuf_total_size_bytes"].sum() == run.profile.summary()["hbm_read_bytes"]
        assert run.loads_left_out == 256 - tensors["load_to_sbuf_dma_count"].sum()
