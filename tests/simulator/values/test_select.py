"""Selection instructions."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from hypothesis import strategies as st

from nkilab.simulator.values import cast, dtypes, select
from nkilab.simulator.values.reduce import Accumulation
from tests.simulator.values.oracle import assert_same, given, random_tile, seeds, shapes, tiles

COMPARE = {
    "equal": operator.eq, "not_equal": operator.ne, "less": operator.lt, "less_equal": operator.le,
    "greater": operator.gt, "greater_equal": operator.ge,
}  # fmt: skip
FLOAT32_MIN = np.finfo(np.float32).min


@given(
    seeds,
    st.integers(1, 64),
    st.integers(1, 64),
    st.sampled_from(sorted(COMPARE)),
    st.integers(-5, 5),
    st.integers(-2, 2),
)
def test_affine_select_keeps_elements_by_an_affine_index(seed, partitions, free, op, offset, multiplier):
    x = random_tile(seed, (partitions, free), special=True)
    index = offset + np.arange(partitions)[:, None] * multiplier - np.arange(free)[None, :]
    expected = np.where(COMPARE[op](index, 0), x, np.float32(-7.5))
    result = select.affine_select(x, [[-1, free]], multiplier, -7.5, op, dtypes.float32, offset=offset)
    assert_same(result, expected)


def test_affine_select_makes_a_causal_mask():
    ones = np.ones((4, 4), np.float32)
    mask = select.affine_select(ones, [[-1, 4]], 1, 0.0, "greater_equal", dtypes.bfloat16)
    np.testing.assert_array_equal(mask.astype(np.float32), np.tril(ones))


def test_affine_select_keeps_integers_exactly_and_takes_float32_minimum():
    x = np.array([[2**24 + 1, 5]], np.int32)
    result = select.affine_select(x, [[1, 2]], 0, -3.0, "equal", dtypes.int32)
    np.testing.assert_array_equal(result, [[2**24 + 1, -3]])
    result = select.affine_select(x, [[1, 2]], 0, float(FLOAT32_MIN), "equal", dtypes.bfloat16)
    assert np.isneginf(result[0, 1].astype(np.float32))


@given(
    seeds,
    shapes,
    st.sampled_from(["equal", "less", "less_equal", "greater", "greater_equal"]),
    st.sampled_from(["less", "greater_equal"]),
)
def test_range_select_is_the_documented_numpy(seed, shape, op0, op1):
    rng = np.random.default_rng(seed)
    x = random_tile(seed, shape)
    bound0, bound1 = (rng.integers(0, 40, (shape[0], 1)).astype(np.float32) for _ in range(2))
    indices = (10 + np.arange(x[0].size)).astype(np.float32)[None, :]
    chosen = COMPARE[op0](indices, bound0) & COMPARE[op1](indices, bound1)
    expected = np.where(chosen, x.reshape(shape[0], -1), FLOAT32_MIN)
    accumulation = Accumulation("maximum", "reset_reduce", np.zeros(128, np.float32))
    result, registers = select.range_select(
        x, op0, op1, bound0, bound1, dtypes.float32, range_start=10, accumulation=accumulation
    )
    np.testing.assert_array_equal(result, expected.reshape(shape))
    np.testing.assert_array_equal(registers, expected.max(axis=1))


def test_a_row_of_fill_is_minus_inf_in_bfloat16_but_float32_minimum_in_the_registers():
    x = cast.cast(np.ones((1, 4), np.float32), dtypes.bfloat16)
    bound = np.full((1, 1), 100, np.float32)
    accumulation = Accumulation("maximum", "reset_reduce", np.zeros(1, np.float32))
    result, registers = select.range_select(
        x, "greater", "greater", bound, bound, dtypes.bfloat16, accumulation=accumulation
    )
    assert np.isneginf(result.astype(np.float32)).all()
    assert registers[0] == FLOAT32_MIN


@given(tiles(special=False), seeds, st.booleans(), st.booleans())
def test_select_reduce_is_the_documented_numpy(x, seed, reverse, vector):
    predicate = np.random.default_rng(seed).integers(-1, 2, x.shape).astype(np.int8)
    on_false = random_tile(seed, (x.shape[0], 1)) if vector else -2.5
    wide = np.float32(on_false).reshape(-1, *(1,) * (x.ndim - 1)) if vector else np.float32(on_false)
    chosen = (predicate == 0) if reverse else (predicate != 0)
    expected = np.where(chosen, x, wide)
    accumulation = Accumulation("maximum", "reset_reduce", np.zeros(128, np.float32))
    result, registers = select.select_reduce(
        predicate.reshape(x.shape[0], -1), x, on_false, dtypes.float32, reverse_pred=reverse, accumulation=accumulation
    )
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(registers, expected.reshape(x.shape[0], -1).max(axis=1))
    again, untouched = select.select_reduce(predicate, x, on_false, dtypes.float32, reverse_pred=reverse)
    np.testing.assert_array_equal(again, result)
    assert untouched is None


@pytest.mark.parametrize("predicate_type", [np.uint8, np.uint16, np.uint32])
@given(x=tiles(), seed=seeds, reverse=st.booleans())
def test_tensor_copy_predicated_leaves_the_rest(predicate_type, x, seed, reverse):
    dst = random_tile(seed, x.shape, special=True)
    predicate = np.random.default_rng(seed).integers(0, 3, x.shape).astype(predicate_type)
    chosen = (predicate == 0) if reverse else (predicate != 0)
    flat = x.reshape(x.shape[0], -1)
    result = select.tensor_copy_predicated(dst, flat, predicate, dtypes.float32, reverse_pred=reverse)
    assert_same(result, np.where(chosen, x, dst))
    result = select.tensor_copy_predicated(dst, 0.5, predicate, dtypes.float32, reverse_pred=reverse)
    assert_same(result, np.where(chosen, np.float32(0.5), dst))


def test_tensor_copy_predicated_copies_patterns():
    dst, src = np.array([[1, 2]], np.int32), np.array([[2**24 + 1, 9]], np.int32)
    result = select.tensor_copy_predicated(dst, src, np.array([[1, 0]], np.uint8), dtypes.int32)
    np.testing.assert_array_equal(result, [[2**24 + 1, 2]])


@pytest.mark.torch
def test_torch_agrees():
    torch = pytest.importorskip("torch")
    x = random_tile(1, (128, 64))
    expected = torch.tril(torch.from_numpy(x), diagonal=2).numpy()
    result = select.affine_select(x, [[-1, 64]], 1, 0.0, "greater_equal", dtypes.float32, offset=2)
    np.testing.assert_array_equal(result, expected)
    predicate = (x > 0).astype(np.uint8)
    result, _ = select.select_reduce(predicate, x, -1.0, dtypes.float32)
    np.testing.assert_array_equal(
        result, torch.where(torch.from_numpy(predicate) > 0, torch.from_numpy(x), -1.0).numpy()
    )
