"""Decoders of device profiles work on columns: twenty times the records take hardly more Python."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nkilab.profiler import sample
from nkilab.profiler.readers import read
from tests.benchmarks.ntff_load import repeated
from tests.profiler import makers

TIMES = 20
Write = Callable[[Path, int], Path]


def ntff(folder: Path, times: int) -> Path:
    path = sample.write(folder)
    data = path.read_bytes()
    path.write_bytes(repeated(data, times * len(data)))
    return path


def device_json(folder: Path, times: int) -> Path:
    tables = makers.device_json()
    rows = {
        name: rows * 10 * times if name in ("instruction", "dma", "semaphore_update") else rows
        for name, rows in tables.items()
    }
    return makers.write(folder / "p.json", rows)


def lines(path: Path) -> int:
    """Python calls while a profile is opened and all its tables are asked for."""
    count = 0

    def called(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        profile = read(path)
        for name in profile.names:
            profile.table(name)
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("write", [ntff, device_json])
def test_twenty_times_the_records_take_hardly_more_python(write: Write, tmp_path: Path) -> None:
    (tmp_path / "once").mkdir()
    (tmp_path / "often").mkdir()
    once, often = write(tmp_path / "once", 1), write(tmp_path / "often", TIMES)
    for path in (once, often):
        lines(path)  # imports and caches
    few, many = lines(once), lines(often)
    rows = [sum(p.table(name).height for name in p.names) for p in (read(once), read(often))]
    assert rows[1] > 5 * rows[0]
    assert many < 1.5 * few


def test_a_loop_over_records_would_be_counted(tmp_path: Path) -> None:
    """The twin."""
    path = tmp_path / "p.json"
    makers.write(path, makers.device_json())
    before = lines(path)
    assert before > 0
    data = struct.pack("<100I", *range(100))
    seen = 0

    def called(_frame: object, event: str, _argument: object) -> None:
        nonlocal seen
        seen += event == "c_call"

    sys.setprofile(called)
    for at in range(100):
        int.from_bytes(data[4 * at : 4 * at + 4], "little")
    sys.setprofile(None)
    assert seen >= 100
