"""Protobuf messages, written."""

from __future__ import annotations

from collections.abc import Iterable

Value = int | str | bytes


def varint(value: int) -> bytes:
    """A number of at most 64 bits; negative ones in two's complement."""
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def message(*fields: tuple[int, Value]) -> bytes:
    """A message of (field number, number or text or bytes); a number 0 is left out, as the format has it."""
    out = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            if value:
                out += varint(number << 3) + varint(value)
            continue
        raw = value.encode() if isinstance(value, str) else value
        out += varint(number << 3 | 2) + varint(len(raw)) + raw
    return bytes(out)


def repeated(number: int, values: Iterable[Value]) -> list[tuple[int, Value]]:
    """The same field once per value."""
    return [(number, value) for value in values]


def packed(values: Iterable[int]) -> bytes:
    """Numbers one behind the other."""
    return b"".join(varint(value) for value in values)
