"""Run many jobs at once: in this process, in a pool of processes, or on a dask cluster. One function for all three.

A worker that dies takes nothing with it: its job, and those that waited behind it, run again elsewhere.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol, TypeVar

from nkilab.errors import NkilabError, UsageError

Job = TypeVar("Job")
Answer = TypeVar("Answer")
ATTEMPTS = 3


class WorkerDiedError(NkilabError):
    """A job's process died on every attempt, for example killed for its memory."""

    code = "worker-died"


class Executor(Protocol):
    """Where jobs run. `function` and the jobs must be picklable."""

    def run(self, function: Callable[[Job], Answer], jobs: Sequence[Job]) -> Iterator[tuple[int, Answer]]:
        """Give (position of the job, its answer) as jobs finish, in any order.

        Raises:
            WorkerDiedError: a job killed its process on each of three attempts.
        """
        ...


class Inline:
    """One job after the other in this process."""

    def run(self, function: Callable[[Job], Answer], jobs: Sequence[Job]) -> Iterator[tuple[int, Answer]]:
        """See `Executor.run`."""
        yield from ((position, function(job)) for position, job in enumerate(jobs))


class Processes:
    """A pool of fresh processes on this machine; a broken pool is replaced and its unfinished jobs run again."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def run(self, function: Callable[[Job], Answer], jobs: Sequence[Job]) -> Iterator[tuple[int, Answer]]:
        """See `Executor.run`."""
        left = dict(enumerate(jobs))
        for _ in range(ATTEMPTS):
            for position, answer in _one_pool(function, left, self.workers):
                del left[position]
                yield position, answer
            if not left:
                return
        # What is left shared a pool with whatever kills its process: each gets a process of its own.
        for position, job in list(left.items()):
            alone = list(_one_pool(function, {position: job}, 1))
            if not alone:
                raise WorkerDiedError(f"the process of job {position} died on every attempt", values=str(job))
            yield alone[0]


def _one_pool(function: Callable[[Job], Answer], jobs: dict[int, Job], workers: int) -> Iterator[tuple[int, Answer]]:
    """Answers until all jobs are done or the pool breaks."""
    # Spawned, not forked: the parent may hold threads (polars, BLAS) that do not survive a fork.
    pool = ProcessPoolExecutor(min(workers, len(jobs)), mp_context=multiprocessing.get_context("spawn"))
    try:
        futures: dict[Future[Any], int] = {pool.submit(function, job): position for position, job in jobs.items()}
        for future in as_completed(futures):
            try:
                answer = future.result()
            except BrokenProcessPool:
                continue
            yield futures[future], answer
    except BrokenProcessPool:
        return
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class Dask:
    """A dask cluster; the scheduler gives the jobs of a lost worker to another one."""

    def __init__(self, address: str) -> None:
        self.address = address

    def run(self, function: Callable[[Job], Answer], jobs: Sequence[Job]) -> Iterator[tuple[int, Answer]]:
        """See `Executor.run`."""
        distributed = _distributed()
        with _client(distributed, self.address) as client:
            futures = [client.submit(function, job, pure=False, retries=0) for job in jobs]
            positions = {future.key: position for position, future in enumerate(futures)}
            try:
                for future in distributed.as_completed(futures):
                    position = positions[future.key]
                    try:
                        answer = future.result()
                    except distributed.KilledWorker as error:
                        raise WorkerDiedError(
                            f"the workers that ran job {position} died", values=str(jobs[position])
                        ) from error
                    yield position, answer
            finally:
                client.cancel(futures)


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise UsageError("--scheduler needs dask", fix="pip install 'nkilab[cluster]'") from error
    return distributed


def _client(distributed: Any, address: str) -> Any:
    try:
        return distributed.Client(address, timeout="10s", set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(
            f"no dask scheduler answers at {address}", fix="dask scheduler, then --scheduler tcp://HOST:8786"
        ) from error


def choose(scheduler: str | None, workers: int, jobs: int) -> Executor:
    """The executor of `--scheduler` and `--workers`; one worker or one job stays in this process."""
    if scheduler:
        return Dask(scheduler)
    return Processes(workers) if workers > 1 and jobs > 1 else Inline()
