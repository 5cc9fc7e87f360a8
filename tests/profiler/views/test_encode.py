"""The timeline's columns: what is encoded is read back exactly as docs/timeline-json.md says."""

from __future__ import annotations

import base64

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nkilab.profiler.views.timeline import encode


def read_integers(field: dict[str, object]) -> list[int]:
    """The documented reading of an `ints` column, written independently of the encoder."""
    values, total, step, place = [], 0, 0, 0
    for byte in base64.b64decode(str(field["ints"])):
        step |= (byte & 0x7F) << place
        place += 7
        if byte < 0x80:
            total += step // 2 if step % 2 == 0 else -(step + 1) // 2
            values.append(total)
            step = place = 0
    return values


@given(st.lists(st.integers(-(2**52), 2**52)))
def test_whole_numbers_come_back(values: list[int]) -> None:
    field = encode.integers(np.array(values, dtype=np.int64))
    assert field["count"] == len(values)
    assert read_integers(field) == values


def test_small_steps_take_one_byte_each() -> None:
    field = encode.integers(np.arange(1000))
    assert len(base64.b64decode(field["ints"])) == 1000


@given(st.lists(st.sampled_from(["MATMUL", "", "</script>", "µ", None])))
def test_strings_come_back(values: list[str | None]) -> None:
    field = encode.text(pl.Series(values, dtype=pl.String))
    assert [None if code < 0 else field["words"][code] for code in read_integers(field["codes"])] == values
    assert len(set(field["words"])) == len(field["words"])


def test_a_missing_number_is_minus_one_or_nan_never_zero() -> None:
    assert read_integers(encode.column(pl.Series([5, None, 0]))) == [5, -1, 0]
    floats = np.frombuffer(base64.b64decode(encode.column(pl.Series([0.5, None]))["floats"]), "<f4")
    assert floats[0] == 0.5
    assert np.isnan(floats[1])


@pytest.mark.parametrize(("ns", "ticks"), [(0.0, 0), (0.001, 1), (1234.5678, 1_234_568), (9e12, 9_000_000_000_000_000)])
def test_times_are_whole_picoseconds(ns: float, ticks: int) -> None:
    assert encode.ticks(pl.Series([ns])).tolist() == [ticks]
