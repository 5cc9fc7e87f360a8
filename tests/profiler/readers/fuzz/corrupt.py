"""Damaged files: the readers must open each, or refuse it with an error of ours.

    python tests/profiler/readers/fuzz/corrupt.py 100000 [--seed 0] [--reader ntff]

runs many corruptions over the sample and over the real profiles where they are, and checks time and memory as well.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import random
import resource
import struct
import sys
import tarfile
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
sys.path.insert(0, str(ROOT))

from nkilab.errors import InputError, UsageError  # noqa: E402
from nkilab.profiler import sample  # noqa: E402
from nkilab.profiler.readers import inspect, ntff  # noqa: E402
from nkilab.profiler.sample.wire import message  # noqa: E402

SECONDS = 2.0
TIMES_SIZE = 4
CONSTANT_BYTES = 1 << 26
_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
_HEAD = 4096

Open = Callable[[Path], object]


@dataclass(frozen=True, slots=True)
class Target:
    """One file to damage: `open` reads the folder in which `files` lie, and `victim` is the one that is damaged."""

    name: str
    files: dict[str, bytes]
    victim: str
    open: Open
    repack: bool = False


def damage(data: bytes, chance: random.Random) -> bytes:
    """`data` with one to four things wrong, the first 4 KB hit as often as all the rest."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        out = _one(out, chance)
    return bytes(out)


def _one(out: bytearray, chance: random.Random) -> bytearray:
    """One thing wrong."""
    if not out:
        return bytearray(chance.randbytes(8))
    end = min(len(out), _HEAD) if chance.random() < 0.5 else len(out)
    at, size = chance.randrange(end), chance.choice((1, 2, 4, 8, 64))
    match chance.randrange(7):
        case 0:
            out[at] ^= 1 << chance.randrange(8)
        case 1:
            out[at : at + size] = chance.randbytes(size)[: len(out) - at]
        case 2:
            out[at : at + 8] = struct.pack("<Q", chance.choice(_EXTREMES))[: len(out) - at]
        case 3:
            del out[at:]
        case 4:
            del out[at : at + size]
        case 5:
            out[at:at] = chance.randbytes(size)
        case _:
            piece = out[at : at + chance.choice((16, 256))]
            where = chance.randrange(end)
            out[where:where] = piece
    return out


def repacked(data: bytes, chance: random.Random) -> bytes:
    """A NEFF with one member damaged and the archive whole again."""
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data[1024:]))) as tar:
        files = {entry.name: tar.extractfile(entry).read() for entry in tar if entry.isfile()}  # type: ignore[union-attr]
    wanted = [name for name in files if name.endswith((".dbg", ".json", "PE.bin"))]
    victim = chance.choice(wanted)
    files[victim] = damage(files[victim], chance)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    body = gzip.compress(out.getvalue(), 1)
    return data[:16] + struct.pack("<Q", len(body)) + data[24:1024] + body


def outcome(target: Target, content: bytes, folder: Path) -> str:
    """Read the damaged file: "opened", or the code of our error. Anything else is raised."""
    (folder / target.victim).write_bytes(content)
    try:
        target.open(folder)
    except (InputError, UsageError) as error:
        str(error)
        return error.code
    return "opened"


def corruption(target: Target, seed: int) -> bytes:
    """The damaged file of one seed."""
    chance = random.Random(f"{target.name}/{seed}")
    return (repacked if target.repack else damage)(target.files[target.victim], chance)


def made() -> list[Target]:
    """Targets that a bare clone has: the sample in all versions, and a small inspect folder."""
    run = sample.demo()
    small = {"kernel.neff": sample.neff(run)}
    found = [_ntff(f"ntff v{version}", small | {"a.ntff": sample.ntff(run, version)}) for version in (4, 5, 6)]
    found += _neffs("neff", small | {"a.ntff": sample.ntff(run)})
    return found + _inspects("inspect", made_inspect())


def real(profiles: Path) -> list[Target]:
    """Targets from real files."""
    found = []
    for path in sorted(profiles.glob("*/*/*.ntff")):
        files = {"kernel.neff": next(path.parent.glob("*.neff")).read_bytes(), "a.ntff": path.read_bytes()}
        found += [_ntff(f"ntff {path.parent.name}", files), *_neffs(f"neff {path.parent.name}", files)]
    folder = profiles / "trn2-inspect"
    return found + _inspects("inspect real", {path.name: path.read_bytes() for path in sorted(folder.glob("*.pb"))})


