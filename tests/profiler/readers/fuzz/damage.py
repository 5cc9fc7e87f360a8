"""Ways to damage a file: bytes of any kind, tokens of JSON and text, members of a NEFF, columns of a Parquet file."""

from __future__ import annotations

import gzip
import io
import random
import re
import struct
import tarfile
from collections.abc import Callable

import polars as pl

_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
_HEAD = 4096
_TOKEN = re.compile(rb'"[^"\\]{0,80}"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[\[\]{}:,]|true|false|null')
_WORDS = (
    b"0", b"-1", b"1e308", b"-1e308", b"1e999", b"NaN", b"Infinity", b"9223372036854775807", b"9223372036854775808",
    b"-9223372036854775809", b"18446744073709551616", b"1" * 400, b'""', b'"x"', b'"\\ud800"', b'"\\u0000"', b'"' + b"y" * 5000 + b'"',
    b"null", b"true", b"[]", b"{}", b"[1]", b'[["a"]]', b'{"a": [1]}', b"[" * 200, b"{" * 70, b'"engine"', b'"timestamp"', b"\xff\xfe",
    b"", b",", b"]", b"}", b'"', b"\\", b"\x00",
)  # fmt: skip
_NAMES = ("timestamp", "duration", "start_timestamp", "subgroup", "key", "x" * 300)
_COLUMNS: tuple[Callable[[int], pl.Series], ...] = (
    lambda n: pl.Series(["x"] * n, dtype=pl.String),
    lambda n: pl.Series([None] * n, dtype=pl.Null),
    lambda n: pl.Series([float("nan"), float("inf"), 1e308, -1e308] * n, dtype=pl.Float64)[:n],
    lambda n: pl.Series([(1 << 63) - 1, -(1 << 63), -1] * n, dtype=pl.Int64)[:n],
    lambda n: pl.Series([(1 << 64) - 1] * n, dtype=pl.UInt64),
    lambda n: pl.Series([[1, 2]] * n, dtype=pl.List(pl.Int64)),
    lambda n: pl.Series([[["a"]]] * n, dtype=pl.List(pl.List(pl.String))),
    lambda n: pl.Series([{"a": 1}] * n, dtype=pl.Struct({"a": pl.Int64})),
    lambda n: pl.Series([b"\xff\x00"] * n, dtype=pl.Binary),
    lambda n: pl.Series([True] * n, dtype=pl.Boolean),
    lambda n: pl.Series([0] * n, dtype=pl.Int64).cast(pl.Datetime),
    lambda n: pl.Series([0] * n, dtype=pl.Int64).cast(pl.Duration),
    lambda n: pl.Series(["a"] * n).cast(pl.Categorical),
)


def of_bytes(data: bytes, chance: random.Random) -> bytes:
    """`data` with one to four things wrong, the first 4 KB hit as often as all the rest."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        out = _one(out, chance)
    return bytes(out)


def _one(out: bytearray, chance: random.Random) -> bytearray:
    """One thing wrong."""
    if not out:
        return bytearray(chance.randbytes(8))
    end = min(len(out), _HEAD) if chance.random() < 0.5 else len(out)
    at, size = chance.randrange(end), chance.choice((1, 2, 4, 8, 64))
    match chance.randrange(7):
        case 0:
            out[at] ^= 1 << chance.randrange(8)
        case 1:
            out[at : at + size] = chance.randbytes(size)[: len(out) - at]
        case 2:
            out[at : at + 8] = struct.pack("<Q", chance.choice(_EXTREMES))[: len(out) - at]
        case 3:
            del out[at:]
        case 4:
            del out[at : at + size]
        case 5:
            out[at:at] = chance.randbytes(size)
        case _:
            piece = out[at : at + chance.choice((16, 256))]
            where = chance.randrange(end)
            out[where:where] = piece
    return out


def of_text(data: bytes, chance: random.Random) -> bytes:
    """JSON or text with a few tokens replaced by hostile ones, or with damaged bytes."""
    if chance.random() < 0.3:
        return of_bytes(data, chance)
    out = data
    for _ in range(chance.choice((1, 1, 2, 5))):
        start = chance.randrange(max(len(out) - 200, 1))
        tokens = list(_TOKEN.finditer(out, start, start + 400))
        if tokens:
            token = chance.choice(tokens)
            out = out[: token.start()] + chance.choice(_WORDS) + out[token.end() :]
    return out


def of_neff_member(data: bytes, chance: random.Random) -> bytes:
    """A NEFF with one member damaged and the archive whole again."""
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data[1024:]))) as tar:
        files = {entry.name: tar.extractfile(entry).read() for entry in tar if entry.isfile()}  # type: ignore[union-attr]
    wanted = [name for name in files if name.endswith((".dbg", ".json", "PE.bin"))]
    victim = chance.choice(wanted)
    files[victim] = (of_text if victim.endswith(".json") else of_bytes)(files[victim], chance)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    body = gzip.compress(out.getvalue(), 1)
    return data[:16] + struct.pack("<Q", len(body)) + data[24:1024] + body


def of_parquet(data: bytes, chance: random.Random) -> bytes:
    """A table with columns of other types, with fewer columns or without rows; or with damaged bytes."""
    if chance.random() < 0.5:
        return of_bytes(data, chance)
    frame = pl.read_parquet(io.BytesIO(data))
    for _ in range(chance.choice((1, 1, 3))):
        name = chance.choice(frame.columns)
        match chance.randrange(8):
            case 0 if frame.width > 1:
                frame = frame.drop(name)
            case 1:
                frame = frame.head(0)
            case 2 if (new := chance.choice((*_NAMES, name.upper(), f"{name}*"))) not in frame.columns:
                frame = frame.rename({name: new})
            case _:
                frame = frame.with_columns(chance.choice(_COLUMNS)(frame.height).alias(name))
    out = io.BytesIO()
    frame.write_parquet(out)
    return out.getvalue()
