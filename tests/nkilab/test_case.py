"""`Case`: checked when made, bound to other sizes, compared with a tolerance that follows from dtype and length."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nkilab.arrays import dtype
from nkilab.case import Case, compare
from nkilab.errors import UsageError


def product(a: Any, b: Any, block: int = 1) -> Any:
    return a.T @ b


def inputs(axes: Mapping[str, Any], rng: np.random.Generator) -> tuple[Any, Any]:
    shape = (axes["k"], 8)
    return rng.standard_normal(shape, np.float32), rng.standard_normal(shape, np.float32)


def case(**fields: Any) -> Case:
    defaults: dict[str, Any] = {
        "kernel": product,
        "inputs": inputs,
        "reference": product,
        "axes": {"k": 64, "dtype": "float32"},
        "reduction": "k",
    }
    return Case(**{**defaults, **fields})


def test_the_name_is_the_kernel_s_unless_said() -> None:
    assert case().name == "product"
    assert case(name="small").name == "small"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kernel": 3}, "kernel must be a function"),
        ({"inputs": None}, "inputs must be a function"),
        ({"reference": "np.matmul"}, "reference must be a function"),
        ({"flops": 12}, "flops must be a function"),
        ({"reduction": "kk"}, "no axis 'kk'|no reduction 'kk'"),
        ({"meta": {"blok": 2}}, "did you mean block"),
        ({"mutates": ("c",)}, "no parameter 'c'"),
    ],
)
def test_a_wrong_attribute_is_refused_when_the_case_is_made(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        case(**fields)


def test_bind_sets_axes_and_leaves_the_case_alone() -> None:
    first = case()
    second = first.bind(k=128, dtype="bfloat16")
    assert (dict(first.axes), dict(second.axes)) == ({"k": 64, "dtype": "float32"}, {"k": 128, "dtype": "bfloat16"})
    assert second.arguments()[0].shape == (128, 8)


def test_bind_answers_an_unknown_axis_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean dtype"):
        case().bind(dtyp="float32")


def test_bind_refuses_a_number_for_a_name() -> None:
    with pytest.raises(UsageError, match="cannot be 16"):
        case().bind(dtype=16)


def test_inputs_are_the_same_for_the_same_seed_only() -> None:
    a, b, c = (case().arguments(seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_the_reference_cannot_change_the_inputs() -> None:
    def careless(a: Any, b: Any) -> Any:
        a[:] = 0
        return a

    given_inputs = case().arguments()
    before = given_inputs[0].copy()
    case(reference=careless).expected(given_inputs)
    assert np.array_equal(given_inputs[0], before)


@given(k=st.integers(1, 2048), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_sums_in_another_order_lie_within_the_tolerance(k: int, seed: int) -> None:
    bound = case().bind(k=k)
    a, b = bound.arguments(seed)
    one_by_one = np.add.accumulate(a[:, :1] * b, axis=0, dtype=np.float32)[-1]
    comparison = compare(bound, one_by_one, (a[:, :1].T @ b)[0])
    assert comparison.passed, comparison


def test_a_product_left_out_lies_outside_the_tolerance() -> None:
    bound = case(axes={"k": 2048}, reduction="k")
    a, b = bound.arguments()
    comparison = compare(bound, a[:-1].T @ b[:-1], a.T @ b)
    assert not comparison.passed
    assert "elements differ, first at" in comparison.message


def test_tolerance_follows_the_output_s_type() -> None:
    assert case().tolerance(dtype("bf16"))[0] == 2.0**-7
    assert case().tolerance(dtype("float32"))[0] == 2.0**-23
    assert case().tolerance(dtype("int32")) == (0.0, 0.0)


def test_tolerance_follows_the_number_of_roundings() -> None:
    (once, sums), (thrice, more) = (case(roundings=count).tolerance(dtype("bf16")) for count in (1, 3))
    assert (thrice, more) == (3 * once, sums + 2 * once)
    with pytest.raises(UsageError, match="counts the last one too"):
        case(roundings=0)


@pytest.mark.parametrize(
    ("ours", "message"),
    [
        (np.zeros((2, 2), np.float32), r"float32\[2, 2\], but the reference returns float32\[2\]"),
        (np.zeros(2, ml_dtypes.bfloat16), "bfloat16"),
        (np.array([0, np.nan], np.float32), "1 of 2 elements differ"),
        ((np.zeros(2, np.float32),) * 2, "2 outputs, but the reference returns 1"),
        (None, "0 outputs"),
    ],
)
def test_other_shapes_types_nans_and_counts_differ(ours: Any, message: str) -> None:
    comparison = compare(case(), ours, np.zeros(2, np.float32))
    assert not comparison.passed
    assert re.search(message, comparison.message)


def test_a_number_is_not_infinity() -> None:
    assert not compare(case(), np.zeros(1, np.float32), np.array([np.inf], np.float32)).passed


def test_nan_and_infinity_in_the_same_places_are_equal() -> None:
    odd = np.array([np.nan, np.inf, -np.inf, 1], np.float32)
    assert compare(case(), odd, odd.copy()).passed


def test_a_case_that_writes_into_an_input_is_compared_by_what_it_wrote() -> None:
    def accumulate(total: Any, x: Any) -> Any:
        total += x
        return x

    total, x = np.zeros(3, np.float32), np.ones(3, np.float32)
    in_place = Case(kernel=accumulate, inputs=lambda axes, rng: (total, x), reference=accumulate, mutates=("total",))
    result, after = in_place.run_reference((total, x))
    assert (total == 0).all()
    right, wrong = (x, (np.ones(3, np.float32),)), (x, (np.zeros(3, np.float32),))
    assert compare(in_place, right, (result, in_place.written(after))).passed
    assert not compare(in_place, wrong, (result, in_place.written(after))).passed
    assert in_place.written(None) == ()