def _ntff(name: str, files: dict[str, bytes]) -> Target:
    return Target(name, files, "a.ntff", lambda folder: ntff.read(folder / "a.ntff", folder / "kernel.neff"))


def _neffs(name: str, files: dict[str, bytes]) -> list[Target]:
    def opened(folder: Path) -> object:
        return ntff.read(folder / "a.ntff", folder / "kernel.neff")

    return [
        Target(name, files, "kernel.neff", opened),
        Target(f"{name} members", files, "kernel.neff", opened, repack=True),
    ]


def _inspects(name: str, files: dict[str, bytes]) -> list[Target]:
    return [Target(f"{name} {victim}", files, victim, inspect.read) for victim in files]


def made_inspect() -> dict[str, bytes]:
    """A small inspect folder: two executions, CPU and memory samples, a framework trace."""
    names = message(
        (1, "ntrace_inspect_type"),
        *((2, message((1, n), (2, name))) for n, name in ((3, "nrt_execute"), (7, "nc_exec_running"))),
    )
    info = message(
        (1, 3), (2, 77), (4, "i-0"), (7, message((1, 4), (3, 1 << 34))), (10, names), (14, 8), (15, "trn2.3xlarge")
    )
    events = []
    for turn in range(2):
        for kind, phase, at in ((3, 1, 0), (7, 1, 20), (7, 2, 900), (3, 2, 1000)):
            device = [("nc_timestamp_ns", str(5000 * turn + at)), ("device_core_idx", "4")] if kind == 7 else []
            pairs = [message((1, key), (2, value)) for key, value in [("nc_idx", "0"), ("exec_id", str(turn)), *device]]
            stamp = 1_700_000_000_000_000_000 + 5000 * turn + at
            events.append(
                message(
                    (2, stamp),
                    (7, kind),
                    (9, 9),
                    (10, len(events)),
                    *((12, pair) for pair in pairs),
                    (14, phase),
                    (15, 10 * turn + kind),
                )
            )
    samples = [
        message((2, 1_700_000_000_000_000_000 + n), (3, n % 4)) + b"\x0d" + struct.pack("<f", n) for n in range(8)
    ]
    memory = [message((1, 1 << 30), (2, 1_700_000_000_000_000_000 + n)) for n in range(4)]
    trace = {
        "traceEvents": [{"ph": "X", "name": "aten::mm", "ts": 1.5, "dur": 2.0, "pid": 1, "tid": 2, "args": {"x": [1]}}],
        "baseTimeNanoseconds": 5,
    }
    joined = {
        name: b"".join(struct.pack("<I", len(r)) + r for r in rows)
        for name, rows in (("ntrace.pb", events), ("cpu_util.pb", samples), ("host_mem.pb", memory))
    }
    return {"trace_info.pb": info, **joined, "trace.json": json.dumps(trace).encode()}


def targets(profiles: Path | None) -> Iterator[Target]:
    """All targets."""
    yield from made()
    if profiles and profiles.is_dir():
        yield from real(profiles)


def _measured(target: Target, seed: int, folder: Path) -> tuple[str, float, int]:
    """Outcome, seconds, and growth of the process's largest size so far in bytes."""
    content = corruption(target, seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    try:
        result = outcome(target, content, folder)
    except Exception:  # noqa: BLE001 what escapes is what is looked for
        result = "ESCAPED " + traceback.format_exc().strip().splitlines()[-1]
    seconds = time.process_time() - begin
    return result, seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def main() -> int:
    """Run by hand."""
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", default="")
    options = parser.parse_args()
    profiles = next((p / "shared" / "profiles" for p in ROOT.parents if (p / "shared" / "profiles").is_dir()), None)
    chosen = [target for target in targets(profiles) if options.reader in target.name]
    bad, slowest = 0, 0.0
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
                slowest = max(slowest, seconds)
                if result.startswith("ESCAPED") or seconds > SECONDS or grown > allowed:
                    bad += 1
                    sys.stdout.write(f"{target.name} seed {seed}: {result}, {seconds:.2f} s, {grown} bytes\n")
        sys.stdout.write(f"{target.name}: {dict(results)}\n")
    sys.stdout.write(
        f"{bad} bad; slowest {slowest:.2f} s; largest size {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB\n"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
