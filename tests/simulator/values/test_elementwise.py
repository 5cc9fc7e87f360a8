"""tensor_tensor, tensor_scalar, scalar_tensor_tensor, reciprocal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from nkilab.simulator.values import cast, dtypes, elementwise
from tests.simulator.values.oracle import assert_same, given, random_tile, seeds, shapes, tiles

NUMPY = {"add": np.add, "subtract": np.subtract, "multiply": np.multiply, "maximum": np.maximum, "minimum": np.minimum}
FLOATS = ["float32", "bfloat16", "float16", "float8_e4m3", "float8_e5m2"]


@given(seeds, shapes, st.sampled_from(sorted(NUMPY)), st.sampled_from(FLOATS), st.sampled_from(FLOATS))
def test_tensor_tensor_computes_in_float32_and_casts_once(seed, shape, op, source, target):
    x = cast.cast(random_tile(seed, shape, special=True), dtypes.TABLE[source])
    y = cast.cast(random_tile(seed + 1, shape, special=True), dtypes.TABLE[source])
    with np.errstate(all="ignore"):
        exact = NUMPY[op](x.astype(np.float32), y.astype(np.float32))
        expected = exact.astype(dtypes.TABLE[target].storage)
    result = elementwise.tensor_tensor(x, y, op, dtypes.TABLE[target])
    assert result.dtype == dtypes.TABLE[target].storage
    assert_same(result, expected)


def test_tensor_tensor_takes_tiles_of_other_rank_with_the_same_elements():
    x, y = random_tile(1, (4, 6)), random_tile(2, (4, 2, 3))
    np.testing.assert_array_equal(elementwise.tensor_tensor(x, y, "add", dtypes.float32), x + y.reshape(4, 6))


def test_int32_goes_through_float32_on_the_vector_engine_and_is_exact_on_gpsimd():
    x, y = np.array([[2**24 + 1, 2**31 - 1]], np.int32), np.array([[1, 1]], np.int32)
    vector = elementwise.tensor_tensor(x, y, "add", dtypes.int32)
    np.testing.assert_array_equal(vector, [[2**24, 2**31 - 1]])
    gpsimd = elementwise.tensor_tensor(x, y, "add", dtypes.int32, integer=True)
    np.testing.assert_array_equal(gpsimd, [[2**24 + 2, -(2**31)]])


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=16), st.integers(0, 2**32 - 1))
def test_the_integer_path_of_uint32_wraps(values, operand):
    x = np.array([values], np.uint32)
    result = elementwise.tensor_scalar(x, "multiply", operand, dtypes.uint32, integer=True)
    np.testing.assert_array_equal(result, [[v * operand % 2**32 for v in values]])


@given(tiles(special=False), st.floats(-4, 4, width=32), seeds)
def test_tensor_scalar_broadcasts_scalars_and_vectors(x, scalar, seed):
    vector = random_tile(seed, (x.shape[0], 1))
    wide = vector.reshape(-1, *(1,) * (x.ndim - 1))
    result = elementwise.tensor_scalar(x, "multiply", vector, dtypes.float32, op1="add", operand1=scalar)
    np.testing.assert_array_equal(result, (x * wide + np.float32(scalar)))
    result = elementwise.tensor_scalar(
        x, "subtract", scalar, dtypes.float32, reverse0=True, op1="subtract", operand1=vector
    )
    np.testing.assert_array_equal(result, (np.float32(scalar) - x) - wide)
    result = elementwise.tensor_scalar(
        x, "subtract", scalar, dtypes.float32, op1="subtract", operand1=vector, reverse1=True
    )
    np.testing.assert_array_equal(result, wide - (x - np.float32(scalar)))


def test_the_middle_result_of_tensor_scalar_is_not_cast():
    x = cast.cast(np.array([[256.0]], np.float32), dtypes.bfloat16)
    result = elementwise.tensor_scalar(x, "add", 1.0, dtypes.bfloat16, op1="subtract", operand1=256.0)
    assert float(result[0, 0]) == 1.0  # 257 is no bfloat16


def test_unary_operators_need_no_operand():
    x = np.array([[4.0, 0.25]], np.float32)
    np.testing.assert_array_equal(elementwise.tensor_scalar(x, "rsqrt", None, dtypes.float32), [[0.5, 2.0]])
    np.testing.assert_array_equal(elementwise.tensor_scalar(-x, "abs", 0, dtypes.float32), x)


@pytest.mark.parametrize("name", ["int8", "uint8", "int16", "uint16", "int32", "uint32"])
@given(data=st.data())
def test_bitvec_operators_work_on_bit_patterns(name, data):
    dtype = dtypes.TABLE[name]
    width = 8 * dtype.itemsize
    patterns = data.draw(st.lists(st.integers(0, 2**width - 1), min_size=1, max_size=8))
    mask, amount = data.draw(st.integers(0, 2**width - 1)), data.draw(st.integers(0, width - 1))
    x = np.array([patterns], np.uint64).astype(dtype.storage)
    result = elementwise.tensor_scalar(x, "bitwise_xor", mask, dtype, op1="right_shift", operand1=amount)
    assert cast.bits(result).tolist() == [[(p ^ mask) >> amount for p in patterns]]
    result = elementwise.tensor_scalar(x, "left_shift", amount, dtype)
    assert cast.bits(result).tolist() == [[(p << amount) % 2**width for p in patterns]]
    result = elementwise.tensor_tensor(x, x, "bitwise_and", dtype)
    np.testing.assert_array_equal(result, x)
    result = elementwise.tensor_scalar(x, "invert", None, dtype)
    np.testing.assert_array_equal(result, ~x)


def test_bitvec_operands_may_be_vectors_or_negative_numbers():
    x = np.array([[0b1100], [0b1010]], np.int32)
    vector = np.array([[0b0110], [0b0011]], np.int32)
    np.testing.assert_array_equal(
        elementwise.tensor_scalar(x, "bitwise_and", vector, dtypes.int32), [[0b0100], [0b0010]]
    )
    np.testing.assert_array_equal(elementwise.tensor_scalar(x, "bitwise_and", -1, dtypes.int32), x)


def test_a_comparison_of_integers_may_be_written_as_a_float():
    x = np.array([[1, 5]], np.int32)
    result = elementwise.tensor_tensor(x, x[:, ::-1], "less", dtypes.float32, integer=True)
    np.testing.assert_array_equal(result, np.array([[1.0, 0.0]], np.float32))


@given(tiles(special=False), seeds)
def test_scalar_tensor_tensor(x, seed):
    vector, tile = random_tile(seed, (x.shape[0], 1)), random_tile(seed + 1, x.shape)
    wide = vector.reshape(-1, *(1,) * (x.ndim - 1))
    result = elementwise.scalar_tensor_tensor(x, "multiply", vector, "subtract", tile, dtypes.float32)
    np.testing.assert_array_equal(result, x * wide - tile)
    result = elementwise.scalar_tensor_tensor(
        x, "subtract", 2.0, "subtract", tile, dtypes.float32, reverse0=True, reverse1=True
    )
    np.testing.assert_array_equal(result, tile - (np.float32(2) - x))


@given(tiles(), st.sampled_from(FLOATS))
def test_reciprocal(x, name):
    stored = cast.cast(x, dtypes.TABLE[name])
    with np.errstate(all="ignore"):
        expected = (np.float32(1) / stored.astype(np.float32)).astype(stored.dtype)
    assert_same(elementwise.reciprocal(stored, dtypes.TABLE[name]), expected)


@pytest.mark.torch
@pytest.mark.parametrize(
    "op", ["add", "subtract", "multiply", "maximum", "minimum", "remainder", "fmod", "power", "divide"]
)
def test_torch_agrees(op):
    torch = pytest.importorskip("torch")
    ours = {"remainder": "mod"}.get(op, op)
    theirs = {"subtract": "sub", "multiply": "mul", "power": "pow", "divide": "div"}.get(op, op)
    x, y = random_tile(3, (64, 33)), random_tile(4, (64, 33))
    x = np.abs(x) if op == "power" else x
    expected = getattr(torch, theirs)(torch.from_numpy(x), torch.from_numpy(y)).numpy()
    np.testing.assert_allclose(elementwise.tensor_tensor(x, y, ours, dtypes.float32), expected, rtol=3e-7, atol=1e-6)
