"""A NEFF: a 1024-byte header and a gzip-compressed tar. Members are read in memory, by name, within limits.

The tar is walked here rather than by `tarfile`: nothing is ever written to a path from the archive, links and special
files are skipped, and both what is unpacked and what is kept is bounded, so that a bomb ends in an error.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from nkilab.errors import InputError

from ..wire import Source

HEADER_BYTES = 1024
MAX_UNPACKED = 1 << 26
MAX_RATIO = 64
MAX_KEPT = 1 << 25
MAX_KEPT_RATIO = 3
_BLOCK = 512
_CHUNK = 1 << 18

_WANTED = re.compile(
    r"(kelf-0|info|neff|hlo_stats|kernel_debug_info)\.json"
    r"|[^/]+\.klir\.debuginfo\.json"
    r"|sg\d+/(def|tensor_map)\.json"
    r"|sg\d+/(PE|Activation|Pool|DVE|SP)\.bin"
    r"|sg\d+/debug_info_(asm|backend)_[A-Za-z]+\.dbg"
)


@dataclass(frozen=True, slots=True)
class Header:
    """The first 1024 bytes of a NEFF.

    Attributes:
        uuid: 32 hex digits, the name of this compilation; an NTFF carries the same.
        intact: whether the archive has the checksum that the header states.
        cores: physical cores per logical core (1 or 2).
    """

    uuid: str
    name: str
    major: int
    minor: int
    data_bytes: int
    cores: int
    checksum: str
    intact: bool

    def facts(self) -> dict[str, str]:
        """The header as the vendor's `neff_header` table names its fields."""
        return {
            "uuid": self.uuid,
            "network_name": self.name,
            "major_version": str(self.major),
            "minor_version": str(self.minor),
            "data_size": str(self.data_bytes),
            "header_size": str(HEADER_BYTES),
            "number_of_neuroncores_per_lnc": str(self.cores),
            "hash": self.checksum,
        }


def header(source: Source) -> Header:
    """Read the header.

    Raises:
        InputError: not a NEFF, or cut short.
    """
    data = source.data

    def number(at: int) -> int:
        return int.from_bytes(data[at : at + 8], "little")

    if len(data) < HEADER_BYTES or number(0) != 2 or number(8) != HEADER_BYTES:
        raise source.fail("package version", 0, "not a NEFF of package version 2")
    if number(16) > len(data) - HEADER_BYTES:
        raise source.fail("data size", 16, f"{number(16)} bytes of data where {len(data) - HEADER_BYTES} are left")
    stated = bytes(data[172:188])
    found = hashlib.md5(data[HEADER_BYTES : HEADER_BYTES + number(16)], usedforsecurity=False).digest()
    swapped = b"".join(stated[i : i + 4][::-1] for i in range(0, 16, 4))  # compilers before 2.27
    return Header(
        uuid=bytes(data[204:220]).hex(),
        name=bytes(data[220:544]).split(b"\0")[0].decode("utf-8", "replace"),
        major=number(24),
        minor=number(32),
        data_bytes=number(16),
        cores=max(number(552), 1),
        checksum=stated.hex(),
        intact=found in (stated, swapped),
    )


def members(source: Source, head: Header) -> dict[str, Source]:
    """The members that are read here, by name, each as a Source of its own.

    Raises:
        InputError: the archive is damaged, or unpacks to more than the limits above.
    """
    end = HEADER_BYTES + head.data_bytes
    kept, room = {}, MAX_KEPT + MAX_KEPT_RATIO * len(source.data)
    stream = _Unpacked(source, HEADER_BYTES, end)
    for name, size in _entries(stream):
        if not _WANTED.fullmatch(name) or name in kept:
            stream.skip(_padded(size))
            continue
        room -= size
        if room < 0:
            raise stream.fail(name, "more to keep than a NEFF of this size may hold")
        kept[name] = Source(stream.read(size), f"{source.file}:{name}")
        stream.skip(_padded(size) - size)
    return kept


def _padded(size: int) -> int:
    """Bytes that a member of `size` takes in the tar."""
    return -(-size // _BLOCK) * _BLOCK


def _entries(stream: _Unpacked) -> Iterator[tuple[str, int]]:
    """Name and size of each member; anything but a plain file has an empty name, so that it is skipped."""
    while any(block := stream.read(_BLOCK)):
        summed = sum(block) - sum(block[148:156]) + 8 * ord(" ")
        size, stated = _octal(stream, block, 124, 12), _octal(stream, block, 148, 8)
        if summed != stated:
            raise stream.fail("tar checksum", f"a tar header with checksum {stated}, computed {summed}")
        parts = [block[a:b].split(b"\0")[0].decode("utf-8", "replace") for a, b in ((345, 500), (0, 100))]
        name = "/".join(part for part in parts if part).removeprefix("./")
        yield (name if block[156:157] in (b"0", b"\0") else ""), size


def _octal(stream: _Unpacked, block: bytes, at: int, width: int) -> int:
    """One number of a tar header."""
    digits = block[at : at + width].rstrip(b"\0 ").lstrip(b" ")
    if not re.fullmatch(rb"[0-7]*", digits):
        raise stream.fail("tar header", f"{block[at : at + width]!r} where an octal number belongs")
    return int(digits or b"0", 8)


class _Unpacked:
    """The decompressed stream, read forwards, with a limit on its length."""

    __slots__ = ("_at", "_buffer", "_end", "_gunzip", "_left", "_source", "_unpacked")

    def __init__(self, source: Source, start: int, end: int) -> None:
        self._source, self._at, self._end = source, start, end
        self._gunzip = zlib.decompressobj(wbits=31)
        self._buffer = b""
        self._unpacked = 0
        self._left = MAX_UNPACKED + MAX_RATIO * (end - start)

    def fail(self, field: str, what: str) -> InputError:
        """The error at the present position."""
        return self._source.fail(field, self._at, f"{what} ({self._unpacked} bytes into the unpacked archive)")

    def read(self, size: int) -> bytes:
        """The next `size` bytes."""
        parts = []
        while size > 0:
            if not self._buffer:
                self._fill()
            part, self._buffer = self._buffer[:size], self._buffer[size:]
            size -= len(part)
            parts.append(part)
        return b"".join(parts)

    def skip(self, size: int) -> None:
        """Pass over `size` bytes without keeping them."""
        while size > 0:
            if not self._buffer:
                self._fill()
            passed = min(size, len(self._buffer))
            self._buffer = self._buffer[passed:]
            size -= passed

    def _fill(self) -> None:
        """Decompress the next piece."""
        while not self._buffer:
            data = self._gunzip.unconsumed_tail
            if not data:
                if self._at >= self._end or self._gunzip.eof:
                    raise self.fail("archive", "the archive ends too early")
                data = bytes(self._source.data[self._at : min(self._at + _CHUNK, self._end)])
                self._at += len(data)
            try:
                self._buffer = self._gunzip.decompress(data, _CHUNK)
            except zlib.error as error:
                raise self.fail("archive", f"damaged compression ({error})") from error
        self._unpacked += len(self._buffer)
        self._left -= len(self._buffer)
        if self._left < 0:
            raise self.fail("archive", "it unpacks to far more than its size")
