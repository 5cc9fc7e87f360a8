"""The frame of a Parquet file, checked before polars unpacks it: where its pages lie and what they claim to unpack to.

Only the Thrift compact encoding of the footer and of page headers is read here, bounded by their bytes.
Format: the public Apache Parquet specification (parquet.thrift: FileMetaData, RowGroup, ColumnMetaData, PageHeader).
"""

from __future__ import annotations

from .wire import MAX_FIELDS, Source, varint

MAGIC = b"PAR1"
MAX_ROWS, ROWS_PER_BYTE = 1 << 16, 4
MAX_UNPACKED, UNPACKED_PER_BYTE = 1 << 26, 64
MAX_FOOTER = 1 << 25
MAX_TEXT = 256
_MAX_DEPTH = 16
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_INTEGERS = (4, 5, 6)

Struct = dict[int, object]


def check(source: Source) -> tuple[tuple[str, int], ...]:
    """Refuse a file whose pages lie outside it, or that would unpack to far more than its size.

    Returns:
        The name and the offset of every column of the first row group.

    Raises:
        InputError: no Parquet, cut short, or beyond the limits above.
    """
    data, size = source.data, len(source.data)
    length = int.from_bytes(data[-8:-4], "little")
    if size < 12 or data[:4] != MAGIC or data[-4:] != MAGIC or not 0 < length <= min(size - 12, MAX_FOOTER):
        raise source.fail("footer", max(size - 8, 0), "not a readable Parquet file")
    footer, _ = _struct(source, size - 8 - length, size - 8, 0)
    rows, most = _number(footer, 3), MAX_ROWS + ROWS_PER_BYTE * size
    if rows > most:
        raise source.fail("num_rows", size - 8 - length, f"{rows} rows in a file that may hold at most {most}")
    room = MAX_UNPACKED + UNPACKED_PER_BYTE * size
    found: list[tuple[str, int]] = []
    for index, group in enumerate(_structs(footer, 4)):
        if _number(group, 3) > rows:
            raise source.fail("row_groups", size - 8 - length, "a row group with more rows than the file")
        for chunk in _structs(group, 1):
            meta = chunk.get(3)
            if not isinstance(meta, dict):
                raise source.fail("column metadata", size - 8 - length, "a column without metadata")
            room -= _pages(source, meta, size - 8 - length, room)
            if index == 0:
                found.append((_column(meta), _start(meta)))
    return tuple(found)


def _column(meta: Struct) -> str:
    """The name of the column that a chunk belongs to."""
    path = meta.get(3)
    name = path[0] if isinstance(path, list) and path else b""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else ""


def _start(meta: Struct) -> int:
    """Offset of a column chunk: its dictionary's page or its first data page; -1 where neither can be."""
    starts = [_number(meta, number) for number in (9, 11) if number in meta]
    return min((start for start in starts if start > 0), default=-1)


def _pages(source: Source, meta: Struct, end: int, room: int) -> int:
    """Bytes that the pages of one column chunk unpack to; each page is checked to lie before `end`."""
    at, total, most = _start(meta), _number(meta, 7), MAX_UNPACKED + UNPACKED_PER_BYTE * len(source.data)
    if at < len(MAGIC) or not 0 <= total <= end - at:
        raise source.fail("column offset", end, f"{total} bytes of a column at {at}, outside the file")
    stop, unpacked = at + total, 0
    while at < stop:
        header, body = _struct(source, at, stop, 0)
        packed, plain = _number(header, 3), _number(header, 2)
        if not 0 <= packed <= stop - body or plain < 0:
            raise source.fail("page header", at, f"a page of {packed} bytes where {stop - body} are left")
        if not 0 <= _values(header) <= most:
            raise source.fail("num_values", at, f"a page of {_values(header)} values")
        unpacked += plain
        if unpacked > room:
            raise source.fail("page header", at, "it unpacks to far more than its size")
        at = body + packed
    return unpacked


def _values(header: Struct) -> int:
    """How many values a page claims: of data (5), of a dictionary (7), or of data in the second layout (8)."""
    kinds = [kind for kind in (header.get(5), header.get(7), header.get(8)) if isinstance(kind, dict)]
    return min((_number(kind, 1) for kind in kinds), default=0)


def _number(struct: Struct, number: int) -> int:
    """An integer field, 0 where absent."""
    value = struct.get(number, 0)
    return value if isinstance(value, int) else -1


def _structs(struct: Struct, number: int) -> list[Struct]:
    """A list of structures, empty where absent."""
    value = struct.get(number)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _struct(source: Source, at: int, end: int, depth: int) -> tuple[Struct, int]:
    """One structure: its fields by number, and the offset behind it."""
    if depth > _MAX_DEPTH:
        raise source.fail("thrift", at, f"deeper than {_MAX_DEPTH} levels")
    fields: Struct = {}
    number = 0
    while True:
        head, at = _byte(source, at, end)
        if head == 0:
            return fields, at
        kind, step = head & 15, head >> 4
        if step:
            number += step
        else:
            number, at = _zigzag(source, at, end)
        fields[number], at = _value(source, kind, at, end, depth)


def _value(source: Source, kind: int, at: int, end: int, depth: int) -> tuple[object, int]:
    """One value of a kind; texts are cut at `MAX_TEXT` bytes."""
    source.allowance.left -= 1
    if source.allowance.left < 0:
        raise source.fail("thrift", at, f"more than {MAX_FIELDS} fields")
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if kind in _INTEGERS:
        return _zigzag(source, at, end)
    if kind in (_BYTE, _DOUBLE):
        return None, _inside(source, at, 1 if kind == _BYTE else 8, end)
    if kind == _BINARY:
        size, at = varint(source, at, end, "thrift")
        behind = _inside(source, at, size, end)
        return bytes(source.data[at : min(behind, at + MAX_TEXT)]), behind
    if kind in (_LIST, _SET):
        return _list(source, at, end, depth)
    if kind == _STRUCT:
        return _struct(source, at, end, depth + 1)
    raise source.fail("thrift", at, f"a field of kind {kind}, which Parquet does not have")


def _list(source: Source, at: int, end: int, depth: int) -> tuple[list[object], int]:
    """A list; every element takes at least one byte."""
    head, at = _byte(source, at, end)
    kind, size = head & 15, head >> 4
    if size == 15:
        size, at = varint(source, at, end, "thrift")
    if size > end - at:
        raise source.fail("thrift", at, f"a list of {size} where {end - at} bytes are left")
    found = []
    for _ in range(size):
        value, at = _value(source, _BYTE if kind in (_TRUE, _FALSE) else kind, at, end, depth + 1)
        found.append(value)
    return found, at


def _byte(source: Source, at: int, end: int) -> tuple[int, int]:
    """One byte."""
    _inside(source, at, 1, end)
    return source.data[at], at + 1


def _zigzag(source: Source, at: int, end: int) -> tuple[int, int]:
    """One signed number."""
    value, at = varint(source, at, end, "thrift")
    return (value >> 1) ^ -(value & 1), at


def _inside(source: Source, at: int, size: int, end: int) -> int:
    """The offset behind `size` bytes at `at`. Raises InputError where they end too late."""
    if size > end - at:
        raise source.fail("thrift", at, f"{size} bytes where {end - at} are left")
    return at + size
