"""An end to a kernel that never ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nkilab.errors import NkilabError


class TimeLimitError(NkilabError):
    """A kernel, or a command that runs one, took longer than it may."""

    code = "timed-out"


@contextmanager
def limited(what: str, seconds: float) -> Iterator[None]:
    """End the body after so many seconds of wall time.

    Only a main thread can be woken, and only where no other timer runs: elsewhere, as in a dask worker's threads, there is
    no limit.

    Raises:
        TimeLimitError: the time is over.
    """

    def over(_signal: int, _frame: Any) -> None:
        raise TimeLimitError(
            f"{what} was still running after {seconds:g} s",
            fix="--timeout SECONDS gives it longer; else it may never end",
        )

    if threading.current_thread() is not threading.main_thread() or signal.getitimer(signal.ITIMER_REAL)[0]:
        yield
        return
    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
