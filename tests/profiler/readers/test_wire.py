"""Protobuf wire format: what is written is read, one message at a time and in columns; nonsense is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nkilab.errors import InputError
from nkilab.profiler.readers.wire import MAX_COLUMN_STEPS, MAX_FIELDS, Columns, Message, Source
from nkilab.profiler.sample.wire import message, packed

numbers = st.integers(0, (1 << 64) - 1)
fields = st.lists(st.tuples(st.integers(1, 1000), numbers | st.binary(max_size=20)), max_size=12)


def source(data: bytes, base: int = 0) -> Source:
    return Source(data, "x", base)


@given(fields)
def test_messages(written: list[tuple[int, int | bytes]]) -> None:
    read = Message.parse(source(message(*written)))
    for number in {number for number, _ in written}:
        values = [value for n, value in written if n == number]
        ints = [value for value in values if isinstance(value, int) and value]
        raws = [value for value in values if isinstance(value, bytes)]
        assert list(read.numbers.get(number, [])) == ints
        flat = list(read.spans.get(number, []))
        assert [read.source.data[a:b] for a, b in zip(flat[::2], flat[1::2], strict=True)] == raws


@given(st.lists(st.tuples(numbers, st.binary(max_size=9), st.lists(numbers, max_size=5)), max_size=8))
def test_columns(rows: list[tuple[int, bytes, list[int]]]) -> None:
    data = message(*((3, message((1, a), (2, b), (5, packed(c)))) for a, b, c in rows))
    columns = Message.parse(source(data)).rows(3)
    assert columns.count == len(rows)
    assert columns.ints(1).view(np.uint64).tolist() == [a for a, _, _ in rows]
    start, end = columns.spans(2)
    assert [data[a:b] for a, b in zip(start, end, strict=True)] == [b for _, b, _ in rows]
    owner, value = columns.packed(5)
    assert list(zip(owner.tolist(), value.view(np.uint64).tolist(), strict=True)) == [
        (i, v) for i, row in enumerate(rows) for v in row[2]
    ]


def test_fixed_widths() -> None:
    data = b"\x09" + (7).to_bytes(8, "little") + b"\x15" + (9).to_bytes(4, "little")
    read = Message.parse(source(data))
    assert (read.number(1), read.number(2)) == (7, 9)
    columns = Columns.parse(source(data), np.array([0]), np.array([len(data)]), "x")
    assert (columns.ints(1)[0], columns.ints(2)[0]) == (7, 9)


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",  # a number that is not there
        b"\x08" + b"\xff" * 11,  # a number without an end
        b"\x0a\x05ab",  # a length beyond the end
        b"\x0a" + b"\xff" * 9 + b"\x01",  # a length of 2**64 - 1
        b"\x0b",  # wire type 3
        b"\x00\x01",  # field number 0
        b"\x09\x01",  # eight bytes that are not there
    ],
)
def test_nonsense_is_refused_with_file_offset_and_field(data: bytes) -> None:
    with pytest.raises(InputError, match=r"file x, offset 10\d, field top"):
        Message.parse(source(data, 100), field="top")
    with pytest.raises(InputError, match=r"file x, offset 10\d, field top"):
        Columns.parse(source(data, 100), np.array([0]), np.array([len(data)]), "top")


def test_packed_numbers_must_end_in_their_own_field() -> None:
    data = message((3, message((5, b"\x80"))), (3, message((5, b"\x01"))))
    with pytest.raises(InputError, match="a number that does not end"):
        Message.parse(source(data)).rows(3).packed(5)


def test_a_message_of_too_many_fields_is_refused() -> None:
    data = message((1, 1)) * (MAX_COLUMN_STEPS + 1)
    with pytest.raises(InputError, match="fields in one message"):
        Columns.parse(source(data), np.array([0]), np.array([len(data)]), "x")


def test_a_source_of_too_many_fields_is_refused_whatever_the_nesting() -> None:
    inner = message((1, 1)) * (MAX_FIELDS // 2)
    read = Message.parse(source(message((2, inner), (2, inner), (2, inner))))
    with pytest.raises(InputError, match="fields"):
        read.messages(2, 3)


def test_no_messages_no_rows() -> None:
    columns = Message.parse(source(b"")).rows(3)
    assert columns.count == 0
    assert columns.packed(1)[1].tolist() == []
    assert columns.rows(2)[1].count == 0
