"""Parquet files are decoded once in a process of its own before this one touches them.

polars ends the process on some damaged pages (an allocation of 2**61 bytes) and prints panics of its own on others. Behind
`tried`, neither can happen here: what the other process could decode, this one can, and what became of the rest is an
error of ours.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from threading import Lock, Timer

from nkilab.errors import InputError

from . import parquet
from .source import bytes_of
from .wire import Source, malformed

WORKER = Path(__file__).with_name("trial_worker.py")
SECONDS, BYTES_PER_SECOND = 2, 1 << 22
EXTRA_BYTES, EXTRA_PER_BYTE = 1 << 29, parquet.UNPACKED_PER_BYTE
PATIENCE = 30
_CRASHED = "its pages cannot be decoded"
_READY = b'"ready"\n'
_SURROUNDINGS = {"POLARS_MAX_THREADS": "4", "RUST_BACKTRACE": "0"}


class Trial:
    """The other process: started when first asked, again after a crash, ended with this one."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    def ask(self, path: Path, columns: Sequence[str] | None = None) -> str:
        """What became of the file: "" where every page could be decoded. No process, no trial."""
        size = path.stat().st_size
        asked = {
            "path": str(path.absolute()),
            "columns": columns,
            "seconds": SECONDS + size // BYTES_PER_SECOND,
            "bytes": EXTRA_BYTES + EXTRA_PER_BYTE * size,
        }
        with self._lock:
            process = self._process or self._started()
            return "" if process is None else self._answer(process, json.dumps(asked), PATIENCE + 10 * size / 1e6)

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None or process.stdin is None or process.stdout is None:
            return
        process.kill()
        process.wait()
        process.stdout.close()
        try:
            process.stdin.close()
        except OSError:  # what it did not read is lost with it
            return

    def _started(self) -> subprocess.Popen[bytes] | None:
        """A new process; None where this machine lets none be started."""
        if not sys.executable or getattr(sys, "frozen", False):  # an application that is not Python itself
            return None
        surroundings = os.environ | _SURROUNDINGS | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(WORKER)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=surroundings,
            )  # fmt: skip
        except OSError:
            return None
        if self._process.stdout and self._process.stdout.readline() == _READY:
            return self._process
        self.close()
        return None

    def _answer(self, process: subprocess.Popen[bytes], question: str, patience: float) -> str:
        """The answer to one question; a process that does not give one has crashed, or is ended after `patience` seconds."""
        if process.stdin is None or process.stdout is None:
            return _CRASHED
        timer = Timer(patience, process.kill)
        timer.daemon = True
        timer.start()
        try:
            process.stdin.write(question.encode() + b"\n")
            process.stdin.flush()
            said = json.loads(process.stdout.readline())
        except (OSError, ValueError):
            self.close()
            return _CRASHED
        finally:
            timer.cancel()
        return str(said)


@cache
def _trial(_: int) -> Trial:
    """The trial of the process with this id: a fork must not share its parent's pipes."""
    return Trial()


def tried(path: Path) -> None:
    """Check a Parquet file: its frame here, its pages in the other process.

    Raises:
        InputError: it is missing, no Parquet, unpacks to far more than its size, or a page of it cannot be decoded.
    """
    data = bytes_of(path)
    starts = parquet.check(Source(data, str(path)))
    data.release()
    trial = _trial(os.getpid())
    if said := trial.ask(path):
        raise _where(trial, path, starts, said)


def _where(trial: Trial, path: Path, starts: Sequence[tuple[str, int]], said: str) -> InputError:
    """The error that names the first column that cannot be decoded, and its offset."""
    for name, start in starts:
        if why := trial.ask(path, [name]):
            return malformed(str(path), f"column {name}", start, f"not a readable Parquet file: {why}")
    return malformed(str(path), "footer", 0, f"not a readable Parquet file: {said}")
