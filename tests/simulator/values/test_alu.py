"""The ALU operators, one by one, against their formulas in Python."""

from __future__ import annotations

import math
import operator

import numpy as np
import pytest
from hypothesis import strategies as st

from nkilab.errors import UsageError
from nkilab.simulator.values import alu
from tests.simulator.values.oracle import assert_same, given

NUMBERS = [0.0, -0.0, 1.0, -1.0, 2.5, -7.25, 3e38, 1e-40, math.inf, -math.inf, math.nan, 3.0]

ARITHMETIC = {
    "equal": lambda x, y: float(x == y),
    "not_equal": lambda x, y: float(x != y),
    "greater_equal": lambda x, y: float(x >= y),
    "greater": lambda x, y: float(x > y),
    "less_equal": lambda x, y: float(x <= y),
    "less": lambda x, y: float(x < y),
    "logical_and": lambda x, y: float(bool(x) and bool(y)),
    "logical_or": lambda x, y: float(bool(x) or bool(y)),
    "logical_xor": lambda x, y: float(bool(x) != bool(y)),
    "abs_max": lambda x, y: x if abs(x) > abs(y) else y,
    "abs_min": lambda x, y: x if abs(x) < abs(y) else y,
    "maximum": lambda x, y: math.nan if math.isnan(x) or math.isnan(y) else max(x, y),
    "minimum": lambda x, y: math.nan if math.isnan(x) or math.isnan(y) else min(x, y),
}
INTEGERS = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "maximum": max, "minimum": min,
    "equal": operator.eq, "not_equal": operator.ne, "less": operator.lt, "greater_equal": operator.ge,
}  # fmt: skip
DOCUMENTED_REDUCTIONS = {
    "bitwise_and", "bitwise_or", "bitwise_xor", "add", "subtract", "multiply", "maximum", "minimum",
    "logical_and", "logical_or", "logical_xor",
}  # fmt: skip

pairs = np.array([(x, y) for x in NUMBERS for y in NUMBERS], np.float32)


def f32(value: float) -> np.ndarray:
    return np.array([value], np.float32)


@pytest.mark.parametrize("op", ARITHMETIC)
def test_comparisons_logic_and_extremes(op):
    expected = [ARITHMETIC[op](float(x), float(y)) for x, y in pairs]
    np.testing.assert_array_equal(alu.apply(op, pairs[:, 0], pairs[:, 1]), np.array(expected, np.float32))


@pytest.mark.parametrize(
    ("op", "function"), [("add", operator.add), ("subtract", operator.sub), ("multiply", operator.mul)]
)
def test_arithmetic_is_rounded_once_to_float32(op, function):
    with np.errstate(all="ignore"):
        expected = np.array([function(float(x), float(y)) for x, y in pairs]).astype(np.float32)
    assert_same(alu.apply(op, pairs[:, 0], pairs[:, 1]), expected)


@pytest.mark.parametrize(
    ("x", "y", "mod", "fmod"),
    [(7, 3, 1, 1), (-7, 3, 2, -1), (7, -3, -2, 1), (-7, -3, -1, -1), (5.5, 2, 1.5, 1.5), (1, 0, math.nan, math.nan)],
)
def test_mod_has_the_sign_of_the_divisor_and_fmod_of_the_dividend(x, y, mod, fmod):
    np.testing.assert_array_equal(alu.apply("mod", f32(x), f32(y)), f32(mod))
    np.testing.assert_array_equal(alu.apply("fmod", f32(x), f32(y)), f32(fmod))


@pytest.mark.parametrize(
    ("x", "y", "expected"), [(2, 10, 1024), (9, 0.5, 3), (-8, 3, -512), (-2, 0.5, math.nan), (0, 0, 1)]
)
def test_power(x, y, expected):
    np.testing.assert_array_equal(alu.apply("power", f32(x), f32(y)), f32(expected))


