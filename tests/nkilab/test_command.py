"""The command line: exit statuses, one line for unreadable input, did-you-mean, JSON envelopes, quiet pipes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nkilab.command import main
from nkilab.command.app import COMMANDS
from nkilab.command.inspection import ANALYSES
from nkilab.version import VERSION
from tests.profiler import makers


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")


def failing(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 2) -> str:
    """What a command that fails prints to standard error; it prints nothing else."""
    assert main(arguments) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return err


UNREADABLE = {
    "text.txt": b"hello, this is no profile\n",
    "empty.json": b"",
    "truncated.json": b'{"instruction": [{"timestamp": 12, "dur',
    "list.json": b"[1, 2, 3]",
    "binary.bin": bytes(range(256)),
}


@pytest.mark.parametrize("command", [*ANALYSES, "doctor", "report", "export"])
@pytest.mark.parametrize("name", [*UNREADABLE, "missing.json"])
def test_unreadable_input_is_one_line_and_status_2(
    command: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name in UNREADABLE:
        (tmp_path / name).write_bytes(UNREADABLE[name])
    err = failing(capsys, command, name)
    assert len(err.splitlines()) == 1
    assert name in err


def test_a_truncated_real_profile_is_one_line_and_status_2(
    shared_profiles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (shared_profiles / "trn2-attention/fused_bf16_s512/profile.json").read_bytes()
    (tmp_path / "cut.json").write_bytes(whole[: len(whole) // 2])
    assert len(failing(capsys, "summary", "cut.json").splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["summry", "x"], "did you mean summary"),
        (["summary", "x", "--nef", "y"], "did you mean --neff"),
        (["export", "x", "--to", "perfeto"], "did you mean perfetto"),
        (["summary"], "nkilab summary --help"),
        (["sim", "nothing.py:kernel"], "no file nothing.py"),
        (["sim", "kernel.py:duoble", "--arg", "x=3"], "did you mean double"),
        (["sim", "kernel.py:double", "--arg", "y=3"], "did you mean x|one of x"),
        (["sim", "kernel.py:double"], "--arg x="),
        (["sim", "kernel.py:double", "--arg", "x"], "not NAME=VALUE"),
        (["sim", "kernel.py:double", "--arg", "x=bf61[2,2]"], "did you mean bf16"),
        (["sim", "kernel.py:double", "--axis", "m=2"], "belongs to a case"),
        (["sim", "kernel.py:double", "--arg", "x=3", "--target", "trn4"], "did you mean 'trn"),
        (["sim", "kernel.py:double", "--arg", "x=3", "--set", "hbm.gbs=3"], "did you mean 'hbm.gbps'"),
        (["sim", "kernel.py:double", "--arg", "x=3", "--policy", "quue=sync"], "did you mean 'queue'"),
        (
            ["sim", "kernel.py:double", "--arg", "x=3", "--policy", "queue=fast"],
            "one of compiler, gpsimd, sync, scalar",
        ),
        (["check", "kernel.py"], "kernel_cases.py"),
        (["check", "notes.txt"], "not a Python file"),
    ],
)
def test_a_wrong_argument_is_answered_with_what_would_be_right(
    arguments: list[str], answer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kernel.py").write_text("def double(x):\n    return x\n")
    (tmp_path / "notes.txt").write_text("")
    err = failing(capsys, *arguments)
    assert any(part in err for part in answer.split("|")), err


def test_an_error_under_json_is_a_document_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "missing.json", "--json"]) == 2
    out, err = capsys.readouterr()
    assert err == ""
    document = json.loads(out)
    assert (document["schema"], document["nkilab"]) == ("nkilab.error/1", VERSION)
    assert list(document["error"]) == ["code", "what", "values", "rule", "source", "fix", "where"]
    assert document["error"]["code"] == "input"


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"nkilab {VERSION}\n"
    assert main([]) == 0
    assert "nkilab demo" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"\n  nkilab {name}" in out
    assert "--json" in out


def quiet(*command: str, lines: int) -> tuple[int, str]:
    """A command whose reader leaves after some lines: its status and what it wrote to standard error."""
    process = subprocess.Popen(
        [sys.executable, "-m", "nkilab", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    for _ in range(lines):
        process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    return process.wait(), err


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize("lines", [0, 1])
def test_a_closed_pipe_is_quiet(
    form: tuple[str, ...], lines: int, shared_profiles: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    monkeypatch.chdir(repository)
    profile = shared_profiles / "trn2-attention/fused_bf16_s512/profile.json"
    assert quiet("summary", str(profile), *form, lines=lines) == (0, "")


def test_the_one_line_of_unreadable_input_says_where_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cut.json").write_bytes(UNREADABLE["truncated.json"])
    said = failing(capsys, "doctor", "cut.json")
    assert f"offset {len(UNREADABLE['truncated.json'])}, field instruction" in said
    assert "copy it again" in said
    (tmp_path / "text.txt").write_text("x")
    assert "a profile is a folder saved by nkilab" in failing(capsys, "doctor", "text.txt")


def test_names_in_a_profile_do_not_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = makers.instruction(0, 9, "Tensor", "M\x1b[31m\x07X")
    makers.write(tmp_path / "p.json", makers.device_json(instruction=[row]))
    main(["hierarchy", "p.json"])
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\x07" not in printed
    assert "\x1b" not in failing(capsys, "summary", "no\x1b[31msuch\nfile")


def test_the_compiler_s_choices_are_said_with_the_time(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sim", f"{repository}/kernels/rmsnorm.py:rmsnorm", "--policy", "queue=sync", "--policy", "order=ready"]
    assert main([*words, "--no-values"]) == 0
    assert "the compiler is taken to choose: queue sync, order ready" in " ".join(capsys.readouterr().out.split())
    assert main([*words, "--no-values", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"]["policy"] == {"queue": "sync", "order": "ready"}


def test_loads_that_the_clock_leaves_out_are_counted(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sim", f"{repository}/kernels/matmul.py:matmul_tiled", "--no-values", "--axis", "m=256"]
    assert main(words) == 0
    said = " ".join(capsys.readouterr().out.split())
    found = re.search(r"their data being in SBUF: (\d+) \(--policy repeats=0 does them all\)", said)
    assert found is not None
    assert main([*words, "--json", "--force"]) == 0
    assert json.loads(capsys.readouterr().out)["data"]["loads_left_out"] == int(found[1]) > 0
    assert main([*words, "--force", "--policy", "repeats=0"]) == 0
    assert "being in SBUF" not in " ".join(capsys.readouterr().out.split())
