"""Reductions and accumulator registers."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import strategies as st

from nkilab.simulator.values import alu, cast, dtypes, reduce
from nkilab.simulator.values.reduce import Accumulation
from tests.simulator.values.oracle import given, random_tile, seeds, shapes, tiles

EXACT = ["maximum", "minimum", "logical_and", "logical_or", "logical_xor", "abs_max", "abs_min"]
ROUNDED = ["add", "multiply", "subtract"]
free_ranks = st.integers(1, 3)


def fold(x: np.ndarray, op: str) -> np.ndarray:
    """Element after element along the last axis, by the operator itself."""
    first = x[..., 0]
    if op.startswith("logical"):
        first = (first != 0).astype(np.float32)
    return functools.reduce(lambda a, b: alu.apply(op, a, b), [x[..., i] for i in range(1, x.shape[-1])], first)


@given(tiles(), st.sampled_from(EXACT), st.data())
def test_tensor_reduce_folds_the_last_axes(x, op, data):
    count = data.draw(st.integers(1, x.ndim - 1))
    axes = tuple(range(x.ndim - count, x.ndim))
    expected = fold(x.reshape(*x.shape[: x.ndim - count], -1), op)
    result = reduce.tensor_reduce(x, op, axes, dtypes.float32)
    if op.startswith("abs") or x[0].size == 1:  # a fold of one element leaves it as it is
        np.testing.assert_array_equal(np.abs(result), np.abs(expected))
    else:
        np.testing.assert_array_equal(result, expected)
    kept = reduce.tensor_reduce(x, op, axes, dtypes.float32, keepdims=True)
    assert kept.shape == (*x.shape[: x.ndim - count], *(1,) * count)
    np.testing.assert_array_equal(kept.reshape(result.shape), result)


@given(seeds, shapes, st.sampled_from(ROUNDED))
def test_tensor_reduce_sums_and_multiplies_in_float32(seed, shape, op):
    x = random_tile(seed, shape, scale=1.0)
    wide = x.astype(np.float64).reshape(shape[0], -1)
    expected = {
        "add": wide.sum(axis=1),
        "multiply": wide.prod(axis=1),
        "subtract": 2 * wide[:, 0] - wide.sum(axis=1),
    }[op]
    result = reduce.tensor_reduce(x, op, tuple(range(1, x.ndim)), dtypes.float32)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5 * wide.shape[1])


def test_negate_and_the_cast_come_after_the_reduction():
    x = cast.cast(np.full((2, 300), 1.0, np.float32), dtypes.bfloat16)
    result = reduce.tensor_reduce(x, "add", (1,), dtypes.int16, negate=True)
    np.testing.assert_array_equal(result, [-300, -300])  # a bfloat16 sum would stop at 256


@pytest.mark.parametrize(
    ("op", "function"),
    [("bitwise_and", np.bitwise_and), ("bitwise_or", np.bitwise_or), ("bitwise_xor", np.bitwise_xor)],
)
@pytest.mark.parametrize("name", ["int8", "uint16", "int32", "uint32"])
@given(seed=seeds)
def test_bitvec_reductions_work_on_patterns(op, function, name, seed):
    dtype = dtypes.TABLE[name]
    x = np.random.default_rng(seed).integers(0, 2**32, (3, 5), np.uint32).astype(dtype.storage)
    result = reduce.tensor_reduce(x, op, (1,), dtype)
    np.testing.assert_array_equal(result, function.reduce(x, axis=1))


@given(tiles(special=False))
def test_tensor_partition_reduce(x):
    assert reduce.tensor_partition_reduce(x, "maximum", dtypes.float32).shape == (1, *x.shape[1:])
    np.testing.assert_array_equal(reduce.tensor_partition_reduce(x, "maximum", dtypes.float32)[0], x.max(axis=0))
    exact = x.astype(np.float64)
    np.testing.assert_allclose(
        reduce.tensor_partition_reduce(x, "add", dtypes.float32)[0], exact.sum(axis=0), rtol=1e-5, atol=1e-4
    )
    np.testing.assert_allclose(
        reduce.tensor_partition_reduce(x, "average", dtypes.float32)[0], exact.mean(axis=0), rtol=1e-5, atol=1e-5
    )
    words = cast.bits(x)
    np.testing.assert_array_equal(
        reduce.tensor_partition_reduce(words, "bitwise_or", dtypes.uint32)[0], np.bitwise_or.reduce(words, axis=0)
    )


@pytest.mark.parametrize("op", ["add", "multiply", "maximum", "minimum"])
@given(seed=seeds)
def test_commands_of_the_accumulator(op, seed):
    x = random_tile(seed, (4, 6), scale=1.0)
    before, init = random_tile(seed + 1, (128,)), random_tile(seed + 2, (4, 1))
    reduced = {"add": x.sum(axis=1), "multiply": x.prod(axis=1), "maximum": x.max(axis=1), "minimum": x.min(axis=1)}[op]
    identity = {"add": 0, "multiply": 1, "maximum": -np.inf, "minimum": np.inf}[op]
    combine = {"add": np.add, "multiply": np.multiply, "maximum": np.maximum, "minimum": np.minimum}[op]
    expected = {
        "idle": before[:4],
        "reset": np.full(4, identity),
        "reduce": combine(before[:4], reduced),
        "reset_reduce": reduced,
        "load_reduce": combine(init[:, 0], reduced),
    }
    for command, registers in expected.items():
        result = reduce.accumulate(x, Accumulation(op, command, before, init))
        np.testing.assert_allclose(result, registers, rtol=1e-6)
        assert result.dtype == np.float32


def test_two_chained_reductions_are_one():
    x = random_tile(5, (8, 10))
    first = reduce.accumulate(x[:, :4], Accumulation("maximum", "reset_reduce", np.zeros(8, np.float32)))
    both = reduce.accumulate(x[:, 4:], Accumulation("maximum", "reduce", first))
    np.testing.assert_array_equal(both, x.max(axis=1))


@given(tiles(special=False), st.sampled_from(["add", "maximum"]))
def test_tensor_scalar_reduce(x, op):
    accumulation = Accumulation(op, "reset_reduce", np.zeros(x.shape[0], np.float32))
    result, registers = reduce.tensor_scalar_reduce(x, "multiply", 3.0, dtypes.bfloat16, accumulation)
    values = x * np.float32(3)
    np.testing.assert_array_equal(result, values.astype(dtypes.bfloat16.storage))
    flat = values.reshape(x.shape[0], -1)
    np.testing.assert_allclose(
        registers, flat.max(axis=1) if op == "maximum" else flat.sum(axis=1), rtol=1e-5, atol=1e-4
    )


@pytest.mark.torch
def test_torch_agrees():
    torch = pytest.importorskip("torch")
    x = random_tile(1, (64, 3, 50))
    theirs = torch.from_numpy(x).double()
    for op, function in {"add": torch.sum, "multiply": torch.prod}.items():
        scaled, exact = (x, theirs) if op == "add" else (x / 4, theirs / 4)
        np.testing.assert_allclose(
            reduce.tensor_reduce(scaled, op, (2,), dtypes.float32), function(exact, dim=2).numpy(), rtol=1e-4, atol=1e-4
        )
    np.testing.assert_array_equal(
        reduce.tensor_reduce(x, "maximum", (1, 2), dtypes.float32), theirs.amax((1, 2)).numpy()
    )
    np.testing.assert_array_equal(
        reduce.tensor_reduce(x, "minimum", (1, 2), dtypes.float32), theirs.amin((1, 2)).numpy()
    )
