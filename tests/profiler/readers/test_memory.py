"""Memory that a large JSON or inspect folder takes to open, with all its tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.profiler import makers
from tests.profiler.readers import memory
from tests.profiler.readers.fuzz.targets import made_inspect

CONSTANT = 8 << 20

pytestmark = pytest.mark.skipif(not memory.MEASURED, reason="the system does not say how large a process was")


def held(small: Path, large: Path, size: int, times: int) -> None:
    cost = memory.cost(small, large)
    assert cost.tables_bytes < times * size + CONSTANT
    assert cost.tables_bytes >= cost.load_bytes > size / 4, "the measure sees no memory: such a profile must show"


def test_a_large_device_json(tmp_path: Path) -> None:
    rows = [
        {"timestamp": 10 * n, "duration": 7, "opcode": "MATMUL", "engine": "Tensor", "pc": n} for n in range(120_000)
    ]
    files = {name: tmp_path / f"{name}.json" for name in ("small", "large")}
    makers.write(files["small"], makers.device_json(instruction=rows[:100]))
    makers.write(files["large"], makers.device_json(instruction=rows))
    size = files["large"].stat().st_size
    assert size > 10 << 20
    held(files["small"], files["large"], size, 4)


def test_a_large_inspect_folder(tmp_path: Path) -> None:
    """Its events have 40 bytes each, so that their rows are larger; those of the runtime have 220."""
    small, large = tmp_path / "small", tmp_path / "large"
    for folder, times in ((small, 1), (large, 20_000)):
        folder.mkdir()
        for name, content in made_inspect().items():
            (folder / name).write_bytes(content * (times if name in ("ntrace.pb", "cpu_util.pb", "host_mem.pb") else 1))
    size = sum(file.stat().st_size for file in large.iterdir())
    assert size > 4 << 20
    held(small, large, size, 8)
