"""Protocol-buffer wire format without a schema compiler: bounded, and columnar where there are many messages.

Every number read here is hostile until checked: varints are at most ten bytes, lengths end inside their message, and
each message has a limited number of fields, so that neither time nor memory grows beyond a small multiple of the input.
Format: the public protobuf encoding guide (varint, 64-bit, length-delimited and 32-bit records).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nkilab.errors import InputError

MAX_FIELDS = 1 << 20
MAX_TEXT = 4096
MAX_TEXTS = 1 << 14
MAX_COLUMN_STEPS = 1 << 10
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_MAX_VARINT = 10
_TAG_SHIFT = 3
_MORE = 0x80

Ints = NDArray[np.int64]
Uints = NDArray[np.uint64]
_Step = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8], Uints, Ints]


@dataclass(slots=True)
class Allowance:
    """How many fields may still be read one by one from one source."""

    left: int = MAX_FIELDS


@dataclass(frozen=True, slots=True)
class Source:
    """Bytes and where they came from.

    Attributes:
        data: the bytes.
        file: the file's name, or `archive:member`.
        base: offset of `data[0]` in that file, for messages.
        allowance: limits the time that hostile metadata can take.
    """

    data: bytes | memoryview
    file: str
    base: int = 0
    allowance: Allowance = field(default_factory=Allowance, compare=False, repr=False)

    def fail(self, field: str, offset: int, what: str) -> InputError:
        """The error that names file, byte offset and field."""
        return malformed(self.file, field, self.base + offset, what)


def malformed(file: str, field: str, offset: int, what: str) -> InputError:
    """The error for bytes that are not what they claim to be."""
    file = file.encode("utf-8", "replace").decode()  # a name may hold bytes that are no Unicode
    return InputError(
        f"{file}: {what}",
        values=f"file {file}, offset {offset}, field {field}",
        fix="the file is damaged, cut short, or of another kind: copy it again, or open the one it was made from",
    )


def varint(source: Source, at: int, end: int, field: str) -> tuple[int, int]:
    """One unsigned varint of at most 64 bits: (value, offset behind it)."""
    data, value = source.data, 0
    if at < end and data[at] < _MORE:
        return data[at], at + 1
    for index in range(min(_MAX_VARINT, end - at)):
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < _MORE:
            return value & 0xFFFFFFFFFFFFFFFF, at + index + 1
    raise source.fail(field, at, "a number that does not end")


def walk(source: Source, start: int, end: int, field: str) -> Iterator[tuple[int, int, int, int]]:
    """The fields of the message in [start, end): (number, wire type, a, b).

    a is the value of a number and b is 0; for a length-delimited field [a, b) are its bytes.

    Raises:
        InputError: a length, a wire type or a field number that cannot be.
    """
    at, data = start, source.data
    while at < end:
        here, tag = at, data[at]
        at += 1
        if tag >= _MORE:
            tag, at = varint(source, here, end, field)
        number, wire = tag >> _TAG_SHIFT, tag & 7
        if number == 0:
            raise source.fail(field, here, "field number 0")
        if wire == VARINT:
            value, at = varint(source, at, end, field)
            yield number, wire, value, 0
            continue
        size, at = _size(source, wire, at, end, field)
        if size > end - at:
            raise source.fail(f"{field}.{number}", here, f"{size} bytes where {end - at} are left")
        if wire == BYTES:
            yield number, wire, at, at + size
        else:
            yield number, wire, int.from_bytes(data[at : at + size], "little"), 0
        at += size


def _size(source: Source, wire: int, at: int, end: int, field: str) -> tuple[int, int]:
    """Bytes that follow, and the offset of the first."""
    if wire == BYTES:
        return varint(source, at, end, field)
    if wire in (FIXED64, FIXED32):
        return (8 if wire == FIXED64 else 4), at
    raise source.fail(field, at, f"wire type {wire}, which does not exist")


@dataclass(frozen=True, slots=True)
class Message:
    """One message, its fields by number. Accessors check the wire type; an absent number is its default."""

    source: Source
    field: str
    numbers: dict[int, array[int]]
    spans: dict[int, array[int]]

    @classmethod
    def parse(cls, source: Source, start: int = 0, end: int | None = None, field: str = "message") -> Message:
        """Read the message in [start, end) of `source`; nested ones are read when asked for.

        Raises:
            InputError: malformed, or more than `MAX_FIELDS` fields in this source so far.
        """
        numbers: dict[int, array[int]] = {}
        spans: dict[int, array[int]] = {}
        stop = len(source.data) if end is None else end
        count = 0
        for number, wire, a, b in walk(source, start, stop, field):
            count += 1
            if count > source.allowance.left:
                raise source.fail(field, start, f"more than {MAX_FIELDS} fields")
            if wire == BYTES:
                spans.setdefault(number, array("q")).extend((a, b))
            else:
                numbers.setdefault(number, array("Q")).append(a)
        source.allowance.left -= count
        return cls(source, field, numbers, spans)

    def number(self, number: int, default: int = 0) -> int:
        """The last value of field `number`, unsigned."""
        return self.numbers[number][-1] if number in self.numbers else default

    def optional(self, number: int) -> int | None:
        """The last value of field `number`, None where absent."""
        return self.numbers[number][-1] if number in self.numbers else None

    def span(self, number: int) -> tuple[int, int]:
        """Where the last bytes of field `number` lie, (0, 0) where absent."""
        found = self.spans.get(number)
        return (found[-2], found[-1]) if found else (0, 0)

    def raw(self, number: int, limit: int | None = None) -> bytes:
        """The last bytes of field `number`, empty where absent, cut at `limit`."""
        a, b = self.span(number)
        return bytes(self.source.data[a : b if limit is None else min(b, a + limit)])

    def text(self, number: int, limit: int = MAX_TEXT) -> str:
        """Field `number` as text, cut at `limit` bytes; bytes that are not UTF-8 become U+FFFD."""
        return self.raw(number, limit).decode("utf-8", "replace")

    def texts(self, number: int, most: int = MAX_TEXTS) -> tuple[str, ...]:
        """Every value of field `number` as text; InputError above `most`."""
        data = self.source.data
        spans = self._pairs(number, most)
        return tuple(bytes(data[a : min(b, a + MAX_TEXT)]).decode("utf-8", "replace") for a, b in spans)

    def message(self, number: int) -> Message:
        """The last sub-message of field `number`, empty where absent."""
        return Message.parse(self.source, *self.span(number), f"{self.field}.{number}")

    def messages(self, number: int, most: int) -> tuple[Message, ...]:
        """Every sub-message of field `number`; InputError above `most`."""
        name = f"{self.field}.{number}"
        spans = enumerate(self._pairs(number, most))
        return tuple(Message.parse(self.source, a, b, f"{name}[{i}]") for i, (a, b) in spans)

    def rows(self, number: int) -> Columns:
        """Every sub-message of field `number` as columns, for those that come by the thousand."""
        spans = np.array(self.spans.get(number, ()), np.int64).reshape(-1, 2)
        return Columns.parse(self.source, spans[:, 0], spans[:, 1], f"{self.field}.{number}")

    def _pairs(self, number: int, most: int) -> list[tuple[int, int]]:
        """The spans of field `number`."""
        flat = self.spans.get(number, array("q"))
        if len(flat) > 2 * most:
            raise self.source.fail(f"{self.field}.{number}", flat[0], f"{len(flat) // 2} entries, at most {most}")
        return list(zip(flat[::2], flat[1::2], strict=True))


@dataclass(frozen=True, slots=True)
class Columns:
    """The fields of many messages, one row per field, in order within a message.

    Attributes:
        count: number of messages.
        row: index of the message.
        number: field number.
        wire: wire type.
        a: value of a number, or offset of the first byte.
        b: offset behind the last byte of a length-delimited field.
    """

    source: Source
    field: str
    count: int
    row: NDArray[np.int32]
    number: NDArray[np.int32]
    wire: NDArray[np.uint8]
    a: Uints
    b: Ints

    @classmethod
    def parse(cls, source: Source, starts: Ints, ends: Ints, field: str) -> Columns:
        """Read the messages [starts, ends) in step, one field of each at a time.

        Raises:
            InputError: malformed, or a message with more than `MAX_COLUMN_STEPS` fields.
        """
        data = np.frombuffer(source.data, np.uint8)
        rows, at = np.arange(len(starts)), starts.astype(np.int64)
        ends = ends.astype(np.int64)
        steps: list[_Step] = [_nothing()]
        while True:
            live = at < ends
            rows, at, ends = rows[live], at[live], ends[live]
            if not len(rows):
                row, number, wire, a, b = (np.concatenate(column) for column in zip(*steps, strict=True))
                return cls(source, field, len(starts), row, number, wire, a, b)
            if len(steps) > MAX_COLUMN_STEPS:
                raise source.fail(field, int(at[0]), f"more than {MAX_COLUMN_STEPS} fields in one message")
            number, wire, a, b, at = _step(source, data, at, ends, field)
            steps.append((rows.astype(np.int32), number, wire, a, b))

    def ints(self, number: int) -> Ints:
        """Field `number` per message, as signed 64-bit (the last wins); 0 where absent."""
        out = np.zeros(self.count, np.int64)
        pick = (self.number == number) & (self.wire != BYTES)
        out[self.row[pick]] = self.a[pick].view(np.int64)
        return out

    def spans(self, number: int) -> tuple[Ints, Ints]:
        """Start and end of the bytes of field `number` per message; equal where absent."""
        start, end = np.zeros(self.count, np.int64), np.zeros(self.count, np.int64)
        pick = (self.number == number) & (self.wire == BYTES)
        start[self.row[pick]], end[self.row[pick]] = self.a[pick].astype(np.int64), self.b[pick]
        return start, end

    def rows(self, number: int) -> tuple[Ints, Columns]:
        """The sub-messages of field `number`: the message each belongs to, and their own fields."""
        pick = (self.number == number) & (self.wire == BYTES)
        order = np.argsort(self.row[pick], kind="stable")
        start, end = self.a[pick].astype(np.int64)[order], self.b[pick][order]
        return self.row[pick][order].astype(np.int64), Columns.parse(self.source, start, end, f"{self.field}.{number}")

    def packed(self, number: int) -> tuple[Ints, Ints]:
        """The packed varints of field `number`: the message of each, and its value; ordered by message."""
        start, end = self.spans(number)
        size = end - start
        owner = np.repeat(np.arange(self.count), size)
        at = np.arange(size.sum()) + np.repeat(start - (np.cumsum(size) - size), size)
        byte = np.frombuffer(self.source.data, np.uint8)[at]
        last = byte < 0x80
        stop = np.flatnonzero(last)
        first = np.concatenate([[0], stop[:-1] + 1])[: len(stop)]
        whole = len(byte) == 0 or bool(last[-1])
        if not whole or (stop - first >= _MAX_VARINT).any() or (owner[first] != owner[stop]).any():
            raise self.source.fail(f"{self.field}.{number}", int(at[0]), "a number that does not end")
        place = np.arange(len(byte)) - np.repeat(first, stop - first + 1)
        part = (byte & np.uint8(0x7F)).astype(np.uint64) << (7 * place).astype(np.uint64)
        value = np.bitwise_or.reduceat(part, first) if len(first) else part
        return owner[stop], value.view(np.int64)


def varints(source: Source, data: NDArray[np.uint8], at: Ints, ends: Ints, field: str) -> tuple[Uints, Ints]:
    """One varint at each offset: values and the offsets behind them."""
    value, behind = np.zeros(len(at), np.uint64), at.copy()
    open_ = np.arange(len(at))
    for index in range(_MAX_VARINT):
        where = at[open_] + index
        short = where >= ends[open_]
        if short.any():
            raise source.fail(field, int(at[open_][short][0]), "a number that does not end")
        byte = data[where]
        value[open_] |= (byte & np.uint8(0x7F)).astype(np.uint64) << np.uint64(7 * index)
        behind[open_] = where + 1
        open_ = open_[byte >= 0x80]
        if not len(open_):
            return value, behind
    raise source.fail(field, int(at[open_][0]), "a number that does not end")


def _nothing() -> _Step:
    """No fields, in the right types."""
    none = np.zeros(0, np.int32)
    return none, none, np.zeros(0, np.uint8), np.zeros(0, np.uint64), np.zeros(0, np.int64)


def _step(
    source: Source, data: NDArray[np.uint8], at: Ints, ends: Ints, field: str
) -> tuple[NDArray[np.int32], NDArray[np.uint8], Uints, Ints, Ints]:
    """The field at each offset: number, wire type, a, b and the offset behind it."""
    tag, body = varints(source, data, at, ends, field)
    number, wire = tag >> np.uint64(_TAG_SHIFT), (tag & np.uint64(7)).astype(np.uint8)
    bad = ~np.isin(wire, (VARINT, FIXED64, BYTES, FIXED32)) | (number == 0) | (number >= 1 << 29)
    if bad.any():
        raise source.fail(field, int(at[bad][0]), "a field number or wire type that does not exist")
    value, after = np.zeros(len(at), np.uint64), body.copy()
    coded = (wire == VARINT) | (wire == BYTES)
    value[coded], after[coded] = varints(source, data, body[coded], ends[coded], field)
    size = np.where(wire == FIXED64, 8, np.where(wire == FIXED32, 4, 0)).astype(np.uint64)
    size = np.where(wire == BYTES, value, size)
    over = size > (ends - after).astype(np.uint64)
    if over.any():
        raise source.fail(field, int(at[over][0]), "a length beyond the end of its message")
    behind = after + size.astype(np.int64)
    for kind, width in ((FIXED64, 8), (FIXED32, 4)):
        pick = wire == kind
        value[pick] = _fixed(data, after[pick], width)
    value = np.where(wire == BYTES, after.astype(np.uint64), value)
    return number.astype(np.int32), wire, value, np.where(wire == BYTES, behind, 0), behind


def _fixed(data: NDArray[np.uint8], at: Ints, width: int) -> Uints:
    """Little-endian numbers of `width` bytes at each offset."""
    parts = data[at[:, None] + np.arange(width)].astype(np.uint64)
    shifted: Uints = parts << (8 * np.arange(width)).astype(np.uint64)
    return np.bitwise_or.reduce(shifted, axis=1) if len(at) else np.zeros(0, np.uint64)
