"""erf and erfc against the C library's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import strategies as st

from nkilab.simulator.values import special
from tests.simulator.values.oracle import given

GRID = np.linspace(-10.5, 10.5, 40_001)


def test_erf_to_1e_11():
    expected = np.array([math.erf(x) for x in GRID])
    np.testing.assert_allclose(special.erf(GRID), expected, rtol=1e-11, atol=0)


def test_erfc_to_1e_9_while_it_is_a_float32():
    grid = GRID[GRID < 10]
    expected = np.array([math.erfc(x) for x in grid])
    np.testing.assert_allclose(special.erfc(grid), expected, rtol=1e-9, atol=0)


@given(st.floats(1e-300, 1e-3))
def test_erf_is_accurate_near_zero(x):
    assert special.erf(np.array([x]))[0] == pytest.approx(math.erf(x), rel=1e-12)


def test_ends():
    ends = np.array([-np.inf, np.inf, np.nan, -0.0, 0.0])
    np.testing.assert_array_equal(special.erf(ends), [-1, 1, np.nan, 0, 0])
    assert np.signbit(special.erf(ends)[3])
    np.testing.assert_array_equal(special.erfc(ends), [2, 0, np.nan, 1, 1])
    np.testing.assert_array_equal(special.normal_cdf(ends), [0, 1, np.nan, 0.5, 0.5])


def test_the_density_is_the_slope_of_the_distribution():
    x = np.linspace(-4, 4, 81)
    slope = (special.normal_cdf(x + 1e-5) - special.normal_cdf(x - 1e-5)) / 2e-5
    np.testing.assert_allclose(special.normal_pdf(x), slope, rtol=1e-5, atol=1e-9)
