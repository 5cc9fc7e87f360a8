"""Data types: strings to Python, with storage beside them."""

from __future__ import annotations

import copy
import pickle

import ml_dtypes
import numpy as np
import pytest

from nkilab.errors import UsageError
from nkilab.simulator.values import dtypes
from tests.simulator.values.oracle import FORMATS

WIDTHS = {
    "bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "float16": 2,
    "bfloat16": 2, "float32": 4, "tfloat32": 4, "float8_e4m3": 1, "float8_e4m3fn": 1, "float8_e5m2": 1,
    "float8_e8m0fnu": 1, "float8_e4m3fn_x4": 4, "float8_e5m2_x4": 4, "float4_e2m1fn_x4": 2,
}  # fmt: skip


def test_the_table_holds_every_documented_type_with_its_width():
    assert {name: dtype.itemsize for name, dtype in dtypes.TABLE.items()} == WIDTHS


@pytest.mark.parametrize("name", dtypes.TABLE)
def test_a_dtype_is_a_string(name):
    dtype = dtypes.TABLE[name]
    assert isinstance(dtype, str)
    assert dtype == name
    assert str(dtype) == name
    assert f"{dtype}" == name
    assert {dtype: 1}[name] == 1


@pytest.mark.parametrize("name", [n for n in dtypes.TABLE if n != "tfloat32" and not n.endswith("_x4")])
def test_numpy_takes_a_dtype_that_it_has(name):
    dtype = dtypes.TABLE[name]
    assert np.dtype(dtype) == dtype.host
    assert np.zeros(2, dtype=dtype).dtype == dtype.host


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("float32", "float32"), ("bool_", "bool"), ("torch.bfloat16", "bfloat16"), (np.float16, "float16"),
        (np.dtype("int16"), "int16"), (ml_dtypes.float8_e4m3, "float8_e4m3"), (ml_dtypes.bfloat16, "bfloat16"),
        (np.bool_, "bool"), (dtypes.uint8, "uint8"), (np.dtype(np.uint8), "uint8"), (np.uint32, "uint32"),
    ],
)  # fmt: skip
def test_get_takes_what_users_write(given, name):
    assert dtypes.get(given) is dtypes.TABLE[name]


@pytest.mark.parametrize("given", ["float63", np.float64, None, object(), "complex64"])
def test_get_refuses_what_nki_does_not_have(given):
    with pytest.raises(UsageError, match="is not an NKI data type"):
        dtypes.get(given)


def test_get_suggests_the_nearest_name():
    with pytest.raises(UsageError, match=r"did you mean nl\.bfloat16\?"):
        dtypes.get("bflaot16")


def test_a_dtype_is_constant():
    with pytest.raises(AttributeError):
        dtypes.float32.kind = "int"


@pytest.mark.parametrize("dtype", [dtypes.float8_e5m2, dtypes.bfloat16.relaxed, dtypes.tfloat32.relaxed])
def test_a_dtype_survives_copy_and_pickle(dtype):
    for twin in (copy.deepcopy(dtype), pickle.loads(pickle.dumps(dtype))):
        assert twin == dtype
        assert twin.storage == dtype.storage
        assert twin.is_relaxed == dtype.is_relaxed


def test_relaxed_types_keep_their_name_and_store_float32():
    for dtype in dtypes.TABLE.values():
        relaxed = dtype.relaxed
        assert relaxed == dtype
        assert relaxed.relaxed is relaxed
        narrow = dtype.is_float and dtype != "float32"
        assert relaxed.is_relaxed is narrow
        assert relaxed.storage == (np.dtype(np.float32) if narrow else dtype.storage)


def test_the_legacy_fp8_has_inf_and_240_the_ocp_one_nan_and_448():
    assert FORMATS["float8_e4m3"].storage is dtypes.float8_e4m3.storage.type
    assert float(ml_dtypes.finfo(dtypes.float8_e4m3.storage).max) == 240
    assert float(ml_dtypes.finfo(dtypes.float8_e4m3fn.storage).max) == 448


def test_ocp_types_are_of_the_fourth_generation():
    late = {name for name, dtype in dtypes.TABLE.items() if dtype.generations == (4,)}
    assert late == {"float8_e4m3fn", "float8_e8m0fnu", "float8_e4m3fn_x4", "float8_e5m2_x4", "float4_e2m1fn_x4"}


def test_lanes_of_packed_types():
    assert dtypes.float8_e4m3fn_x4.lane == ml_dtypes.float8_e4m3fn
    assert dtypes.float8_e5m2_x4.lane == ml_dtypes.float8_e5m2
    assert dtypes.float4_e2m1fn_x4.lane == ml_dtypes.float4_e2m1fn
    assert dtypes.bfloat16.lane == ml_dtypes.bfloat16
