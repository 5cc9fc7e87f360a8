"""The clock against measurements of trn2, each in its own metric, and against launches replayed from their profiles."""

from __future__ import annotations

from functools import cache

import pytest

from nkilab.bench.accuracy import intervals, large, median_error
from nkilab.bench.accuracy_launches import launches, matmuls
from nkilab.bench.accuracy_points import element_residuals, residuals
from nkilab.hardware import load


@cache
def single():
    return residuals(load("trn2"))


def test_compute_instructions_of_64_elements_and_more() -> None:
    found = large(single())
    assert len(found) == 19
    assert median_error(found) < 0.10
    assert median_error(found, left_out=True) < 0.10


def test_intervals_between_matmuls() -> None:
    found = intervals(single())
    assert len(found) == 8
    assert max(abs(r.error) for r in found) < 0.05


def test_dma_elements_of_512_bytes_and_more() -> None:
    found = [r for r in element_residuals(load("trn2")) if int(r.name.split()[1]) >= 512]
    assert len(found) == 10
    assert median_error(found, left_out=True) < 0.15


@pytest.mark.parametrize("phase", [False, True], ids=["phase of the table", "phase of the launch"])
def test_fused_attention_replayed_engine_by_engine(phase: bool) -> None:
    replayed = [launch for launch in launches(phase) if launch.name.startswith("fused")]
    assert len(replayed) == 2
    for launch in replayed:
        assert abs(launch.body.error) < 0.15, launch.name
        assert {r.metric: round(r.error, 3) for r in launch.engines if abs(r.error) >= 0.10} == {}
        assert launch.matmuls[0] == launch.matmuls[1]
        assert launch.hbm_bytes[0] == launch.hbm_bytes[1]


def test_unfused_attention_replayed_through_hbm() -> None:
    launch = next(launch for launch in launches() if launch.name.startswith("unfused"))
    assert abs(launch.body.error) < 0.15
    assert {r.metric: round(r.error, 3) for r in launch.engines if abs(r.error) >= 0.10} == {}


@pytest.mark.slow
def test_what_was_measured_lies_within_the_modelled_range() -> None:
    for found in matmuls():
        assert found.low_us < found.latency.measured < found.high_us, found.latency.name
    for launch in launches():
        assert launch.low_ns < launch.body.measured < launch.high_ns, launch.name
