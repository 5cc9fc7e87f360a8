"""What the writer writes, the reader reads: every version, any table."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nkilab.profiler import sample
from nkilab.profiler.profile import Profile
from nkilab.profiler.readers import ntff, read
from nkilab.profiler.sample import encode
from nkilab.profiler.sample.run import ENGINES, EXECUTED, PACKETS, SEMAPHORES, THROTTLES, Core, Op, Run

VERSIONS = pytest.mark.parametrize("version", [4, 5, 6])
TICK = 1000
TOTAL = 10_000_000 * TICK


@st.composite
def cores(draw: st.DrawFn) -> Core:
    """Programs of any length, executed any number of times in order, with packets, semaphores and throttle windows."""
    lengths = draw(st.lists(st.integers(0, 5), min_size=5, max_size=5))
    programs = tuple(
        tuple(Op(encode.plain(0xA2), 10 * e + i, f"I-{e}-{i}", 5 + i) for i in range(n)) for e, n in enumerate(lengths)
    )
    executed = [row for engine, length in enumerate(lengths) if length for row in draw(executions(engine, length))]
    packets = [
        row
        for ring in draw(st.sets(st.tuples(st.integers(0, 15), st.integers(0, 3)), max_size=4))
        for row in draw(transfers(*ring))
    ]
    updates = draw(st.lists(st.tuples(times, st.integers(0, 255), st.integers(0, 1000)), max_size=6))
    limits = sorted(draw(st.sets(times, max_size=3)))
    return Core(
        programs,
        pl.DataFrame(executed, EXECUTED, orient="row"),
        pl.DataFrame(packets, PACKETS, orient="row"),
        pl.DataFrame(sorted(updates), SEMAPHORES, orient="row"),
        pl.DataFrame([(t, 4, 8, 1) for t in limits], THROTTLES, orient="row"),
    )


times = st.integers(0, TOTAL // TICK - 1).map(lambda t: t * TICK)
lengths_ns = st.integers(1, 90)


@st.composite
def executions(draw: st.DrawFn, engine: int, length: int) -> list[tuple[int, ...]]:
    """Executions one after the other on an engine."""
    at, rows = draw(st.integers(0, 100)), []
    for _ in range(draw(st.integers(0, 8))):
        end = at + draw(lengths_ns)
        rows.append((engine, draw(st.integers(0, length - 1)), at * TICK, end * TICK, draw(st.integers(0, 0xFFFF))))
        at = end + draw(st.integers(0, 50))
    return rows


@st.composite
def transfers(draw: st.DrawFn, engine: int, queue: int) -> list[tuple[int, ...]]:
    """Packets of one ring: they may overlap, and end in the order in which they start."""
    start = end = draw(st.integers(0, 100))
    rows = []
    for _ in range(draw(st.integers(0, 6))):
        start += draw(st.integers(1, 40))
        end = max(start, end) + draw(st.integers(1, 40))
        rows.append(
            (engine, queue, start * TICK, end * TICK, draw(st.integers(1, 0xFFFFFF)), draw(st.integers(0, 0xFFFF)))
        )
    return rows


def opened(run: Run, version: int) -> Profile:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "a.neff").write_bytes(sample.neff(run))
        (Path(name) / "a_exec_2.ntff").write_bytes(sample.ntff(run, version))
        return ntff.read(Path(name) / "a_exec_2.ntff")


@VERSIONS
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(parts=st.lists(cores(), min_size=1, max_size=2))
def test_what_is_written_is_read(version: int, parts: list[Core]) -> None:
    profile = opened(Run(tuple(parts), TOTAL), version)
    for number, core in enumerate(parts):
        _same_instructions(profile.rows("Instruction").filter(pcore_idx=number), core)
        _same_packets(profile.rows("DmaPacket").filter(pcore_idx=number), core, number)
        found = profile.rows("SemaphoreUpdate").filter(pcore_idx=number)
        assert sorted((round(row["timestamp"] * 1000), row["value"]) for row in found.iter_rows(named=True)) == sorted(
            (t, value) for t, _, value in core.semaphores.iter_rows()
        )
        assert profile.rows("Throttle").filter(pcore_idx=number)["timestamp"].to_list() == [
            t / 1000 for t in core.throttles["t"]
        ]
    assert profile.table("Summary")["value"].to_list() == [TOTAL / 1e12]


def _same_instructions(rows: pl.DataFrame, core: Core) -> None:
    """Times, program counters and names of the compiler."""
    found = sorted(
        (
            ENGINES.index(row["engine"]),
            row["compiler_pc"],
            round(row["start_ts"] * 1000),
            round(row["end_ts"] * 1000),
            row["bir_instruction_name"],
            row["line"],
        )
        for row in rows.iter_rows(named=True)
    )
    written = sorted(
        (engine, pc, start, end, f"I-{engine}-{pc}", 5 + pc) for engine, pc, start, end, _ in core.executed.iter_rows()
    )
    assert found == written
    assert (rows["pc"] == rows["compiler_pc"] + 2).all(), "the runtime's preamble is two instructions long"


def _same_packets(rows: pl.DataFrame, core: Core, number: int) -> None:
    """Every packet, on the engines of its core pair."""
    columns = ("engine_idx", "queue_idx", "start_ts", "end_ts", "transfer_bytes", "crc")
    found = sorted(
        (e, q, round(s * 1000), round(t * 1000), size, crc)
        for e, q, s, t, size, crc in rows.select(columns).iter_rows()
    )
    pair = (4 + number) // 2
    assert found == sorted((e + 32 * pair, q, s, t, size, crc) for e, q, s, t, size, crc in core.packets.iter_rows())


@VERSIONS
def test_the_sample_opens_with_lines_operands_and_sources(version: int, tmp_path: Path) -> None:
    path = sample.write(tmp_path, version)
    profile = read(path, source_root=tmp_path)
    rows = profile.table("Instruction")
    assert rows.height == 1 + 9 * 8
    assert rows.select("line", "operands", "bir_id").null_count().sum_horizontal().item() == 0
    text = profile.table("Source")["text"][0].splitlines()
    matmul = rows.filter(opcode="MATMUL")
    assert "nc_matmul" in text[matmul["line"][0] - 1]
    assert rows["raw_flops"].sum() == 8 * 2 * 512 * 128 * 128
    assert profile.has("Flow", "gap_time")


def test_wait_times_are_cycles_of_the_engines_clock(tmp_path: Path) -> None:
    core = Core(
        (((Op(encode.plain(0xA2))),), (), (), (), ()), pl.DataFrame([(0, 0, 0, 5000, 1200)], EXECUTED, orient="row")
    )
    run = Run((core,), TOTAL)
    assert opened(run, 6).table("Instruction")["evt_wait_time_ns"].to_list() == pytest.approx([1000.0], abs=0.1)
    unknown = Run((core,), TOTAL, instance_type="p9.big")
    (tmp_path / "a.ntff").write_bytes(sample.ntff(unknown))
    assert ntff.read(tmp_path / "a.ntff").table("Instruction")["evt_wait_time_ns"].to_list() == [None]


def test_an_execution_outside_the_window_is_left_out() -> None:
    inside, straddling = (0, 0, 0, 5000, 0), (0, 0, TOTAL - 1000, TOTAL + 1000, 0)
    core = Core(((Op(encode.plain(0xA2)),), (), (), (), ()), pl.DataFrame([inside, straddling], EXECUTED, orient="row"))
    assert opened(Run((core,), TOTAL), 6).table("Instruction")["start_ts"].to_list() == [0.0]


def test_times_far_from_zero_keep_their_picoseconds() -> None:
    start = TOTAL - 7_777
    core = Core(
        ((Op(encode.plain(0xA2)),), (), (), (), ()),
        pl.DataFrame([(0, 0, start, start + 13, 0)], EXECUTED, orient="row"),
    )
    row = opened(Run((core,), TOTAL), 6).table("Instruction").row(0, named=True)
    assert (np.round(row["start_ts"] * 1000), row["duration_ns"]) == (start, 0.013)
