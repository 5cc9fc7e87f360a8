"""A thousand damaged files per reader: each opens, or is refused with an error of ours. Nothing else escapes."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from nkilab.errors import InputError
from tests.profiler.readers.fuzz.corrupt import corruption, outcome
from tests.profiler.readers.fuzz.damage import of_bytes
from tests.profiler.readers.fuzz.targets import Target, made, real

QUICK, MADE = 100, 1000
REAL = 2


def run(targets: list[Target], count: int, folder: Path) -> Counter[str]:
    """`count` damaged files, shared out over `targets`."""
    found: Counter[str] = Counter()
    for target in targets:
        for name, content in target.files.items():
            (folder / name).write_bytes(content)
        target.open(folder)
        for seed in range(-(-count // len(targets))):
            found[outcome(target, corruption(target, seed), folder)] += 1
    return found


@pytest.mark.parametrize("count", [QUICK, pytest.param(MADE, marks=pytest.mark.slow)])
@pytest.mark.parametrize("reader", ["ntff", "neff", "inspect", "device-json", "summary", "parquet", "folder"])
def test_damaged_files_of_our_own(reader: str, count: int, tmp_path: Path) -> None:
    targets = [target for target in made() if target.name.startswith(reader)]
    found = run(targets, count, tmp_path)
    assert found.total() >= count
    assert set(found) <= {"opened", "input", "schema", "usage"}
    assert found["opened"] >= count // 200, "some damage must be harmless, else nothing behind the first check is tried"
    assert found["input"] > count / 10


def test_damaged_real_files(shared_profiles: Path, tmp_path: Path) -> None:
    targets = real(shared_profiles)
    found = run(targets, REAL * len(targets), tmp_path)
    assert set(found) <= {"opened", "input", "schema", "usage"}


def test_what_escapes_is_not_swallowed(tmp_path: Path) -> None:
    """The twin: a reader that lets another exception through fails the test above."""

    def broken(_: Path) -> object:
        raise IndexError

    target = Target("broken", {"a": b"x"}, "a", broken)
    with pytest.raises(IndexError):
        outcome(target, b"y", tmp_path)
    refusing = Target("refusing", {"a": b"x"}, "a", lambda _: (_ for _ in ()).throw(InputError("no")))
    assert outcome(refusing, b"y", tmp_path) == "input"


def test_damage_is_the_same_for_the_same_seed() -> None:
    target = made()[0]
    assert corruption(target, 3) == corruption(target, 3) != corruption(target, 4)
    assert of_bytes(b"", random.Random(0)) != b""
