"""The record files of an inspect folder: (u32 length, protobuf message), again and again."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..source import bytes_of, released
from ..wire import Columns, Source

MAX_RECORDS = 1 << 24
CHUNK = 1 << 11
_LENGTH = 4
_NS = np.int64


def source_of(path: Path) -> Source | None:
    """The file's bytes, None where there is none or it is empty (a run without such events leaves empty files)."""
    if not path.is_file() or path.stat().st_size == 0:
        return None
    return Source(bytes_of(path), str(path))


def records(source: Source, field: str) -> Iterator[Columns]:
    """Every record as a row of fields, at most `CHUNK` records at a time: fields take many times their bytes.

    Raises:
        InputError: a length of 0 or beyond the end of the file, or a malformed message.
    """
    data, end = source.data, len(source.data)
    starts, ends = array("q"), array("q")
    at = count = 0
    while at < end:
        length = int.from_bytes(data[at : at + _LENGTH], "little")
        if not 0 < length <= end - at - _LENGTH:
            raise source.fail(f"{field}[{count}].length", at, f"a record of {length} bytes where {end - at} are left")
        if count >= MAX_RECORDS:
            raise source.fail(field, at, f"more than {MAX_RECORDS} records")
        starts.append(at + _LENGTH)
        at += _LENGTH + length
        ends.append(at)
        count += 1
        if len(starts) == CHUNK or at == end:
            yield Columns.parse(source, np.array(starts, _NS), np.array(ends, _NS), field)
            released(data)
            starts, ends = array("q"), array("q")


def texts(columns: Columns, number: int) -> list[str]:
    """Field `number` of each message as text, each distinct text stored once."""
    start, end = columns.spans(number)
    data = columns.source.data
    seen: dict[bytes, str] = {}
    return [
        seen.setdefault(raw, raw.decode("utf-8", "replace"))
        for raw in (bytes(data[a:b]) for a, b in zip(start.tolist(), end.tolist(), strict=True))
    ]


def present(columns: Columns, number: int) -> NDArray[np.bool_]:
    """Which messages have field `number`."""
    out = np.zeros(columns.count, bool)
    out[columns.row[columns.number == number]] = True
    return out
