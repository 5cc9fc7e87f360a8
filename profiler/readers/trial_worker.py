"""The other side of `trial`: a program of its own that decodes Parquet files and says what became of it.

It says "ready", then for each JSON object on a line of standard input ({"path", "columns", "seconds", "bytes"}) one JSON
text on a line of standard output: "" where every page could be decoded, else what the decoder said. It imports polars and
nothing of nkilab.
"""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import polars as pl

STATM = Path("/proc/self/statm")


def limit(seconds: int, extra: int) -> None:
    """Let the next file take at most `seconds` of processor time and `extra` bytes; Linux alone holds to the second."""
    try:
        import resource
    except ImportError:  # Windows
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    _set(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + seconds)
    if STATM.exists():
        _set(resource.RLIMIT_DATA, int(STATM.read_text().split()[5]) * os.sysconf("SC_PAGESIZE") + extra)


def _set(what: int, value: int) -> None:
    """Set a soft limit, below the hard one."""
    import resource

    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def decode(path: str, columns: list[str] | None) -> str:
    """Decode the columns (all of them for None), a few rows at a time and keeping none."""
    frame = pl.scan_parquet(path, glob=False)
    wanted = pl.all() if columns is None else pl.col(columns)
    try:
        frame.select(wanted).sink_ipc(os.devnull)
    except pl.exceptions.PanicException:
        return "the decoder gave up on it"
    except (pl.exceptions.PolarsError, OSError) as error:
        return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return ""


def warmed() -> str:
    """Decode a file of our own, so that the decoder's threads are there before memory is limited."""
    file = io.BytesIO()
    pl.DataFrame({"a": [1]}).write_parquet(file)
    file.seek(0)
    return "" if pl.scan_parquet(file).collect().height == 1 else "no decoder"


def say(text: str) -> None:
    """One answer."""
    sys.stdout.write(json.dumps(text) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Answer until the input ends."""
    say(warmed() or "ready")
    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        limit(asked["seconds"], asked["bytes"])
        say(decode(asked["path"], asked["columns"]))


if __name__ == "__main__":
    main()
