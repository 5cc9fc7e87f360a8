"""Hostile paths and archives: nothing is followed out of them, nothing takes long or much, every refusal is ours."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import struct
import tarfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from nkilab.errors import InputError, NkilabError, UsageError
from nkilab.profiler import sample
from nkilab.profiler.readers import candidates, read
from tests.profiler import makers

DEEP = 10_000


@pytest.fixture
def ntff(tmp_path: Path) -> Path:
    return sample.write(tmp_path / "sample")


def neff_with(neff: Path, *entries: tarfile.TarInfo, content: bytes = b"") -> None:
    """Put entries in front of a NEFF's own."""
    data = neff.read_bytes()
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data[1024:]))) as old, tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as new:  # fmt: skip
        for entry in entries:
            entry.size = len(content) if entry.isfile() else 0
            new.addfile(entry, io.BytesIO(content) if entry.isfile() else None)
        for entry in old:
            new.addfile(entry, old.extractfile(entry))
    body = gzip.compress(out.getvalue())
    neff.write_bytes(data[:16] + struct.pack("<Q", len(body)) + data[24:1024] + body)


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    "member",
    [
        entry("/etc/passwd"), entry("../../outside"), entry("sg00/../../outside"), entry("a" * 90 + "/../x"),
        entry("sg00/PE.bin", tarfile.SYMTYPE, "/etc/passwd"), entry("info.json", tarfile.LNKTYPE, "../../x"),
        entry("kelf-0.json", tarfile.SYMTYPE, "kelf-0.json"), entry("info.json", tarfile.FIFOTYPE), entry("hlo_stats.json", tarfile.CHRTYPE),
        entry("sg00", tarfile.DIRTYPE), entry("info.json/", tarfile.DIRTYPE),
    ],
    ids=lambda info: f"{info.name[-20:]}-{info.type.decode()}",
)  # fmt: skip
def test_members_that_point_elsewhere_are_passed_over(member: tarfile.TarInfo, ntff: Path, tmp_path: Path) -> None:
    before = read(ntff).table("Instruction")
    neff_with(ntff.parent / "softmax_matmul.neff", member, content=b"x" * 700)
    outside = set(tmp_path.rglob("*"))
    assert read(ntff).table("Instruction").equals(before)
    assert set(tmp_path.rglob("*")) == outside


def test_a_gzip_bomb_ends_in_an_error_within_bounds(ntff: Path) -> None:
    neff = ntff.parent / "softmax_matmul.neff"
    big = tarfile.TarInfo("sg00/PE.bin")
    big.size = 1 << 30
    zeros = gzip.compress(big.tobuf() + bytes(1 << 28), 9)
    neff.write_bytes(neff.read_bytes()[:16] + struct.pack("<Q", len(zeros)) + neff.read_bytes()[24:1024] + zeros)
    tracemalloc.start()
    with pytest.raises(InputError):
        read(ntff)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


NUMBERS = [
    "1e308",
    "-1e308",
    "1e999",
    "NaN",
    "Infinity",
    "-1",
    "9223372036854775808",
    "18446744073709551616",
    "1" * 5000,
]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("key", ["timestamp", "duration", "pc", "elements", "id"])
def test_any_number_in_a_device_json(key: str, number: str, tmp_path: Path) -> None:
    good = '"timestamp": 1, "duration": 2, "subgroup": "Tensor", "opcode": "MATMUL", "elements": 3, "pc": 1, "id": 5'
    path = tmp_path / "p.json"
    path.write_text(
        f'{{"instruction": [{{{good}, "{key}": {number}}}], "metadata": [{{"last_hw_timestamp": {number}}}]}}'
    )
    ask(path)


def ask(path: Path) -> None:
    """Open a profile and ask it; whatever it answers, errors are ours."""
    with contextlib.suppress(NkilabError):
        p = read(path)
        for name in p.names:
            p.table(name)
        for question in (p.summary, p.engines, p.lines, p.doctor):
            with contextlib.suppress(NkilabError):
                str(question())


@pytest.mark.parametrize("text", ["[" * DEEP, '{"a":' * DEEP, '{"instruction": [' + "[" * DEEP, '{"n_1": {"a": ' + "[" * DEEP + "]" * DEEP + "}}"])  # fmt: skip
def test_depth(text: str, tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_text(text)
    with pytest.raises(InputError):
        read(path)


def test_a_row_of_a_megabyte_is_no_row(tmp_path: Path) -> None:
    """A damaged quote can make one row of a whole table, whose values would take many times its text."""
    row = {"timestamp": 0, "duration": 1, "opcode": "x" * 2_000_000, "nc_idx": 0}
    path = makers.write(tmp_path / "p.json", makers.device_json(instruction=[row]))
    with pytest.raises(InputError, match=r"a row of 2000\d+ bytes, at most 1048576"):
        read(path)


def test_depth_inside_a_neff(ntff: Path) -> None:
    neff_with(ntff.parent / "softmax_matmul.neff", entry("info.json"), content=b'{"a":' * DEEP)
    with pytest.raises(InputError, match=r"info\.json"):
        read(ntff)


@pytest.fixture
def unreadable(tmp_path: Path) -> Iterator[Path]:
    """A file that may not be read."""
    path = makers.write(tmp_path / "secret.json", makers.device_json())
    path.chmod(0)
    if os.access(path, os.R_OK):
        path.chmod(0o644)
        pytest.skip("this user may read everything")
    yield path
    path.chmod(0o644)


def test_a_file_without_permission(unreadable: Path) -> None:
    with pytest.raises(InputError, match="ermission"):
        read(unreadable)
    with pytest.raises(InputError, match="without any profile"):
        read(unreadable.parent)


def test_loops_of_links_odd_names_and_folders_named_like_files(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "up").symlink_to(tmp_path)
    (tmp_path / "profile.ntff").mkdir()
    (tmp_path / "ntrace.pb").mkdir()
    (tmp_path / "manifest.json").mkdir()
    (tmp_path / "Instruction.parquet").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path / "loop", tmp_path / "profile.ntff", tmp_path / "ntrace.pb", tmp_path / "no such\nfile"):
        with pytest.raises(InputError):
            read(path)
    assert candidates(tmp_path) == []


