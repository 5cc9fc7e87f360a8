"""Names of types, arguments from text, and torch tensors there and back."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nkilab.arrays import dtype, from_text, rounding, scalar, to_numpy, to_torch
from nkilab.errors import UsageError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bf16", ml_dtypes.bfloat16),
        ("bfloat16", ml_dtypes.bfloat16),
        ("fp8", ml_dtypes.float8_e4m3),
        ("fp8_e5m2", ml_dtypes.float8_e5m2),
        ("fp32", np.float32),
        ("i32", np.int32),
        ("bool", np.bool_),
    ],
)
def test_short_and_full_names(name: str, expected: type) -> None:
    assert dtype(name) == np.dtype(expected)


def test_an_unknown_type_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean bfloat16"):
        dtype("bfloat61")


def test_rounding_is_the_step_above_one() -> None:
    assert rounding(dtype("bf16")) == 2.0**-7
    assert rounding(dtype("fp32")) == 2.0**-23
    assert rounding(dtype("i32")) == 0.0


@given(shape=st.lists(st.integers(1, 5), max_size=3), name=st.sampled_from(["bf16", "fp8", "fp32", "i8", "bool"]))
def test_an_array_from_text_has_the_type_and_shape_asked_for(shape: list[int], name: str) -> None:
    array = from_text(f"{name}[{','.join(map(str, shape))}]", RNG)
    assert (array.shape, array.dtype) == (tuple(shape), dtype(name))


@pytest.mark.parametrize(("text", "value"), [("3", 3), ("1e-6", 1e-6), ("true", True), ("silu", "silu"), ("-2", -2)])
def test_other_words_are_numbers_booleans_or_text(text: str, value: object) -> None:
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


def test_a_nest_without_torch_is_left_alone() -> None:
    array = np.zeros(2, np.float32)
    assert to_numpy({"a": (array, [1, None])})["a"][0] is array


@pytest.mark.torch
@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16", "float8_e5m2", "float8_e4m3fn", "int32", "bool"])
def test_torch_tensors_become_arrays_of_the_same_type(name: str) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.tensor([[0, 1], [2, 3]]).to(getattr(torch, name))
    (array,) = to_numpy([tensor])
    assert array.dtype == dtype(name)
    assert array.astype(np.float32).tolist() == tensor.to(torch.float32).tolist()
    (back,) = to_torch([array])
    assert back.dtype == tensor.dtype
    assert torch.equal(back.to(torch.float32), tensor.to(torch.float32))
