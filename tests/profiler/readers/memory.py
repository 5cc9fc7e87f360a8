"""How much memory opening a profile takes: by how much this process, or one of its own, is larger at most."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

STATUS, PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MEASURED = STATUS.is_file() and PEAK.exists()
"""Whether the system says how large a process is."""


def largest() -> int:
    """The largest size of this process since `restart`, in bytes. `ru_maxrss` would begin with that of its parent."""
    return _bytes("VmHWM")


def restart() -> int:
    """Forget the largest size so far; the size now, in bytes."""
    PEAK.write_text("5")
    return _bytes("VmRSS")


def _bytes(name: str) -> int:
    return next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if line.startswith(name)) * 1024


def growth(small: Path, large: Path) -> tuple[int, int]:
    """Bytes by which a process that has opened `small` grows at most: to open `large`, and to make all its tables."""
    call = [sys.executable, "-m", __name__, str(small), str(large)]
    out = subprocess.run(call, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[3]).stdout
    opened, made = json.loads(out)
    return opened, made


def _grown(small: str, large: str) -> tuple[int, int]:
    from nkilab.profiler.readers import read

    warm = read(Path(small))
    for name in warm.names:
        warm.table(name)
    size = restart()
    profile = read(Path(large))
    opened = largest() - size
    for name in profile.names:
        profile.table(name)
    return opened, largest() - size


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_grown(*sys.argv[1:])))
