"""Refitting a table to measured instructions."""

from __future__ import annotations

import dataclasses

import pytest

from nkilab.clock import Point, fit, held_out, predicted
from nkilab.hardware import load

POINTS = (
    Point("TENSOR_REDUCE", "vector", 512, 1),
    Point("TENSOR_REDUCE", "vector", 128, 1),
    Point("COPY", "vector", 512, psum=True),
    Point("ACTIVATE", "scalar", 512, psum=True, function="exp"),
    Point("COPY", "scalar", 512, psum=True),
    Point("MATMUL", "tensor", 512, dtype="bfloat16"),
    Point("MATMUL", "tensor", 512),
)


def measured(table):
    """The points with what another table says as if it had been measured."""
    duration, interval = predicted(POINTS, table)
    return [
        dataclasses.replace(point, duration_ns=float(d), interval_ns=float(i))
        for point, d, i in zip(POINTS, duration, interval, strict=True)
    ]


def test_numbers_that_the_points_fix_are_found_again() -> None:
    truth = load("trn2").replace(**{"vector.cycles.reduce": 1.5, "scalar.pipeline_ns": 200.0})
    result = fit(measured(truth), load("trn2"), "made up")
    assert result.error_after < 0.005
    assert result.hardware.vector.cycles.reduce == pytest.approx(1.5, rel=0.05)
    assert result.hardware.scalar.pipeline_ns == pytest.approx(200.0, rel=0.05)


def test_fitted_numbers_are_calibrated_and_name_their_source() -> None:
    result = fit(measured(load("trn2")), load("trn2"), "made up")
    source = result.hardware.source("vector.cycles.reduce")
    assert (source.cls, source.source) == ("calibrated", "made up")


def test_what_no_point_depends_on_stays_and_is_named() -> None:
    result = fit(measured(load("trn2")), load("trn2"), "made up")
    assert "vector.cycles.scan" in result.unfitted
    assert result.hardware.source("vector.cycles.scan") == load("trn2").source("vector.cycles.scan")


def test_an_opcode_without_a_cost_is_told_not_fitted() -> None:
    odd = Point("MYSTERY", "vector", 512, duration_ns=1.0)
    assert fit([*measured(load("trn2")), odd], load("trn2"), "made up").unused == (odd,)


def test_held_out_does_not_see_the_point() -> None:
    points = measured(load("trn2"))
    wrong = [dataclasses.replace(points[0], duration_ns=5000.0), *points[1:]]
    error, _ = held_out(wrong, load("trn2"), 0)
    assert error == pytest.approx(points[0].duration_ns / 5000.0 - 1, abs=0.01)
