"""Damaged files: the readers must open each, or refuse it with an error of ours.

    python tests/profiler/readers/fuzz/corrupt.py 100000 [--seed 0] [--reader ntff]

runs many corruptions over the sample and over the real profiles where they are, and checks time and memory as well.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
sys.path.insert(0, str(ROOT))

from nkilab.errors import NkilabError  # noqa: E402
from tests.profiler.readers import memory  # noqa: E402
from tests.profiler.readers.fuzz.targets import Target, targets  # noqa: E402

SECONDS = 2.0
TIMES_SIZE = 4
CONSTANT_BYTES = 1 << 23


def outcome(target: Target, content: bytes, folder: Path) -> str:
    """Read the damaged file: "opened", or the code of our error. Anything else is raised."""
    (folder / target.victim).write_bytes(content)
    try:
        target.open(folder)
    except NkilabError as error:
        str(error)
        return error.code
    return "opened"


def corruption(target: Target, seed: int) -> bytes:
    """The damaged file of one seed."""
    chance = random.Random(f"{target.name}/{seed}")
    return target.damage(target.files[target.victim], chance)


def _measured(target: Target, seed: int, folder: Path) -> tuple[str, float, int]:
    """Outcome, seconds, and bytes by which the process grew at most."""
    content = corruption(target, seed)
    size = memory.restart() if memory.MEASURED else 0
    begin = time.process_time()
    try:
        result = outcome(target, content, folder)
    except Exception:  # noqa: BLE001 what escapes is what is looked for
        result = "ESCAPED " + traceback.format_exc().strip().splitlines()[-1]
    seconds = time.process_time() - begin
    return result, seconds, memory.largest() - size if memory.MEASURED else 0


def main() -> int:
    """Run by hand."""
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", default="")
    options = parser.parse_args()
    profiles = next((p / "shared" / "profiles" for p in ROOT.parents if (p / "shared" / "profiles").is_dir()), None)
    chosen = [target for target in targets(profiles) if options.reader in target.name]
    bad, slowest, most = 0, 0.0, 0
    for target in chosen:
        results: Counter[str] = Counter()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for file, content in target.files.items():
                (folder / file).write_bytes(content)
            target.open(folder)
            allowed = TIMES_SIZE * sum(map(len, target.files.values())) + CONSTANT_BYTES
            for seed in range(options.seed, options.seed + options.count // len(chosen) + 1):
                result, seconds, grown = _measured(target, seed, folder)
                results[result.split(":")[0]] += 1
                slowest, most = max(slowest, seconds), max(most, grown)
                if result.startswith("ESCAPED") or seconds > SECONDS or grown > allowed:
                    bad += 1
                    sys.stdout.write(f"{target.name} seed {seed}: {result}, {seconds:.2f} s, {grown} bytes\n")
        sys.stdout.write(f"{target.name}: {dict(results)}\n")
    sys.stdout.write(f"{bad} bad; slowest {slowest:.2f} s; largest growth {most / 1e6:.1f} MB\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
