"""Which file is what: other kinds, other versions, the wrong NEFF, names of captures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from nkilab.errors import InputError, UsageError
from nkilab.profiler import sample
from nkilab.profiler.readers import ntff, read
from nkilab.profiler.readers.ntff import CaptureName, group, parse, refusal
from nkilab.profiler.readers.wire import Source
from nkilab.profiler.sample.wire import message


def refused(path: Path, content: bytes) -> str:
    """The error of the NTFF reader; where the file is found by what it holds, the same one."""
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        ntff.read(path)
    with pytest.raises(InputError):
        read(path)
    return str(error.value)


def refused_by_content(path: Path, content: bytes) -> str:
    """The error for a file of any name."""
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read(path)
    return str(error.value)


@pytest.mark.parametrize("name", ["profile.ntff", "profile", "profile.json"])
def test_what_a_damaged_or_mistaken_ntff_is_does_not_hang_on_its_name(name: str, tmp_path: Path) -> None:
    whole = sample.ntff(sample.demo())
    record = message((2, 1_700_000_000_000_000_000), (7, 3), (9, 9), (14, 1), (15, 1))
    trace = (len(record).to_bytes(4, "little") + record) * 4
    assert "a system trace (ntrace.pb and its like), not an NTFF" in refused_by_content(tmp_path / name, trace)
    assert "NTFF version 7; known are 4, 5 and 6" in refused_by_content(tmp_path / name, b"\x07" + whole[1:])
    assert "an NTFF cut short" in refused_by_content(tmp_path / name, whole[:100])
    assert "bytes of metadata where" in refused_by_content(tmp_path / name, whole[:1000])
    assert "outside the file" in refused_by_content(tmp_path / name, whole[:-16])


def test_a_system_trace_given_as_ntff_is_named(tmp_path: Path) -> None:
    record = message((2, 1_700_000_000_000_000_000), (7, 3), (9, 9), (14, 1), (15, 1))
    text = refused(tmp_path / "profile.ntff", (len(record).to_bytes(4, "little") + record) * 4)
    assert "a system trace (ntrace.pb and its like), not an NTFF" in text
    assert "inspect folder" in text


def test_a_real_system_trace_too(shared_profiles: Path, tmp_path: Path) -> None:
    text = refused(tmp_path / "profile.ntff", (shared_profiles / "trn2-inspect" / "ntrace.pb").read_bytes())
    assert "a system trace" in text


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b'{"instruction": []}', "JSON text"),
        (b"PAR1" + bytes(200), "a Parquet file"),
        (b"\x1f\x8b" + bytes(200), "a compressed file"),
        (bytes([7]) + bytes(200), "NTFF version 7; known are 4, 5 and 6"),
    ],
)
def test_other_kinds_are_named(tmp_path: Path, content: bytes, named: str) -> None:
    assert named in refused(tmp_path / "a.ntff", content)


def test_a_neff_given_as_ntff_is_named(tmp_path: Path) -> None:
    assert "a NEFF (compiled program)" in refused(tmp_path / "a.ntff", sample.neff(sample.demo()))


@pytest.mark.parametrize("keep", [1, 100, 128, 2000])
def test_a_file_cut_short_says_where(tmp_path: Path, keep: int) -> None:
    text = refused(tmp_path / "a.ntff", sample.ntff(sample.demo())[:keep])
    assert "a.ntff" in text
    assert "offset" in text
    assert "field" in text


def test_the_neff_is_found_by_uuid_among_others(tmp_path: Path) -> None:
    path = sample.write(tmp_path)
    other = dataclasses.replace(sample.demo(), uuid=bytes(range(101, 117)))
    (tmp_path / "a_first_by_name.neff").write_bytes(sample.neff(other))
    assert ntff.read(path).facts["neff_file"].endswith("softmax_matmul.neff")


def test_the_wrong_neff_is_refused_with_both_uuids(tmp_path: Path) -> None:
    path = sample.write(tmp_path)
    wrong = tmp_path / "wrong.neff"
    wrong.write_bytes(sample.neff(dataclasses.replace(sample.demo(), uuid=bytes(range(101, 117)))))
    with pytest.raises(UsageError) as error:
        ntff.read(path, wrong)
    assert "wrong.neff is not the NEFF of" in str(error.value)
    assert "0102030405060708090a0b0c0d0e0f10" in str(error.value)


def test_a_neff_of_another_compilation_with_the_same_uuid_is_noticed(tmp_path: Path) -> None:
    path = sample.write(tmp_path)
    run = sample.demo()
    programs = tuple(tuple(reversed(program)) for program in run.cores[0].programs)
    (tmp_path / "softmax_matmul.neff").write_bytes(
        sample.neff(dataclasses.replace(run, cores=(dataclasses.replace(run.cores[0], programs=programs),)))
    )
    assert any("differ from the NEFF's program" in note for note in ntff.read(path).notes)


def test_without_a_neff_times_remain_and_a_note_says_what_is_missing(tmp_path: Path) -> None:
    path = sample.write(tmp_path)
    (tmp_path / "softmax_matmul.neff").unlink()
    profile = ntff.read(path)
    assert profile.table("Instruction").height == 73
    assert profile.table("Instruction")["line"].null_count() == 73
    assert any("no NEFF with uuid 0102030405060708090a0b0c0d0e0f10" in note for note in profile.notes)


def test_sections_over_the_same_bytes_are_refused(tmp_path: Path) -> None:
    section = message((1, 0), (5, 0), (6, 16), (7, 4))
    graph = message((1, "sg00"), (3, 4))
    top = message((4, message((4, message((1, graph))))), (16, section), (16, section))
    data = b"\6" + len(top).to_bytes(7, "little") + bytes(120) + top + bytes(16)
    assert "two sections over the same bytes" in refused(tmp_path / "a.ntff", data)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("profile.ntff", CaptureName("profile")),
        ("profile_exec_2.ntff", CaptureName("profile", execution=2)),
        ("profile_rank_3.ntff", CaptureName("profile", rank=3)),
        ("profile_rank_3_exec_12.ntff", CaptureName("profile", 3, 12)),
        ("10001_instid_0_vnc_4.ntff", CaptureName("10001", core=4)),
        ("profile_nc_1_session_7.ntff", CaptureName("profile", core=1, session=7)),
        ("my_executor.ntff", CaptureName("my_executor")),
    ],
)
def test_names_of_captures(name: str, parts: CaptureName) -> None:
    assert parse(name) == parts


def test_files_of_one_run_are_grouped_by_rank_then_execution() -> None:
    names = ["p_rank_10_exec_1.ntff", "p_rank_2_exec_2.ntff", "q.ntff", "p_rank_2_exec_1.ntff"]
    assert group(names) == {
        "p": ["p_rank_2_exec_1.ntff", "p_rank_2_exec_2.ntff", "p_rank_10_exec_1.ntff"],
        "q": ["q.ntff"],
    }


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("profile.ntff", bytes([7]) + bytes(300), "NTFF version 7"),
        ("a", sample.ntff(sample.demo())[:1000], "bytes of metadata where"),
        ("ntrace.pb", (b"\x06\0\0\0" + message((2, 300), (7, 1), (14, 1))[:6]) * 3, "a system trace"),
        ("a.ntff", b'{"instruction": []}', "JSON text"),
        ("a.json", b'{"instruction": []}', None),
        ("whole", sample.ntff(sample.demo()), None),
    ],
)
def test_why_a_binary_file_is_refused(name: str, content: bytes, said: str | None) -> None:
    error = refusal(Source(content, name))
    assert (said is None) == (error is None)
    assert said is None or said in str(error)
