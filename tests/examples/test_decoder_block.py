"""The decoder block in docs/walk.md: every command and block of the page prints what the page says, and its prose holds.

`python tests/examples/test_decoder_block.py` writes the outputs anew, for when the clock or the kernels have changed.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "walk.md"
BLOCK = re.compile(r"```(console|python)\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)
NUMBER = re.compile(r"(?<![\w:.])-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")
CLOSE = 0.25
"""How far a number may move before the page must be written anew: times change with every calibration of the clock."""


@contextmanager
def readers_folder() -> Iterator[Path]:
    """A folder that looks like `examples/` to a reader, with `nkilab` on the path of commands."""
    before, path = Path.cwd(), list(sys.path)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "decoder_block").symlink_to(ROOT / "examples" / "decoder_block")
        (folder / "bin").mkdir()
        command = folder / "bin" / "nkilab"
        command.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m nkilab "$@"\n')
        command.chmod(0o755)
        os.chdir(folder)
        sys.path.insert(0, name)
        try:
            yield folder
        finally:
            os.chdir(before)
            sys.path[:] = path
            for module in [m for m in sys.modules if m.split(".")[0] == "decoder_block"]:
                del sys.modules[module]


def printed(kind: str, text: str, folder: Path, session: dict[str, Any]) -> str:
    """What a block prints."""
    if kind == "python":
        with redirect_stdout(io.StringIO()) as out:
            exec(compile(text, PAGE.name, "exec"), session)
        return out.getvalue()
    env = os.environ | {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "120", "NO_COLOR": "1"}
    commands = [line.removeprefix("$ ") for line in text.splitlines()]
    done = [
        subprocess.run(["sh", "-c", line], env=env, capture_output=True, text=True, check=True) for line in commands
    ]
    return "".join(each.stdout for each in done)


def told(page: str) -> tuple[list[tuple[str, str, str]], dict[str, Any]]:
    """Every block with what the page says it prints and what it prints, and the names that the Python blocks left."""
    session: dict[str, Any] = {}
    with readers_folder() as folder:
        found = [(b[2], b[3] or "", printed(b[1], b[2], folder, session)) for b in BLOCK.finditer(page)]
    return found, session


def written_anew(page: str) -> str:
    """The page with the outputs of today."""
    outputs = iter([output for _, _, output in told(page)[0]])

    def block(match: re.Match[str]) -> str:
        output = next(outputs)
        return f"```{match[1]}\n{match[2]}```\n" + (f"\n```text\n{output.rstrip()}\n```\n" if output else "")

    return BLOCK.sub(block, page)


def words(text: str) -> list[str]:
    return NUMBER.sub("#", re.sub(r"-{3,}", "", text)).split()


def numbers(text: str) -> list[float]:
    return [float(found.replace(",", "")) for found in NUMBER.findall(text)]


@pytest.fixture(scope="module")
def walk() -> tuple[list[tuple[str, str, str]], dict[str, Any]]:
    return told(PAGE.read_text(encoding="utf-8"))


def test_the_page_says_what_its_commands_print(walk: Any) -> None:
    blocks, _ = walk
    assert sum(bool(output) for _, _, output in blocks) >= 7
    for command, said, output in blocks:
        assert words(said) == words(output), command
        assert numbers(said) == pytest.approx(numbers(output), rel=CLOSE, abs=0.02), command


def test_both_blocks_are_right_and_clean(walk: Any) -> None:
    checks = [output for command, _, output in walk[0] if "nkilab check" in command]
    assert len(checks) == 1
    assert (checks[0].count(" pass "), checks[0].count("fail")) == (2, 0)
    bf16 = next(output for command, _, output in walk[0] if "roundings" in command)
    assert bf16.count("0 findings") == 2


def test_the_order_of_the_two_is_outside_the_ranges(walk: Any) -> None:
    text = next(output for command, _, output in walk[0] if "roundings" in command)
    ranges = [(float(low), float(high)) for low, high in re.findall(r"between (\d+) and (\d+)", text)]
    assert len(ranges) == 2
    assert ranges[1][1] < ranges[0][0]


def test_the_marked_part_is_shorter_than_the_run_and_its_losses_add_up(walk: Any) -> None:
    session = walk[1]
    for name, column in (("plain", "a_ns"), ("fused", "b_ns")):
        whole, part = session["runs"][name], session["marked"][name]
        assert 0 < part.table("Instruction").height < whole.table("Instruction").height
        start, end = session["span_us"](whole, "attention_part")
        assert session["change"].losses[column].sum() == pytest.approx((end - start) * 1e3)


def test_the_instruction_is_followed_from_the_transpose_to_the_kernel(walk: Any) -> None:
    session = walk[1]
    functions = [function for _, function, _ in session["lines_of"](session["runs"]["plain"], session["gap"]["id"])]
    assert functions == ["transposed", "attention_head", "attention_part", "decoder_block"]
    assert session["gap"]["cause"] == "dma"


def test_what_is_not_there_is_named(walk: Any) -> None:
    from nkilab.errors import UsageError
    from nkilab.profiler.errors import NotInProfileError

    session = walk[1]
    with pytest.raises(NotInProfileError, match="no instruction has function 'nobody'"):
        session["span_us"](session["runs"]["plain"], "nobody")
    with pytest.raises(UsageError, match="there is no instruction -1"):
        session["lines_of"](session["runs"]["plain"], -1)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    PAGE.write_text(written_anew(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
