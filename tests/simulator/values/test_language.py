"""Functions of nki.language without an instruction of their own."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nkilab.simulator.values import dtypes, language

X = np.array([[3.7, -3.2, 3.2, -3.7, 0.0, 9.0, 100.0, 2.5, -0.5]], np.float32)


@pytest.mark.parametrize("name", ["sin", "cos", "tan", "ceil", "floor", "trunc"])
def test_a_function_is_that_of_math_everywhere(name):
    expected = [getattr(math, name)(float(v)) for v in X[0]]
    np.testing.assert_allclose(language.unary(name, X, dtypes.float32)[0], expected, rtol=1e-6, atol=1e-7)


def test_negative_and_logical_not():
    np.testing.assert_array_equal(language.unary("negative", X, dtypes.float32), -X)
    flags = np.array([[0, 1, 1, 0]], np.uint8)
    np.testing.assert_array_equal(language.unary("logical_not", flags, dtypes.uint8), [[1, 0, 0, 1]])
    np.testing.assert_array_equal(language.unary("floor", X, dtypes.int8)[0, :4], [3, -4, 3, -4])
