"""Jobs in this process, in a pool and on a dask cluster: the same answers, also when a worker is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nkilab.bench.executors import Dask, Executor, Inline, Processes, WorkerDiedError, choose


def square(number: int) -> int:
    return number * number


def square_unless_first(folder: str, number: int) -> int:
    """Kill the process when 3 is asked for the first time."""
    marker = Path(folder) / "killed"
    if number == 3 and not marker.exists():
        marker.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def always_dies(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def answers(executor: Executor, function: Callable[[int], int], jobs: list[int]) -> dict[int, int]:
    with executor as workers:
        return dict(workers.run(function, jobs))


@pytest.mark.parametrize("executor", [Inline(), Processes(2)], ids=["inline", "processes"])
def test_every_job_is_answered_under_its_position(executor: Executor) -> None:
    assert answers(executor, square, [5, 6, 7]) == {0: 25, 1: 36, 2: 49}
    assert answers(executor, square, []) == {}


def test_a_killed_process_loses_no_job(tmp_path: Path) -> None:
    found = answers(Processes(2), partial(square_unless_first, str(tmp_path)), list(range(8)))
    assert found == {n: n * n for n in range(8)}
    assert (tmp_path / "killed").exists()


def test_a_job_that_always_kills_its_process_is_named_and_the_others_are_answered() -> None:
    found: dict[int, int] = {}
    with Processes(2) as pool, pytest.raises(WorkerDiedError, match="job 3"):
        found.update(pool.run(always_dies, list(range(6))))
    assert {n: n * n for n in (0, 1, 2)}.items() <= found.items()


def test_what_is_chosen() -> None:
    assert isinstance(choose(None, 1, 9), Inline)
    assert isinstance(choose(None, 4, 1), Inline)
    assert isinstance(choose(None, 4, 9), Processes)
    assert isinstance(choose("tcp://x:1", 1, 9), Dask)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A local dask cluster of three worker processes, each replaced when it dies."""
    distributed = pytest.importorskip("distributed", reason="dask is not installed")
    with distributed.LocalCluster(n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None) as started:
        yield started


def test_dask_answers_like_the_others(cluster: Any) -> None:
    assert answers(Dask(cluster.scheduler_address), square, [5, 6, 7]) == {0: 25, 1: 36, 2: 49}


def test_a_killed_dask_worker_loses_no_job(cluster: Any, tmp_path: Path) -> None:
    found = answers(Dask(cluster.scheduler_address), partial(square_unless_first, str(tmp_path)), list(range(8)))
    assert found == {n: n * n for n in range(8)}
    assert (tmp_path / "killed").exists()


@pytest.mark.slow
def test_a_sweep_with_a_killed_worker_finishes_and_equals_the_pool_s(
    cluster: Any, write_kernel: Callable[..., Path], tmp_path: Path
) -> None:
    from nkilab.bench.point import Settings
    from nkilab.bench.sweep import plan, run

    dies = "import os, pathlib, signal\n\n\ndef dies_once(axes):\n    here = pathlib.Path(__file__).parent\n"
    dies += "    if axes['n'] == 384 and (here / 'armed').exists():\n        (here / 'armed').unlink()\n"
    dies += "        (here / 'killed').touch()\n        os.kill(os.getpid(), signal.SIGKILL)\n\n\ndef inputs(axes, rng):\n    dies_once(axes)"
    path = write_kernel("deadly.py", changes={"def inputs(axes, rng):": dies})
    points = plan(path, ["scale"], {"n": (128, 256, 384, 512)}, {"tile": (64, 128)})
    swept = {}
    for name, executor in (("dask", Dask(cluster.scheduler_address)), ("pool", Processes(2))):
        (tmp_path / "killed").unlink(missing_ok=True)
        (tmp_path / "armed").touch()
        with executor as workers:
            swept[name] = run(points, Settings(), workers)
        assert (tmp_path / "killed").exists(), f"no worker of the {name} was killed"
    assert len(swept["dask"].rows) == len(points) == 8
    assert not any(row.refused for row in swept["dask"].rows)
    assert swept["dask"] == swept["pool"]
