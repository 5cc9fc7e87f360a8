"""Several profiles in one folder: the error lists them with what their names say, and `select` takes one."""

from __future__ import annotations

from pathlib import Path

import pytest

from nkilab.errors import InputError, UsageError
from nkilab.profiler import sample
from nkilab.profiler.readers import candidates, read
from tests.profiler.readers.fuzz.targets import made_inspect

NAMES = [f"profile_rank_{rank}_exec_{execution}.ntff" for rank in (0, 1, 10) for execution in (1, 2)]


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    """Six captures of one run, and their NEFF."""
    folder = tmp_path / "captures"
    folder.mkdir()
    run = sample.demo()
    (folder / "kernel.neff").write_bytes(sample.neff(run))
    for name in NAMES:
        (folder / name).write_bytes(sample.ntff(run))
    return folder


def test_the_error_lists_them_in_order_of_rank_and_execution(captures: Path) -> None:
    with pytest.raises(UsageError, match="holds 6 profiles") as error:
        read(captures)
    lines = [line for line in error.value.fix.splitlines() if ".ntff" in line]
    assert [line.split("  (")[0].rpartition("/")[2] for line in lines] == NAMES
    assert lines[-1].endswith("(rank 10, execution 2)")
    assert "--select" in error.value.rule


@pytest.mark.parametrize("select", ["rank=1,exec=2", "exec=2, rank=1", "rank_1_exec_2", "profile_rank_1_exec_2.ntff"])
def test_one_is_selected(captures: Path, select: str) -> None:
    profile = read(captures, select=select)
    assert profile.origin.path.endswith("profile_rank_1_exec_2.ntff")
    assert profile.facts["rank"] == "1"
    assert profile.has("Instruction", "line"), "the NEFF beside it is found"


@pytest.mark.parametrize(
    ("select", "said"), [("rank=1", "2 profiles"), ("rank=7", "no profile"), ("exec", "6 profiles")]
)
def test_a_selection_that_names_not_one_lists_what_it_could_be(captures: Path, select: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        read(captures, select=select)
    assert ".ntff" in error.value.fix


def test_select_needs_a_folder(captures: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        read(captures / NAMES[0], select="rank=0")


def test_device_profiles_inside_an_inspect_folder_can_be_selected(captures: Path) -> None:
    """The folder itself opens as the system trace; a PyTorch trace beside it is part of that, not a profile."""
    for name, content in made_inspect().items():
        (captures / name).write_bytes(content)
    assert read(captures).origin.kind == "inspect"
    assert read(captures, select="rank=10,exec=1").origin.kind == "ntff"
    assert candidates(captures.parent) == [captures]
    inside = candidates(captures.parent, inside=True)
    assert inside == [captures, *sorted(captures.glob("*.ntff"))]


def test_a_pytorch_trace_alone_says_where_it_belongs(tmp_path: Path) -> None:
    (tmp_path / "trace.json").write_bytes(made_inspect()["trace.json"])
    with pytest.raises(InputError, match="inspect folder"):
        read(tmp_path / "trace.json")


def test_more_profiles_than_the_error_lists(tmp_path: Path) -> None:
    data = sample.ntff(sample.demo())
    for rank in range(64):
        (tmp_path / f"p_rank_{rank}.ntff").write_bytes(data)
    assert len(candidates(tmp_path)) == 64
    with pytest.raises(UsageError, match="holds 64 profiles") as error:
        read(tmp_path)
    assert "and 14 more" in error.value.fix


def test_other_json_in_a_folder_is_no_profile(captures: Path) -> None:
    before = candidates(captures)
    for name, text in {
        "empty.json": "{}", "package.json": '{"name": "x", "files": []}', "config.json": '{"a": {"b": 1}}', "list.json": '{"a": [1]}',
        "none.json": '{"instruction": []}',
    }.items():  # fmt: skip
        (captures / name).write_text(text)
    assert candidates(captures) == before
    (captures / "summary.json").write_text('{"n_0123456789": {"total_time": 1.0}}')
    assert len(candidates(captures)) == len(before) + 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("system.json", b'{"trace_event": [{"name": "x"}]}', "the JSON of a system profile"),
        ("trace_info.pb", b"\x08\x02\x10\x05", "a part of a system trace"),
        ("profile.json.gz", b"\x1f\x8b\x08\x00" + bytes(30), "unpack it"),
        ("config.json", b'{"a": {"b": 1}}', "not a summary"),
    ],
)
def test_what_is_nearly_a_profile_is_named(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as refused:
        read(tmp_path / name)
    assert said in str(refused.value)
