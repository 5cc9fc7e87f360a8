"""Tuning: as good as an exhaustive sweep for a third of its simulations, cached, gated, spread over workers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nkilab.bench.cache import Cache, key
from nkilab.bench.executors import Inline, Processes
from nkilab.bench.point import Point, Settings
from nkilab.bench.sources import source_hash
from nkilab.bench.tune import Plan, sweep_all, tune
from nkilab.command import main
from nkilab.errors import UsageError

BLOCKS = {"tiles_in_block_m": (1, 2, 4, 8, 16), "tiles_in_block_n": (1, 2, 4), "tiles_in_block_k": (1, 2, 4, 8)}


def plan(file: Path, case: str, space: dict[str, tuple[int, ...]], axes: dict[str, int], **fields: object) -> Plan:
    point = Point(file=str(file), case=case, axes=axes, source=source_hash(file))
    return Plan(point=point, space=space, settings=Settings(seeds=1), **fields)


@pytest.mark.slow
@pytest.mark.parametrize("axes", [{"n": 2048}, {"m": 512, "k": 512, "dtype": "float32"}], ids=str)
def test_the_fully_blocked_matmul_in_a_third_of_the_evaluations(
    axes: dict[str, Any], repository: Path, tmp_path: Path
) -> None:
    matmul = plan(repository / "kernels/matmul.py", "matmul_fully_blocked", BLOCKS, axes, confirm=1)
    cache = Cache(tmp_path / "every.sqlite")
    every = {tuple(t.configuration.values()): t.us for t in sweep_all(matmul, Inline(), cache)}
    assert len(every) == 60
    for start in ({}, {"tiles_in_block_m": 1, "tiles_in_block_n": 4, "tiles_in_block_k": 1}):
        found = tune(replace(matmul, point=replace(matmul.point, meta=start)), Inline(), cache)
        assert len(found.search.trials) <= 20
        assert found.search.best is not None
        assert found.search.best.us == min(every.values())
        assert all(every[tuple(t.configuration.values())] >= t.floor_us for t in found.search.pruned)
        assert all(t.us >= t.floor_us for t in found.search.trials)
        assert found.best is not None
        assert found.best.gated


def test_a_lower_bound_prunes_what_cannot_be_faster(write_kernel: Callable[..., Path], tmp_path: Path) -> None:
    """Every second pass over the input is moved for nothing: the bytes alone take longer than the best time."""
    again = {
        "factor=2.0": "factor=2.0, passes=1",
        "nisa.dma_copy(dst=rows, src=x[n : n + tile, :])": "for _ in range(passes):\n            nisa.dma_copy(dst=rows, src=x[n : n + tile, :])",
    }
    wasteful = plan(
        write_kernel(changes=again), "scale", {"passes": (1, 2, 32, 64, 128)}, {"n": 128, "d": 2048}, budget=4
    )
    found = tune(wasteful, Inline(), Cache(tmp_path / "c.sqlite"))
    assert 128 in {t.configuration["passes"] for t in found.search.pruned}
    assert (found.search.stopped, found.search.best and found.search.best.configuration) == ("pruned", {"passes": 1})
    assert found.bound_us == min(t.floor_us for t in found.search.trials)


@pytest.fixture
def tiles(write_kernel: Callable[..., Path]) -> Plan:
    """Tiles of a small kernel, one of them impossible."""
    return plan(write_kernel(), "scale", {"tile": (16, 32, 64, 128, 256)}, {"n": 512}, budget=5)


def test_the_best_one_that_runs_is_gated_and_measured(tiles: Plan, tmp_path: Path) -> None:
    found = tune(tiles, Inline(), Cache(tmp_path / "c.sqlite"))
    times = {t.configuration["tile"]: t.us for t in found.search.trials}
    (impossible,) = found.search.impossible
    assert impossible.configuration == {"tile": 256}
    assert "partition" in impossible.why
    assert found.best is not None
    assert (found.best.meta["tile"], found.best.gated, found.best.refused) == (128, True, ())
    assert found.best.median_us == times[128] == min(us for us in times.values() if us)
    assert found.bound_us is not None
    assert found.bound_us < found.best.median_us


def test_a_configuration_that_is_fast_but_wrong_is_not_the_best(
    write_kernel: Callable[..., Path], tmp_path: Path
) -> None:
    wrong = {"operand0=factor": "operand0=factor if tile < 128 else 3.0"}
    broken = plan(write_kernel(changes=wrong), "scale", {"tile": (32, 64, 128)}, {"n": 512})
    found = tune(broken, Inline(), Cache(tmp_path / "c.sqlite"))
    assert found.search.best is not None
    assert found.search.best.configuration == {"tile": 128}
    assert [r["code"] for r in found.confirmed[0].refused] == ["wrong-values"]
    assert found.best is not None
    assert found.best.meta["tile"] == 64


def test_known_times_cost_nothing_until_something_that_counts_changes(tiles: Plan, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c.sqlite")
    first = tune(tiles, Inline(), cache)
    again = tune(tiles, Inline(), cache)
    assert (first.cached, again.cached) == (0, len(again.search.trials))
    assert again.search == first.search
    other = replace(tiles, settings=replace(tiles.settings, changes={"hbm.gbps": 100.0}))
    assert tune(other, Inline(), cache).cached == 0
    file = Path(tiles.point.file)
    file.write_text(file.read_text() + "\n# changed\n")
    changed = replace(tiles, point=replace(tiles.point, source=source_hash(file)))
    assert tune(changed, Inline(), cache).cached == 0


def test_workers_change_nothing_but_the_speed(tiles: Plan, tmp_path: Path) -> None:
    batched = replace(tiles, batch=2)
    alone = tune(batched, Inline(), Cache(tmp_path / "a.sqlite"))
    with Processes(2) as pool:
        shared = tune(batched, pool, Cache(tmp_path / "b.sqlite"))
    assert shared.search == alone.search


def test_a_parameter_that_the_kernel_has_not_is_named(tiles: Plan, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        tune(replace(tiles, space={"tiel": (1, 2)}), Inline(), Cache(tmp_path / "c.sqlite"))
    assert caught.value.fix == "did you mean tile?"


def test_the_command(write_kernel: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    write_kernel()
    words = ["tune", "scale.py", "--meta", "tile=32,64,128", "--axis", "n=512"]
    assert main([*words, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    assert (data["configurations"], data["evaluated"] + data["pruned"], data["best"]["meta"]["tile"]) == (3, 3, 128)
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "configurations simulated" in out
    assert "cannot run" in out
    assert main(["tune", "scale.py"]) == 2
    assert "meta-parameters of scale: tile" in capsys.readouterr().err


def test_the_cache_keeps_what_it_is_given_and_says_when_it_is_none(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "deep" / "c.sqlite")
    cache.put({"a": {"us": 1.5}, "b": None})
    assert cache.get(["a", "b", "c"]) == {"a": {"us": 1.5}, "b": None}
    assert key({"x": 1, "y": 2}) == key({"y": 2, "x": 1}) != key({"x": 1, "y": 3})
    with sqlite3.connect(cache.path) as connection:
        assert connection.execute("select count(*) from result").fetchone() == (2,)
    (tmp_path / "text").write_text("no database, but long enough to be read as one" * 100)
    with pytest.raises(UsageError, match="is no cache"):
        Cache(tmp_path / "text").get(["a"])