@pytest.mark.parametrize(
    ("op", "x", "expected"),
    [
        ("abs", -3.5, 3.5), ("abs", -math.inf, math.inf), ("square", -3.0, 9.0), ("relu", -1.0, 0.0), ("relu", 2.0, 2.0),
        ("relu", math.nan, math.nan), ("rsqrt", 0.25, 2.0), ("rsqrt", 0.0, math.inf), ("rsqrt", -1.0, math.nan),
        ("reciprocal", 4.0, 0.25), ("reciprocal", 0.0, math.inf), ("reciprocal", -0.0, -math.inf), ("bypass", 7.0, 7.0),
    ],
)  # fmt: skip
def test_unary_operators_ignore_the_operand(op, x, expected):
    for operand in (0.0, 5.0):
        np.testing.assert_array_equal(alu.apply(op, f32(x), f32(operand)), f32(expected))
        np.testing.assert_array_equal(alu.apply(op, f32(x), f32(operand), reverse=True), f32(expected))


def test_documented_examples_of_abs_max_and_abs_min():
    assert alu.apply("abs_max", f32(-5), f32(3)) == -5
    assert alu.apply("abs_max", f32(1), f32(-1)) == -1
    assert alu.apply("abs_min", f32(5), f32(-3)) == -3
    assert alu.apply("abs_min", f32(1), f32(-1)) == -1


def test_reverse_swaps_the_operands():
    assert alu.apply("subtract", f32(5), f32(3)) == 2
    assert alu.apply("subtract", f32(5), f32(3), reverse=True) == -2
    assert alu.apply("divide", f32(8), f32(2), reverse=True) == 0.25
    assert alu.apply("less", f32(1), f32(2), reverse=True) == 0


words = st.integers(0, 2**32 - 1)


@given(words, words)
def test_bitvec_operators(x, y):
    left, right = np.array([x], np.uint32), np.array([y], np.uint32)
    assert int(alu.apply("bitwise_and", left, right)[0]) == x & y
    assert int(alu.apply("bitwise_or", left, right)[0]) == x | y
    assert int(alu.apply("bitwise_xor", left, right)[0]) == x ^ y
    assert int(alu.apply("invert", left, right)[0]) == x ^ 0xFFFFFFFF


@given(words, st.one_of(st.integers(0, 40), words))
def test_shifts_are_logical_and_give_zero_from_the_width_on(x, amount):
    left, right = np.array([x], np.uint32), np.array([amount], np.uint32)
    assert int(alu.apply("left_shift", left, right)[0]) == (x << min(amount, 64)) & 0xFFFFFFFF
    assert int(alu.apply("right_shift", left, right)[0]) == x >> min(amount, 64)


int32s = st.integers(-(2**31), 2**31 - 1)


@pytest.mark.parametrize("op", INTEGERS)
@given(x=int32s, y=int32s)
def test_the_integer_path_is_exact(op, x, y):
    assert int(alu.apply(op, np.array([x]), np.array([y]))[0]) == int(INTEGERS[op](x, y))


def test_which_operators_reduce_and_from_what():
    assert {name for name, op in alu.OPS.items() if op.documented_reduction} == DOCUMENTED_REDUCTIONS
    identities = {op: alu.identity(op) for op in ("add", "subtract", "multiply", "maximum", "minimum")}
    assert identities == {"add": 0, "subtract": 0, "multiply": 1, "maximum": -math.inf, "minimum": math.inf}
    with pytest.raises(UsageError, match="cannot reduce"):
        alu.identity("power")


@pytest.mark.parametrize(
    "op", [name for name, op in alu.OPS.items() if op.identity is not None and op.kind == "arithmetic"]
)
def test_an_identity_changes_no_result(op):
    x = f32(1.0) if op.startswith("logical") else f32(-2.5)
    start = f32(alu.identity(op))
    result = alu.apply(op, x, start) if op == "subtract" else alu.apply(op, start, x)
    np.testing.assert_array_equal(result, x)


def test_kinds():
    assert {name for name, op in alu.OPS.items() if op.kind == "bitvec"} == {
        "invert", "bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift",
    }  # fmt: skip
    assert {name for name, op in alu.OPS.items() if op.generations == (4,)} == {"abs_max", "abs_min", "square", "relu"}


def test_an_unknown_operator_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match=r"did you mean nl\.multiply\?"):
        alu.get("multiplyy")
