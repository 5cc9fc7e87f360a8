"""The first 128 bytes of an NTFF, and what a file that is none of ours probably is."""

from __future__ import annotations

from dataclasses import dataclass

from nkilab.errors import InputError

from ..wire import Source

VERSIONS = (4, 5, 6)
HEADER_BYTES = 128
_NEWER = range(7, 32)
MAX_RECORD = 1 << 24
_GZIP, _ZIP, _ZSTD, _PARQUET = b"\x1f\x8b", b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"PAR1"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of an NTFF lie: the metadata message in [128, raw), records and code from `raw` on."""

    version: int
    raw: int


def layout(source: Source) -> Layout:
    """Read the header.

    Raises:
        InputError: not an NTFF, one of an unknown version, or cut short; the error names what the file looks like.
    """
    data = source.data
    size = len(data)
    version = data[0] if size else 0
    if version not in VERSIONS or size < HEADER_BYTES:
        raise _not_ours(source, version, size)
    length = int.from_bytes(data[1:8], "little")
    if length > size - HEADER_BYTES:
        raise source.fail("metadata length", 1, f"{length} bytes of metadata where {size - HEADER_BYTES} are left")
    return Layout(version, HEADER_BYTES + length)


def _not_ours(source: Source, version: int, size: int) -> InputError:
    """The error for another kind of file."""
    kind, fix = _guess(source, size)
    if not kind and version in VERSIONS:
        return source.fail("header", size, f"an NTFF cut short: {size} bytes of a header of {HEADER_BYTES}")
    if not kind and not size:
        return source.fail("version", 0, "an empty file")
    if not kind and version in _NEWER:
        kind, fix = (
            f"NTFF version {version}; known are 4, 5 and 6",
            "look for a newer nkilab, or export it as Parquet with the vendor's tool",
        )
        return InputError(f"{source.file}: {kind}", values=f"file {source.file}, offset 0, field version", fix=fix)
    if not kind:
        return source.fail("version", 0, f"NTFF version {version}; known are 4, 5 and 6")
    return InputError(
        f"{source.file}: {kind}, not an NTFF", values=f"file {source.file}, offset 0, field version", fix=fix
    )


def _guess(source: Source, size: int) -> tuple[str, str]:
    """What the bytes look like, and how to open that; empty strings where nothing fits."""
    head = bytes(source.data[:8])
    if is_records(source):
        return "a system trace (ntrace.pb and its like)", "open the folder it lies in: the inspect folder"
    if head[:1] in b"{[" and size:
        return "JSON text", "open it as .json"
    if head[:4] == _PARQUET:
        return "a Parquet file", "open the folder it lies in"
    if head[:2] == _GZIP or head[:4] in (_ZIP, _ZSTD):
        return "a compressed file or archive", "unpack it, and open what is in it"
    if size >= 1024 and int.from_bytes(head, "little") == 2:
        return "a NEFF (compiled program)", "give it beside an NTFF, as neff="
    return "", ""


def is_records(source: Source) -> bool:
    """Whether the bytes are (u32 length, protobuf message) records, as in ntrace.pb: the first three must fit."""
    data, at = source.data, 0
    for _ in range(3):
        length = int.from_bytes(data[at : at + 4], "little")
        if (
            not 2 <= length <= min(MAX_RECORD, len(data) - at - 4)
            or data[at + 4] & 7 not in (0, 1, 2, 5)
            or data[at + 4] < 8
        ):
            return False
        at += 4 + length
        if at == len(data):
            return True
    return True


def refusal(source: Source) -> InputError | None:
    """Why a file cannot be opened as an NTFF: what it is instead, its version, or where it was cut short.

    None for an NTFF whose header is whole, for text, and for bytes of no kind known here.
    """
    version, size = source.data[0] if len(source.data) else 0, len(source.data)
    length = int.from_bytes(source.data[1:8], "little")
    likely = version in VERSIONS or (version < ord(" ") and 0 < length <= size - HEADER_BYTES)
    known = source.data[:1] not in (b"{", b"[") and _guess(source, size)[0]
    if not (likely or known or source.file.endswith(".ntff") or is_records(source)):
        return None
    try:
        layout(source)
    except InputError as error:
        return error
    return None