def test_a_pipe_or_device_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(InputError):
            read(path)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "/".join(["d"] * 5000)])
def test_paths_that_no_file_system_takes(name: str) -> None:
    with pytest.raises(InputError):
        read(name)


def test_a_name_that_is_no_unicode(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/pro\xfffile.json"
    try:
        os.rename(makers.write(tmp_path / "p.json", makers.device_json()), raw)  # noqa: PTH104
    except OSError:
        pytest.skip("this file system takes only Unicode names")
    p = read(os.fsdecode(raw))
    assert str(p.engines())
    assert p.save(tmp_path / "saved").is_dir()
    assert read(tmp_path / "saved").table("Instruction").equals(p.table("Instruction"))
    os.rename(sample.write(tmp_path / "sample").parent, os.fsencode(tmp_path) + b"/\xff")  # noqa: PTH104
    assert read(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).has("Instruction")
    with pytest.raises(UsageError) as several:
        read(tmp_path)
    str(several.value).encode()
    with pytest.raises(InputError) as missing:
        read(os.fsdecode(raw + b".gone"))
    str(missing.value).encode()


HOSTILE_FILES = [
    "../../../etc/passwd",
    "/etc/passwd",
    "a\0b",
    "x" * 5000,
    "/".join(["d"] * 500),
    "loop/x",
    "",
    ".",
    "..",
]


@pytest.mark.parametrize("file", HOSTILE_FILES)
def test_source_paths_of_a_profile_lead_nowhere_but_under_the_root(file: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "loop").symlink_to(root / "loop")
    (root / "passwd").symlink_to("/etc/passwd")
    row = makers.instruction(0, 9, "Tensor", "MATMUL", nki_source_location=f"{file}:3")
    path = makers.write(tmp_path / "p.json", makers.device_json(instruction=[row]))
    p = read(path, source_root=root)
    assert not p.has("Source")
    assert str(p.doctor())


def test_a_source_root_that_is_no_folder_is_said(ntff: Path, tmp_path: Path) -> None:
    for root in (tmp_path / "none", ntff):
        with pytest.raises(UsageError, match="no such folder"):
            read(ntff, source_root=root)


def test_pipes_and_folders_in_place_of_files_are_not_waited_for(ntff: Path, tmp_path: Path) -> None:
    """Beside an NTFF, as its NEFF, as tables, as parts of a system trace, as sources."""
    os.mkfifo(ntff.parent / "a.neff")
    (ntff.parent / "b.neff").symlink_to("/dev/zero")
    (ntff.parent / "c.neff").mkdir()
    root = tmp_path / "sources"
    root.mkdir()
    os.mkfifo(root / "softmax_matmul.py")
    assert read(ntff, source_root=root).has("Instruction", "file")
    for neff in (ntff.parent / "a.neff", ntff.parent / "c.neff"):
        with pytest.raises(InputError, match="not a file"):
            read(ntff, neff)
    for name in ("Instruction.parquet", "manifest.json", "trace_info.pb"):
        (tmp_path / name[:5]).mkdir()
        os.mkfifo(tmp_path / name[:5] / name)
        with pytest.raises(InputError):
            read(tmp_path / name[:5])


def test_a_parquet_page_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path: Path) -> None:
    """One text of 128 MB, which zstd packs into a few kilobytes."""
    pl.DataFrame({"opcode": ["x" * (1 << 27)]}).write_parquet(tmp_path / "Instruction.parquet", compression="zstd")
    assert (tmp_path / "Instruction.parquet").stat().st_size < 1 << 17
    with pytest.raises(InputError, match="far more than its size"):
        read(tmp_path)


@pytest.mark.parametrize("compression", ["uncompressed", "snappy", "gzip", "zstd", "lz4", "brotli"])
@pytest.mark.parametrize("rows", [0, 1, 300_000])
def test_any_sound_parquet_passes_the_same_checks(compression: Any, rows: int, tmp_path: Path) -> None:
    """The twin: all encodings, several row groups and pages, nested columns, no rows."""
    frame = pl.DataFrame({"start_ts": pl.int_range(rows, eager=True), "opcode": ["MATMUL"] * rows, "x": [[1, 2]] * rows}, schema_overrides={"x": pl.List(pl.Int64)})  # fmt: skip
    frame.write_parquet(
        tmp_path / "Instruction.parquet", compression=compression, row_group_size=100_000, data_page_size=10_000
    )
    assert read(tmp_path).table("Instruction")["start_ts"].sum() == rows * (rows - 1) // 2


def test_a_small_parquet_of_very_many_rows_is_refused(tmp_path: Path) -> None:
    rows = pl.DataFrame({"start_ts": pl.repeat(0, 1 << 24, dtype=pl.Int64, eager=True)})
    rows.write_parquet(tmp_path / "Instruction.parquet", compression="zstd")
    assert (tmp_path / "Instruction.parquet").stat().st_size < 1 << 17
    with pytest.raises(InputError, match="rows"):
        read(tmp_path)
