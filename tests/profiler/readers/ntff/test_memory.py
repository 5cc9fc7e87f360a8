"""Memory that a large NTFF takes to open."""

from __future__ import annotations

from pathlib import Path

import pytest

from nkilab.profiler import sample
from tests.benchmarks.ntff_load import repeated
from tests.profiler.readers import memory

TIMES_SIZE, CONSTANT = 4, 4 << 20


@pytest.mark.skipif(not memory.MEASURED, reason="the system does not say how large a process was")
def test_a_large_ntff_takes_at_most_four_times_its_size_to_open(tmp_path: Path) -> None:
    small = sample.write(tmp_path)
    large = tmp_path / "large.ntff"
    large.write_bytes(repeated(small.read_bytes(), 10 << 20))
    cost, size = memory.cost(small, large, next(tmp_path.glob("*.neff"))), large.stat().st_size
    assert sum(cost.rows.values()) > size / 100
    assert cost.load_bytes < TIMES_SIZE * size + CONSTANT
    assert cost.tables_bytes > 2 * size, "the measure sees no memory: tables of this size must show"
