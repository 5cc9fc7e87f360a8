"""A NEFF from elsewhere: what is in it is read in memory and within limits, whatever it claims."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from nkilab.errors import InputError
from nkilab.profiler import sample
from nkilab.profiler.readers.neff import archive, program
from nkilab.profiler.readers.wire import Source


def packed(files: dict[str, bytes], **kind: bytes) -> bytes:
    """A NEFF around a tar of `files`; `kind` gives an entry another type."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.type = len(content), kind.get(name.partition(".")[0], tarfile.REGTYPE)
            entry.linkname = "/etc/passwd" if entry.type == tarfile.SYMTYPE else ""
            tar.addfile(entry, io.BytesIO(content))
    return headed(gzip.compress(out.getvalue()))


def headed(data: bytes) -> bytes:
    head = bytearray(sample.neff(sample.demo())[:1024])
    head[16:24] = len(data).to_bytes(8, "little")
    return bytes(head) + data


def opened(data: bytes) -> dict[str, bytes]:
    source = Source(data, "x.neff")
    return {name: bytes(member.data) for name, member in archive.members(source, archive.header(source)).items()}


def test_members_by_name() -> None:
    files = {"info.json": b"{}", "sg00/PE.bin": bytes(64), "sg00/value_x.npy": b"left out"}
    assert opened(packed(files)) == {"info.json": b"{}", "sg00/PE.bin": bytes(64)}


@pytest.mark.parametrize("name", ["../info.json", "/info.json", "sg00/../../def.json", "sg00/PE.bin/../../x"])
def test_paths_out_of_the_archive_are_no_members(name: str) -> None:
    assert opened(packed({name: b"{}"})) == {}


def test_links_are_not_followed() -> None:
    assert opened(packed({"info.json": b""}, info=tarfile.SYMTYPE)) == {}


def test_a_bomb_ends_in_an_error() -> None:
    bomb = headed(gzip.compress(bytes(archive.MAX_UNPACKED * 2)))
    big = packed({"other": bytes(archive.MAX_UNPACKED * 2)})
    assert len(bomb) < 1 << 18
    assert opened(bomb) == {}, "zeros end a tar"
    with pytest.raises(InputError, match="unpacks to far more than its size"):
        opened(big)


def test_a_member_too_large_to_keep_ends_in_an_error() -> None:
    with pytest.raises(InputError, match="more to keep"):
        opened(packed({"sg00/PE.bin": bytes(archive.MAX_KEPT + (1 << 20))}))


def test_a_damaged_tar_header_is_named() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("info.json"))
    raw = bytearray(out.getvalue())
    raw[0] ^= 1
    with pytest.raises(InputError, match="tar header with checksum"):
        opened(headed(gzip.compress(bytes(raw))))


@pytest.mark.parametrize("keep", [0, 100, 1024, 1100])
def test_cut_short(keep: int) -> None:
    with pytest.raises(InputError, match=r"x\.neff"):
        opened(sample.neff(sample.demo())[:keep])


@pytest.mark.parametrize("text", ["[]", "{", '{"a": ' + "[" * 100_000, '{"a": 1' + "0" * 5000 + "}"])
def test_hostile_json_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"x\.neff:info\.json"):
        program.parse(Source(packed({"info.json": text.encode()}), "x.neff"))


def test_numbers_of_the_wrong_kind_in_json_are_left_out() -> None:
    files = {
        "sg00/def.json": b'{"runtime_semaphore_count": "3", "dma_queue": {"q": {"semaphore_set": ["x", 8]}, "r": 5}}',
        "sg00/tensor_map.json": b'{"t": {"dtype": 5, "sim_shape": [1e400, -3, 2, 99999999999999999999]}, "u": []}',
    }
    found = program.parse(Source(packed(files), "x.neff"))
    assert found.semaphores == {"sg00": {8: "q"}}
    assert found.tensors.rows() == [("t", None, "", "[2]", None)]


def test_the_checksum_tells_a_changed_archive() -> None:
    good = sample.neff(sample.demo())
    assert archive.header(Source(good, "x")).intact
    assert not archive.header(Source(good[:-1] + bytes([good[-1] ^ 1]), "x")).intact


def test_real_headers(shared_profiles: Path) -> None:
    for path in shared_profiles.glob("*/*/*.neff"):
        found = program.read(path)
        assert found.header.intact
        assert (found.target, found.header.cores) == ("trn2", 2)
        assert found.compiler == "2.23.6484.0+3b612583"
