"""How much memory opening a profile takes: by how much this process, or one of its own, is larger at most."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from nkilab.profiler.readers import read

STATUS, PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def largest() -> int:
    """The largest size of this process since `restart`, in bytes. `ru_maxrss` would begin with that of its parent."""
    return _bytes("VmHWM")


def restart() -> int:
    """Forget the largest size so far; the size now, in bytes."""
    PEAK.write_text("5")
    return _bytes("VmRSS")


def _bytes(name: str) -> int:
    return next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if line.startswith(name)) * 1024


def _measured() -> bool:
    try:
        return restart() > 0
    except OSError:
        return False


MEASURED = _measured()
"""Whether the system says how large a process was."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds, and by how many bytes a process grows at most, to open a profile and to make all its tables; their rows."""

    load_s: float
    load_bytes: int
    tables_s: float
    tables_bytes: int
    rows: dict[str, int]


def cost(small: Path, large: Path, neff: Path | None = None) -> Cost:
    """What `large` costs a process of its own that has opened `small` before; `neff` belongs to both."""
    call = [sys.executable, "-m", __name__, str(small), str(large), *([str(neff)] if neff else [])]
    out = subprocess.run(call, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[3]).stdout
    return Cost(**json.loads(out))


def _cost(small: Path, large: Path, neff: Path | None = None) -> Cost:
    """The same in this process."""
    warm = read(small, neff)
    for name in warm.names:
        warm.table(name)
    size, begin = restart(), time.perf_counter()
    profile = read(large, neff)
    loaded, done = largest(), time.perf_counter()
    rows = {name: profile.table(name).height for name in profile.names}
    return Cost(done - begin, loaded - size, time.perf_counter() - done, largest() - size, rows)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(_cost(*map(Path, sys.argv[1:])))))
