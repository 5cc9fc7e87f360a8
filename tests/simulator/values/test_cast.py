"""Casts: every value of every 8- and 16-bit type, against the formats' definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from nkilab.errors import UsageError
from nkilab.simulator.values import cast, dtypes, mx
from tests.simulator.values.oracle import BFLOAT16, FLOAT16, FORMATS, assert_same, given, seeds, tiles

INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"]


def all_16_bit_values() -> np.ndarray:
    """Every value of float16 and of bfloat16 as float32: two dense sets over the whole range of float32."""
    return np.concatenate([FLOAT16.values(), BFLOAT16.values()]).astype(np.float32)


def around_every_tie(name: str) -> np.ndarray:
    """The middle between any two neighbours of a format, and the float32 values on either side of it."""
    values = FORMATS[name].values()
    table = np.unique(values[np.isfinite(values)])
    table = np.append(table, 2 * table[-1] - table[-2])
    middle = ((table[1:] + table[:-1]) / 2).astype(np.float32)
    with np.errstate(over="ignore"):
        return np.concatenate(
            [middle, np.nextafter(middle, np.float32(np.inf)), np.nextafter(middle, np.float32(-np.inf))]
        )


@pytest.mark.parametrize("name", FORMATS)
def test_every_pattern_of_a_float_type_reads_as_its_definition(name):
    assert_same(cast.float32(FORMATS[name].patterns()), FORMATS[name].values())


@pytest.mark.parametrize("name", FORMATS)
def test_every_16_bit_value_rounds_to_nearest_even(name):
    x = all_16_bit_values()
    assert_same(cast.from_float32(x, dtypes.TABLE[name]), FORMATS[name].round(x))


@pytest.mark.parametrize("name", FORMATS)
def test_every_tie_of_a_float_type_goes_to_even(name):
    x = around_every_tie(name)
    assert_same(cast.from_float32(x, dtypes.TABLE[name]), FORMATS[name].round(x))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_every_pattern_casts_between_float_types(source, name):
    expected = FORMATS[name].round(FORMATS[source].values().astype(np.float32))
    assert_same(cast.cast(FORMATS[source].patterns(), dtypes.TABLE[name]), expected)


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("source", FORMATS)
def test_every_pattern_casts_to_integers_nearest_even_and_saturated(source, name):
    limits = np.iinfo(name)
    expected = [
        0 if np.isnan(v) else limits.max if v > limits.max else limits.min if v < limits.min else round(v)
        for v in FORMATS[source].values().tolist()  # Python compares its floats with its integers exactly
    ]
    np.testing.assert_array_equal(cast.cast(FORMATS[source].patterns(), dtypes.TABLE[name]), np.array(expected, name))


@pytest.mark.parametrize("name", [*INTEGERS, *FORMATS, "float32"])
@pytest.mark.parametrize("source", ["int8", "uint8", "int16", "uint16"])
def test_every_small_integer_casts_to_every_type(source, name):
    limits = np.iinfo(source)
    x = np.arange(limits.min, limits.max + 1, dtype=source)
    out = dtypes.TABLE[name]
    if name in INTEGERS:
        target = np.iinfo(name)
        expected = np.array([min(max(int(v), target.min), target.max) for v in x], name)
    else:
        expected = FORMATS[name].round(x.astype(np.float32)) if name in FORMATS else x
    assert_same(cast.cast(x, out), expected)


@pytest.mark.parametrize(
    ("value", "name", "expected"),
    [
        (0.5, "int8", 0), (1.5, "int8", 2), (2.5, "int8", 2), (-0.5, "int32", 0), (-1.5, "int32", -2), (-1.0, "uint8", 0),
        (127.5, "int8", 127), (-128.5, "int8", -128), (-129.0, "int8", -128), (255.5, "uint8", 255), (1e9, "int16", 32767),
        (2147483648.0, "int32", 2147483647), (2147483520.0, "int32", 2147483520), (-2147483648.0, "int32", -2147483648),
        (-3e9, "int32", -2147483648), (4294967296.0, "uint32", 4294967295), (4294967040.0, "uint32", 4294967040),
        (np.inf, "uint32", 4294967295), (-np.inf, "int16", -32768), (np.nan, "int32", 0), (np.nan, "uint8", 0),
        (9.3e18, "int64", 2**63 - 1), (-9.3e18, "int64", -(2**63)), (np.inf, "int64", 2**63 - 1),
    ],
)  # fmt: skip
def test_floats_round_to_nearest_even_integers_and_saturate(value, name, expected):
    result = cast.from_float32(np.array([value], np.float32), dtypes.TABLE[name])
    assert int(result[0]) == expected
    assert result.dtype == name


@pytest.mark.parametrize(
    ("name", "overflowed"),
    [
        ("float16", -np.inf),
        ("bfloat16", -np.inf),
        ("float8_e4m3", -np.inf),
        ("float8_e5m2", -np.inf),
        ("float8_e4m3fn", np.nan),
    ],
)
def test_the_float32_minimum_overflows_as_range_select_documents(name, overflowed):
    assert_same(cast.from_float32(np.array([np.finfo(np.float32).min]), dtypes.TABLE[name]), np.array([overflowed]))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, 1.0), (1 + 2**-10, 1 + 2**-10), (1 + 2**-11, 1.0), (1 + 3 * 2**-11, 1 + 2**-9), (-1 - 2**-11 - 2**-20, -1 - 2**-10),
        (np.inf, np.inf), (-np.inf, -np.inf), (np.nan, np.nan), (-0.0, -0.0), (3.4028235e38, np.inf),
    ],
)  # fmt: skip
def test_tfloat32_keeps_ten_mantissa_bits(value, expected):
    assert_same(cast.from_float32(np.array([value], np.float32), dtypes.tfloat32), np.array([expected]))


@given(tiles())
def test_tfloat32_is_stored_with_the_low_13_bits_zero_and_within_half_a_step(x):
    rounded = cast.cast(x, dtypes.tfloat32)
    finite = np.isfinite(rounded)
    assert not (rounded[finite].view(np.uint32) & 0x1FFF).any()
    normal = finite & (np.abs(x) > 1e-37)
    assert (np.abs(rounded[normal].astype(np.float64) - x[normal]) <= np.abs(x[normal]) * 2.0**-11).all()
    np.testing.assert_array_equal(cast.cast(rounded, dtypes.tfloat32), rounded)


@given(tiles())
def test_equal_types_copy_bit_for_bit(x):
    for name in ("float32", "float16", "bfloat16", "float8_e4m3", "int32"):
        stored = cast.cast(x, dtypes.TABLE[name])
        again = cast.cast(stored, dtypes.TABLE[name])
        assert cast.bits(again).tobytes() == cast.bits(stored).tobytes()
        assert again is not stored


def test_32_bit_integers_copy_exactly_but_pass_float32_between_types():
    x = np.array([2**24 + 1, 2**31 - 1, -(2**31)], np.int32)
    np.testing.assert_array_equal(cast.cast(x, dtypes.int32), x)
    np.testing.assert_array_equal(cast.cast(x, dtypes.uint32), [2**24, 2**31, 0])


@given(seeds)
def test_relaxed_types_do_not_round(seed):
    x = np.random.default_rng(seed).standard_normal((3, 5)).astype(np.float32)
    for name in FORMATS:
        relaxed = cast.cast(x, dtypes.TABLE[name].relaxed)
        assert relaxed.dtype == np.float32
        np.testing.assert_array_equal(relaxed, x)
    np.testing.assert_array_equal(cast.cast(x, dtypes.tfloat32.relaxed), x)


def test_bool_is_one_for_anything_but_zero():
    x = np.array([0.0, -0.0, 0.1, -3.0, np.nan, np.inf], np.float32)
    np.testing.assert_array_equal(cast.from_float32(x, dtypes.bool_), [0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(cast.cast(np.array([0, 1, 7], np.uint8), dtypes.bool_), [0, 1, 1])


def test_scales_are_powers_of_two_with_255_for_nan():
    scales = np.arange(256, dtype=np.uint8).view(dtypes.float8_e8m0fnu.storage)
    expected = np.append(2.0 ** (np.arange(255) - 127.0), np.nan)
    assert_same(cast.float32(scales), expected)
    np.testing.assert_array_equal(
        cast.from_float32(expected.astype(np.float32), dtypes.float8_e8m0fnu).view(np.uint8), np.arange(256)
    )


@pytest.mark.parametrize("name", ["float8_e4m3fn_x4", "float8_e5m2_x4", "float4_e2m1fn_x4"])
def test_packed_types_take_no_arithmetic_result(name):
    with pytest.raises(UsageError, match="no arithmetic result"):
        cast.from_float32(np.zeros((2, 2), np.float32), dtypes.TABLE[name])
    words = np.array([[0x12345678, 0x9ABC]], np.uint32).astype(dtypes.TABLE[name].storage)
    np.testing.assert_array_equal(cast.cast(words, dtypes.TABLE[name]), words)


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=20), st.sampled_from(INTEGERS[:6]))
def test_integers_saturate_exactly_or_wrap(values, name):
    x, limits, out = np.array(values, np.int64), np.iinfo(name), dtypes.TABLE[name]
    np.testing.assert_array_equal(cast.cast_integer(x, out), [min(max(v, limits.min), limits.max) for v in values])
    span = limits.max - limits.min + 1
    np.testing.assert_array_equal(cast.wrap_integer(x, out), [(v - limits.min) % span + limits.min for v in values])


@pytest.mark.parametrize(
    ("value", "name", "expected"),
    [(2, "int32", 2), (2**32 - 1, "uint32", 2**32 - 1), (-1, "int8", -1), (300, "uint8", 255), (0.1, "bfloat16", 0.10009765625),
     (0, "float4_e2m1fn_x4", 0), (1, "bool", 1), (float("-inf"), "float16", -np.inf), (2.5, "int32", 2)],
)  # fmt: skip
def test_memset_fills_with_the_constant(value, name, expected):
    tile = cast.memset((2, 3), value, dtypes.TABLE[name])
    assert tile.dtype == dtypes.TABLE[name].storage
    assert tile.shape == (2, 3)
    assert (tile.astype(np.float64) == expected).all()


@pytest.mark.torch
@pytest.mark.parametrize("name", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_torch_rounds_every_16_bit_value_and_every_tie_alike(name):
    torch = pytest.importorskip("torch")
    x = np.concatenate([all_16_bit_values(), around_every_tie(name)])
    if name == "float8_e4m3fn":
        x = x[~(np.abs(x) > 464)]  # beyond, torch gives NaN before 2.12 and 448 since
    theirs = torch.from_numpy(x).to(getattr(torch, name)).to(torch.float32).numpy()
    assert_same(cast.from_float32(x, dtypes.TABLE[name]), theirs)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_torch_reads_every_pattern_alike(name):
    torch = pytest.importorskip("torch")
    patterns = FORMATS[name].patterns()
    unsigned = patterns.view(np.uint8 if patterns.itemsize == 1 else np.int16)
    theirs = torch.from_numpy(unsigned).view(getattr(torch, name)).to(torch.float32).numpy()
    assert_same(cast.float32(patterns), theirs)


NARROW = [*FORMATS, "int8", "uint8", "int16", "uint16", "float8_e8m0fnu"]


def every_pattern(name: str) -> np.ndarray:
    """All 256 or 65,536 elements of a narrow type."""
    storage = dtypes.TABLE[name].storage
    return np.arange(2 ** (8 * storage.itemsize)).astype(f"u{storage.itemsize}").view(storage)


SCALE = "float8_e8m0fnu"  # ml_dtypes casts it to float32 only
DIRECT = [(s, t) for s in NARROW for t in (*FORMATS, "float32", SCALE) if SCALE not in (s, t) or "float32" in (s, t)]


@pytest.mark.parametrize(("source", "name"), DIRECT)
def test_every_narrow_value_casts_as_ml_dtypes_does_directly(source, name):
    """Direct casts of ml_dtypes round once, as one through float32 does: every narrow value is a float32."""
    x, out = every_pattern(source), dtypes.TABLE[name]
    with np.errstate(all="ignore"):
        expected = x.astype(out.storage)
    found = cast.cast(x, out)
    assert found.dtype == out.storage
    assert_same(found, expected)


@pytest.mark.parametrize("name", FORMATS)
def test_scales_cast_to_floats_by_their_value(name):
    values = np.append(2.0 ** (np.arange(255) - 127.0), np.nan)
    assert_same(cast.cast(every_pattern(SCALE), dtypes.TABLE[name]), FORMATS[name].round(values.astype(np.float32)))


@pytest.mark.parametrize("name", ["float8_e4m3fn_x4", "float8_e5m2_x4", "float4_e2m1fn_x4"])
def test_every_lane_of_a_packed_type_reads_as_ml_dtypes_does(name):
    out = dtypes.TABLE[name]
    patterns = np.arange(256 if out.itemsize == 4 else 16, dtype=np.uint8)
    lanes = np.stack([np.roll(patterns, turn) for turn in range(4)], axis=1).view(out.lane)
    words = mx.pack_x4(lanes, out)
    assert words.dtype == out.storage
    with np.errstate(all="ignore"):
        assert_same(mx.unpack_x4(words, out).astype(np.float32), lanes.astype(np.float32))
    if out.itemsize == 2:
        magnitudes = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
        assert_same(lanes[:, 0].astype(np.float64), np.concatenate([magnitudes, -magnitudes]))


@pytest.mark.torch
@pytest.mark.parametrize("name", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float32"])
@pytest.mark.parametrize("source", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "int8", "uint8", "int16"])
def test_torch_casts_every_narrow_value_alike(source, name):
    torch = pytest.importorskip("torch")
    x = every_pattern(source)
    bits = torch.from_numpy(x.view(np.uint8 if x.itemsize == 1 else np.int16))
    theirs = bits.view(getattr(torch, source)).to(torch.float32).to(getattr(torch, name)).to(torch.float32).numpy()
    with np.errstate(invalid="ignore"):  # signalling NaN among the patterns
        found, exact = cast.cast(x, dtypes.TABLE[name]).astype(np.float32), x.astype(np.float64)
    if name == "float8_e4m3fn":  # beyond the largest value torch gives NaN before 2.12 and 448 since
        beyond = np.abs(exact) > 464
        assert np.isnan(found[beyond]).all()
        found, theirs = found[~beyond], theirs[~beyond]
    assert_same(found, theirs)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["int8", "uint8", "int16", "int32"])
@pytest.mark.parametrize("source", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_torch_rounds_every_narrow_float_to_the_same_integer(source, name):
    torch = pytest.importorskip("torch")
    x = every_pattern(source)
    limits = np.iinfo(name)
    with np.errstate(invalid="ignore"):  # signalling NaN among the patterns
        exact = x.astype(np.float64)
    wide = torch.from_numpy(exact).round().clamp(limits.min, limits.max).nan_to_num(0)
    assert_same(cast.cast(x, dtypes.TABLE[name]), wide.to(torch.int64).numpy())
