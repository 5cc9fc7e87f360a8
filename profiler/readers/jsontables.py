"""A JSON object of tables (`{"name": [{row}, …], …}`) as frames, in memory bounded by the file's size.

A vendor's full JSON can be gigabytes. One pass over the bytes in blocks finds where each table and each row ends; the
rows then go to the JSON parser of polars, whose values take many times their text, a quarter megabyte at a time. Nothing
here recurses, so depth cannot hurt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .source import released
from .wire import malformed

MAX_DEPTH = 64
SCAN_BLOCK = 1 << 17
PARSE_BLOCK = 1 << 18
MAX_ROW, MAX_ROW_PART = 1 << 20, 16
_QUOTE, _BACKSLASH = ord('"'), ord("\\")
_KEY = re.compile(rb'"([^"\\]{0,200})"\s*:\s*$')
_AT = re.compile(r"at character (\d+)")
_TABLE, _ROW = 2, 3

Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Span:
    """One table: its bytes inside the brackets, and the offset behind each of its rows."""

    name: str
    start: int
    end: int
    rows: Positions


@dataclass(slots=True)
class _Scan:
    """What is carried from one block of bytes to the next, and the brackets found so far."""

    depth: int = 0
    in_string: bool = False
    escaped: bool = False
    found: list[tuple[Positions, NDArray[np.int8]]] = field(default_factory=list)


def outline(data: memoryview, file: str, start: int) -> list[Span]:
    """The tables of the object that begins at byte `start`.

    Raises:
        InputError: brackets do not match, are deeper than `MAX_DEPTH`, or the file ends inside a table.
    """
    raw = np.frombuffer(data, np.uint8)
    scan = _Scan()
    for base in range(start, len(raw), SCAN_BLOCK):
        done = _scan_block(scan, raw[base : base + SCAN_BLOCK], base, file)
        released(data)
        if done:
            break
    at: Positions = np.concatenate([np.zeros(0, np.int64), *(positions for positions, _ in scan.found)])
    kind: NDArray[np.int8] = np.concatenate([np.zeros(0, np.int8), *(kinds for _, kinds in scan.found)])
    if scan.depth != 0:
        raise malformed(file, _last_name(data, at, kind), len(raw), "truncated: the JSON ends inside a value")
    return _spans(data, at, kind)


def _scan_block(scan: _Scan, block: NDArray[np.uint8], base: int, file: str) -> bool:
    """Record the brackets of tables and rows in one block; whether the root object ended in it."""
    inside = _inside_strings(scan, block)
    opens = ((block | 0x20) == ord("{")) & ~inside  # [ and { differ from { by bits that | 0x20 keeps apart from others
    closes = ((block | 0x20) == ord("}")) & ~inside
    at = np.flatnonzero(opens | closes)
    after = scan.depth + np.cumsum(np.where(opens[at], 1, -1))
    if after.size == 0:
        return False
    if after.max() > MAX_DEPTH:
        raise malformed(file, "", base + int(at[np.argmax(after > MAX_DEPTH)]), f"JSON deeper than {MAX_DEPTH} levels")
    done = np.flatnonzero(after <= 0)
    last = int(done[0]) + 1 if done.size else len(at)
    at, after, opening = at[:last], after[:last], opens[at[:last]]
    kind = np.zeros(len(at), np.int8)
    kind[opening & (after == _TABLE)] = 1
    kind[~opening & (after == _TABLE - 1)] = -1
    kind[~opening & (after == _TABLE)] = _ROW
    keep = kind != 0
    scan.found.append((at[keep] + base, kind[keep]))
    scan.depth = max(int(after[-1]), 0)
    return bool(done.size)


def _inside_strings(scan: _Scan, block: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which bytes of the block stand inside a JSON string; a quote behind an odd run of backslashes does not end one."""
    quotes = block == _QUOTE
    slashes = block == _BACKSLASH
    if scan.escaped or slashes.any():
        index = np.arange(len(block))
        before = np.maximum.accumulate(np.where(slashes, -1, index))
        run = index - np.concatenate(([-1], before[:-1])) - 1  # backslashes right before each byte
        escaped = (run % 2 == 1) ^ (scan.escaped & (run == index))
        quotes &= ~escaped
        tail = len(block) - 1 - int(before[-1])
        scan.escaped = (tail % 2 == 1) ^ (scan.escaped and tail == len(block))
    inside: NDArray[np.bool_] = (np.cumsum(quotes) + scan.in_string) % 2 == 1
    scan.in_string = bool(inside[-1])
    return inside


def _spans(data: memoryview, at: Positions, kind: NDArray[np.int8]) -> list[Span]:
    """Pair the brackets of each table and name it by the key before it."""
    opened, closed, rows = at[kind == 1], at[kind == -1], at[kind == _ROW] + 1
    spans = []
    for start, end in zip(opened.tolist(), closed.tolist(), strict=True):
        name = _key_before(data, start)
        if name and data[start] == ord("["):
            lo, hi = np.searchsorted(rows, (start + 1, end), side="right")
            spans.append(Span(name, start + 1, end, rows[lo:hi]))
    return spans


def _key_before(data: memoryview, at: int) -> str:
    """The key whose value begins at byte `at`."""
    match = _KEY.search(bytes(data[max(0, at - 256) : at]))
    return match[1].decode("utf-8", "replace") if match else ""


def _last_name(data: memoryview, at: Positions, kind: NDArray[np.int8]) -> str:
    """The table that was open last."""
    opened = at[kind == 1]
    return _key_before(data, int(opened[-1])) if opened.size else ""


def frame(data: memoryview, file: str, span: Span) -> pl.DataFrame:
    """The rows of one table, with the union of their keys as columns.

    Raises:
        InputError: what stands between the brackets is not a list of JSON objects.
    """
    parts = []
    for start, end in _blocks(span):
        parts.append(_parse(data, file, span, start, end))
        released(data)
    if not parts:
        return pl.DataFrame()
    try:
        return pl.concat(parts, how="diagonal_relaxed") if len(parts) > 1 else parts[0]
    except pl.exceptions.PolarsError as error:
        raise malformed(file, span.name, span.start, str(error).partition("\n")[0]) from error


def _blocks(span: Span) -> Iterator[tuple[int, int]]:
    """Byte ranges of whole rows, each about `PARSE_BLOCK` long."""
    start, index = span.start, 0
    while index < len(span.rows):
        index = max(index + 1, int(np.searchsorted(span.rows, start + PARSE_BLOCK)))
        end = int(span.rows[min(index, len(span.rows)) - 1])
        yield start, end
        start = end


def _parse(data: memoryview, file: str, span: Span, start: int, end: int) -> pl.DataFrame:
    """Whole rows between two bytes, as a frame."""
    most = max(MAX_ROW, len(data) // MAX_ROW_PART)
    if end - start > most:
        raise malformed(file, span.name, start, f"a row of {end - start} bytes, at most {most}")
    text = bytes(data[start:end]).lstrip(b", \t\r\n")
    try:
        return pl.read_json(BytesIO(b"[" + text + b"]"), infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        match = _AT.search(str(error))
        inside = int(match[1]) - 1 if match else 0
        near = re.findall(rb'"([^"\\]{1,100})"\s*:', text[max(0, inside - 400) : inside])
        where = f"{span.name}.{near[-1].decode('utf-8', 'replace')}" if near else span.name
        raise malformed(file, where, end - len(text) + inside, "not valid JSON") from error
