"""Commands in the documentation and in the example workflows exist, with their options."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path

import pytest

from nkilab.bench.gate import CODES
from nkilab.bench.preflight import Check
from nkilab.command.app import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "docs/bench.md", *sorted((ROOT / "examples/github-actions").glob("*.yml")))


def commands(text: str) -> list[list[str]]:
    """Every nkilab command of a page, folded lines of YAML joined."""
    joined = re.sub(r"run: >\n((?:\s{10,}.*\n)+)", lambda match: " ".join(match[1].split()) + "\n", text)
    lines = re.findall(r"(?:^|run: |do )\s*(nkilab (?:bench|tune|compare|preflight|check) .*)$", joined, re.MULTILINE)
    return [shlex.split(line.split(";")[0]) for line in lines]


def options(command: str) -> set[str]:
    """The options of a command, as typer spells them."""
    names = set()
    for name, parameter in inspect.signature(COMMANDS[command], eval_str=True).parameters.items():
        # In an annotation typer keeps the first spelling as the default.
        infos = getattr(parameter.annotation, "__metadata__", ())
        declared = [d for info in infos for d in (info.default, *(info.param_decls or ())) if str(d).startswith("--")]
        names |= set(declared) or {f"--{name.replace('_', '-')}", f"--no-{name.replace('_', '-')}"}
    return names | {"--json"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    found = commands(page.read_text())
    assert found
    for words in found:
        unknown = {word for word in words[2:] if word.startswith("--") and word != "--"} - options(words[1])
        assert unknown == set(), " ".join(words)


def test_every_code_of_the_gate_and_every_verdict_of_preflight_is_on_the_page() -> None:
    text = (ROOT / "docs/bench.md").read_text()
    verdicts = re.findall(r"`([a-z-]+)`", (Check.__doc__ or "").split("verdict:")[1])
    assert verdicts
    assert {name for name in (*CODES, *verdicts) if name != "ok" and f"`{name}`" not in text} == set()
