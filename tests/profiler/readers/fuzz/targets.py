"""Files to damage, for every reader: made by nkilab itself, and the real ones where they are."""

from __future__ import annotations

import hashlib
import json
import random
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nkilab.profiler import sample
from nkilab.profiler.readers import read
from nkilab.profiler.sample.wire import message
from tests.profiler import makers
from tests.profiler.readers.fuzz import damage

Open = Callable[[Path], object]
Damage = Callable[[bytes, random.Random], bytes]
NODE = "n_" + "0123456789" * 4
METRICS = {"total_time": 3.5e-05, "hardware_flops": 1024000.0, "nki_version": "0.7", "dma_queue_count": 3}


@dataclass(frozen=True, slots=True)
class Target:
    """One file to damage: `open` reads the folder in which `files` lie, and `victim` is the one that is damaged."""

    name: str
    files: dict[str, bytes]
    victim: str
    open: Open
    damage: Damage = damage.of_bytes


def whole(path: Path, neff: Path | None = None) -> None:
    """Read a profile and every table of it."""
    profile = read(path, neff)
    for name in profile.names:
        profile.table(name)


def made() -> list[Target]:
    """Targets that a bare clone has."""
    run = sample.demo()
    small = {"kernel.neff": sample.neff(run)}
    found = [_ntff(f"ntff v{version}", small | {"a.ntff": sample.ntff(run, version)}) for version in (4, 5, 6)]
    found += _neffs("neff", small | {"a.ntff": sample.ntff(run)})
    found += _each("inspect", made_inspect(), lambda name: damage.of_text if name == "trace.json" else damage.of_bytes)
    return [*found, *_texts(), *_folders()]


def real(profiles: Path) -> list[Target]:
    """Targets from real files."""
    found = []
    for path in sorted(profiles.glob("*/*/*.ntff")):
        files = {"kernel.neff": next(path.parent.glob("*.neff")).read_bytes(), "a.ntff": path.read_bytes()}
        found += [_ntff(f"ntff {path.parent.name}", files), *_neffs(f"neff {path.parent.name}", files)]
    folder = profiles / "trn2-inspect"
    found += _each("inspect real", {path.name: path.read_bytes() for path in sorted(folder.glob("*.pb"))})
    return found + [
        _text(f"device-json {path.parent.name}", path.read_bytes())
        for path in sorted(profiles.glob("*/*/profile.json"))
    ]


def _ntff(name: str, files: dict[str, bytes]) -> Target:
    return Target(name, files, "a.ntff", lambda folder: whole(folder / "a.ntff", folder / "kernel.neff"))


def _neffs(name: str, files: dict[str, bytes]) -> list[Target]:
    def opened(folder: Path) -> None:
        whole(folder / "a.ntff", folder / "kernel.neff")

    return [
        Target(name, files, "kernel.neff", opened),
        Target(f"{name} members", files, "kernel.neff", opened, damage.of_neff_member),
    ]


def _each(name: str, files: dict[str, bytes], how: Callable[[str], Damage] = lambda _: damage.of_bytes) -> list[Target]:
    """A folder, with each of its files as the victim."""
    return [Target(f"{name} {victim}", files, victim, whole, how(victim)) for victim in files]


def _text(name: str, content: bytes) -> Target:
    return Target(name, {"a.txt": content}, "a.txt", lambda folder: whole(folder / "a.txt"), damage.of_text)


def _texts() -> list[Target]:
    """Device JSON, summary-json, summary-text."""
    lines = "\n".join(f"    {name}  {value}" for name, value in METRICS.items())
    return [
        _text("device-json", json.dumps(makers.device_json()).encode()),
        _text("summary json", json.dumps({NODE: METRICS, NODE[:-1] + "f": METRICS}).encode()),
        _text("summary text", f"$ view\n{NODE}\n{lines}\n".encode()),
    ]


def _folders() -> list[Target]:
    """A profile saved by nkilab, and the same tables as the Explorer would have them."""
    with tempfile.TemporaryDirectory() as name:
        folder = read(sample.write(Path(name) / "x")).save(Path(name) / "saved")
        files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    tables = {name: content for name, content in files.items() if name.endswith(".parquet")}

    def how(name: str) -> Damage:
        return damage.of_parquet if name.endswith(".parquet") else damage.of_text

    saved = [
        Target(f"folder {name}", files, name, _sealed if name in tables else whole, how(name)) for name in sorted(files)
    ]
    return [*_each("parquet", tables, how), *saved]


def _sealed(folder: Path) -> None:
    """Read a saved profile whose manifest has the checksums of the files as they are: damage by someone who knows how."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in manifest["tables"]:
        manifest["tables"][name] = hashlib.sha256((folder / f"{name}.parquet").read_bytes()).hexdigest()
    path.write_text(json.dumps(manifest))
    whole(folder)


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
