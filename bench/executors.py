"""Run many jobs at once: in this process, in a pool of processes, or on a dask cluster. One interface for all three.

A worker that dies takes nothing with it: its job, and those that waited behind it, run again elsewhere.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol, Self, TypeVar

from nkilab.errors import NkilabError, UsageError

Job = TypeVar("Job")
Answer = TypeVar("Answer")
ATTEMPTS = 3


class WorkerDiedError(NkilabError):
    """A job's process died on every attempt, for example killed for its memory."""

    code = "worker-died"


class Executor(Protocol):
    """Where jobs run; a context manager that lets its workers go at the end."""

    def __enter__(self) -> Self:
        """Workers may start now, or with the first job."""
        ...

    def __exit__(self, *_error: object) -> None:
        """Close."""
        ...

    def close(self) -> None:
        """Let the workers go when their present jobs are done; jobs that wait are dropped. Twice is as good as once."""
        ...

    def run(self, function: Callable[[Job], Answer], jobs: Sequence[Job]) -> Iterator[tuple[int, Answer]]:
        """Give (position of the job, its answer) as jobs finish, in any order. `function` and jobs must be picklable.

        Raises:
            WorkerDiedError: a job killed its process on every attempt.
        """
        ...


class Inline:
    """One job after the other in this process."""

    def __enter__(self) -> Self:
        """Nothing to start."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Nothing to let go."""

    def close(self) -> None:
        """See `Executor.close`."""

    def run(self, function: Callable[[Job], Answer], jobs: Sequence[Job]) -> Iterator[tuple[int, Answer]]:
        """See `Executor.run`."""
        yield from ((position, function(job)) for position, job in enumerate(jobs))


class Processes:
    """A pool of fresh processes on this machine; a broken pool is replaced and its unfinished jobs run again."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        """The pool starts with the first job."""
        return self

    def __exit__(self, *_error: object) -> None:
        """End the processes."""
        self.close()

    def close(self) -> None:
        """See `Executor.close`."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def run(self, function: Callable[[Job], Answer], jobs: Sequence[Job]) -> Iterator[tuple[int, Answer]]:
        """See `Executor.run`."""
        left = dict(enumerate(jobs))
        for _ in range(ATTEMPTS):
            for position, answer in self._attempt(function, left):
                del left[position]
                yield position, answer
            if not left:
                return
        # What is left shared a pool with whatever kills its process: each gets a pool of its own.
        for position, job in left.items():
            with Processes(1) as alone:
                answers = list(alone._attempt(function, {position: job}))
            if not answers:
                raise WorkerDiedError(f"the process of job {position} died on every attempt", values=str(job))
            yield answers[0]

    def _attempt(self, function: Callable[[Job], Answer], jobs: Mapping[int, Job]) -> Iterator[tuple[int, Answer]]:
        """Answers until all jobs are done or the pool breaks."""
        if self._pool is None:
            # Spawned, not forked: this process may hold threads (polars, BLAS) that do not survive a fork.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_leave_interrupts)
        futures: dict[Future[Any], int] = {}
        try:
            futures = {self._pool.submit(function, job): position for position, job in jobs.items()}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            self.close()
            done = (f for f in futures if f.done() and not f.cancelled() and f.exception() is None)
            yield from ((futures[f], f.result()) for f in done if futures[f] in jobs)


def _leave_interrupts() -> None:
    """Ctrl-C reaches every process of the terminal; only the parent answers it, workers finish their job."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Dask:
    """A dask cluster; the scheduler gives the jobs of a lost worker to another one."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._client: Any = None

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            UsageError: dask is not installed, or no scheduler answers.
        """
        distributed = _distributed()
        try:
            self._client = distributed.Client(self.address, timeout="5s", set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise UsageError(
                f"no dask scheduler answers at {self.address}", fix="dask scheduler, then --scheduler tcp://HOST:8786"
            ) from error
        return self

    def __exit__(self, *_error: object) -> None:
        """Disconnect; the cluster stays."""
        self.close()

    def close(self) -> None:
        """See `Executor.close`."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def run(self, function: Callable[[Job], Answer], jobs: Sequence[Job]) -> Iterator[tuple[int, Answer]]:
        """See `Executor.run`."""
        distributed = _distributed()
        futures = [self._client.submit(function, job, pure=False) for job in jobs]
        positions = {future.key: position for position, future in enumerate(futures)}
        try:
            for future in distributed.as_completed(futures, loop=self._client.loop):
                position = positions[future.key]
                try:
                    answer = future.result()
                except distributed.KilledWorker as error:
                    raise WorkerDiedError(
                        f"every worker that ran job {position} died", values=str(jobs[position])
                    ) from error
                yield position, answer
        finally:
            if self._client is not None:
                self._client.cancel(futures)


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise UsageError("--scheduler needs dask", fix="pip install 'nkilab[cluster]'") from error
    return distributed


def choose(scheduler: str | None, workers: int, jobs: int) -> Executor:
    """The executor of `--scheduler` and `--workers`; one worker or one job stays in this process."""
    if scheduler:
        return Dask(scheduler)
    return Processes(min(workers, jobs)) if workers > 1 and jobs > 1 else Inline()
