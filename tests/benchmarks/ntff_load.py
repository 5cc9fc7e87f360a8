"""How long a large NTFF takes to open, and how much memory: real (or sample) records repeated up to a size.

python tests/benchmarks/ntff_load.py [--mb 50] [--ntff FILE] [--neff FILE]

It is opened in a process of its own, which has opened the file that the records are from before. The first number is for
`load`, in which everything is read and checked; the second has all tables made as well, and kept.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from nkilab.profiler import sample  # noqa: E402
from nkilab.profiler.readers.ntff.header import HEADER_BYTES, layout  # noqa: E402
from nkilab.profiler.readers.ntff.metadata import capture  # noqa: E402
from nkilab.profiler.readers.ntff.records import RECORD  # noqa: E402
from nkilab.profiler.readers.wire import Message, Source, walk  # noqa: E402
from nkilab.profiler.sample.wire import message, varint  # noqa: E402
from tests.profiler.readers.memory import cost  # noqa: E402

_SECTIONS, _SPAN = 16, 15


def repeated(data: bytes, size: int) -> bytes:
    """A version-6 NTFF of about `size` bytes: every record again and again, each time one execution later."""
    source = Source(data, "original")
    where = layout(source)
    what = capture(source, where)
    span = (what.stop_ps or 0) - (what.start_ps or 0)
    records = sum(s.end - s.start for g in what.graphs for s in g.sections)
    times = max(1, size // records)
    raw = bytearray(data[where.raw :])
    fields = b"".join(
        _field(source, *found)
        for found in walk(source, HEADER_BYTES, where.raw, "top")
        if found[0] not in (_SECTIONS, _SPAN)
    )
    for graph in what.graphs:
        for section in graph.sections:
            rows = np.tile(np.frombuffer(data[section.start : section.end], RECORD), times)
            rows["t"] += np.repeat(
                np.arange(times, dtype=np.uint64) * np.uint64(2 * span), (section.end - section.start) // 16
            )
            place = message((1, section.kind), (3, section.block), (5, len(raw)), (6, rows.nbytes), (7, section.nc))
            fields += message((_SECTIONS, place))
            raw += rows.tobytes()
    uuid = Message.parse(source, HEADER_BYTES, where.raw).message(_SPAN).raw(1)
    fields += message(
        (_SPAN, message((1, uuid), (2, what.start_ps or 0), (3, (what.start_ps or 0) + 2 * times * span)))
    )
    return data[:1] + len(fields).to_bytes(7, "little") + bytes(HEADER_BYTES - 8) + fields + bytes(raw)


def _field(source: Source, number: int, wire: int, a: int, b: int) -> bytes:
    """A field as it was."""
    if wire == 2:
        return message((number, bytes(source.data[a:b])))
    return varint(number << 3) + varint(a)


def main() -> None:
    """Make the file, open it, say how long and how much."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mb", type=int, default=50)
    parser.add_argument("--ntff", type=Path)
    parser.add_argument("--neff", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        original = options.ntff or sample.write(name)
        path = Path(name) / "large.ntff"
        path.write_bytes(repeated(original.read_bytes(), options.mb << 20))
        found = cost(original, path, options.neff or Path(name) / "softmax_matmul.neff")
        size = path.stat().st_size
        for what, seconds, grown in (
            ("load", found.load_s, found.load_bytes),
            ("all tables", found.tables_s, found.tables_bytes),
        ):
            sys.stdout.write(f"{what}: {seconds:.2f} s, {grown / 1e6:.0f} MB more, {grown / size:.1f} times the file\n")
        sys.stdout.write(f"{size / 1e6:.0f} MB, { ({name: n for name, n in found.rows.items() if n > 1000}) }\n")


if __name__ == "__main__":
    main()
