"""The loop: who waits for whom, computed by hand."""

from __future__ import annotations

import pytest

from nkilab.clock import Policy, time
from nkilab.errors import UsageError
from nkilab.hardware import load

from .building import TraceBuilder

SIMPLE = {
    "throttle.enabled": False,
    "vector.issue_ns": 100.0,
    "vector.pipeline_ns": 50.0,
    "vector.cycles.copy_4byte": 0.0,
    "handover.same_engine_ns": 30.0,
    "handover.signal_ns": 5.0,
    "handover.wait_ns": 15.0,
    "scalar.issue_ns": 200.0,
    "scalar.sbuf_ns": 0.0,
    "scalar.cycles": 0.0,
    "scalar.pipeline_ns": 50.0,
}


@pytest.fixture
def simple():
    """Round numbers: VectorE takes 100 + 50 ns, ScalarE 200 + 50, 30 ns on one engine, 20 between engines."""
    return load("trn2").replace(**SIMPLE)


def starts(timed, trace, table):
    return timed(trace, table).instructions["start"].tolist()


def test_independent_instructions_follow_at_the_issue_interval(timed, simple) -> None:
    trace = TraceBuilder()
    for _ in range(3):
        trace.copy(trace.sbuf(8), trace.sbuf(8))
    assert starts(timed, trace, simple) == [0, 100, 200]


def test_a_dependent_one_waits_for_the_end_and_the_hand_over(timed, simple) -> None:
    trace = TraceBuilder()
    a, b, c, d = (trace.sbuf(8) for _ in range(4))
    trace.copy(b, a)
    trace.copy(c, b)
    trace.copy(d, c, engine="scalar")
    assert starts(timed, trace, simple) == [0, 180, 180 + 150 + 20]


def test_reading_another_half_of_a_tile_does_not_wait(timed, simple) -> None:
    """The twin of the test above: same instructions, but the halves written and read differ."""
    trace = TraceBuilder()
    a, b, c = (trace.sbuf(8) for _ in range(3))
    trace.copy(b.at(c0=4), a.at(c0=4))
    trace.copy(b.at(c1=4), a.at(c1=4))
    trace.copy(c.at(c1=4), b.at(c1=4), engine="scalar")
    assert starts(timed, trace, simple) == [0, 100, 100 + 150 + 20]


def test_a_write_waits_for_reads_on_other_engines_but_not_on_its_own(timed, simple) -> None:
    trace = TraceBuilder()
    a, b, c = (trace.sbuf(8) for _ in range(3))
    trace.copy(b, a, engine="scalar")
    trace.copy(a, c)
    assert starts(timed, trace, simple) == [0, 250 + 20]
    own = TraceBuilder()
    a, b, c = (own.sbuf(8) for _ in range(3))
    own.copy(b, a)
    own.copy(a, c)
    assert starts(timed, own, simple) == [0, 100]


def test_weights_are_loaded_behind_the_multiply_before(timed, hw) -> None:
    trace = TraceBuilder()
    for _ in range(3):
        trace.matmul(trace.psum(512), trace.sbuf(128, dtype="bfloat16"), trace.sbuf(512, dtype="bfloat16"))
    start = timed(trace).instructions["start"].tolist()
    weights, multiply = 64 / 2.4, 2 + 512 / 2.4
    first = weights
    assert start == pytest.approx([0, first, first, first + multiply, first + multiply, first + 2 * multiply])


def test_a_store_that_waits_holds_back_later_loads_only_in_program_order(timed) -> None:
    trace = TraceBuilder()
    source, result = trace.tensor("hbm", 512, 128, kind="input"), trace.tensor("hbm", 512, 128, kind="output")
    for _ in range(2):
        tile, out = trace.sbuf(512), trace.sbuf(512)
        trace.dma(tile, source)
        trace.add("activation", "scalar", {"dst": out}, {"data": tile}, function="exp")
        trace.dma(result, out)
    strict, free = (timed(trace, loads=loads) for loads in ("program", "overtake"))
    load, store = 3, 2
    row = {t: i for i, t in enumerate(strict.instructions["trace_row"].tolist())}
    assert strict.instructions["start"][row[load]] > strict.instructions["start"][row[store]]
    assert free.instructions["start"][row[load]] == pytest.approx(1200 + 580)
    assert free.body_ns < strict.body_ns


def test_a_store_that_is_ready_goes_before_later_loads(timed, hw) -> None:
    trace = TraceBuilder()
    source, result = trace.tensor("hbm", 8, 128, kind="input"), trace.tensor("hbm", 8, 128, kind="output")
    computed = trace.sbuf(8)
    trace.copy(computed, trace.sbuf(8))
    trace.dma(result, computed)
    for _ in range(9):
        trace.dma(trace.sbuf(8), source)
    start = timed(trace).instructions["start"]
    shown = hw.dma.software_start_ns
    assert start[2] == shown
    assert start[1] == pytest.approx(shown + hw.dma.software_issue_ns)


def test_gpsimd_writes_descriptors_or_computes_but_not_both(timed, hw) -> None:
    trace = TraceBuilder()
    trace.add("iota", "gpsimd", {"dst": trace.sbuf(1200)}, {}, function="")
    trace.dma(trace.sbuf(8), trace.tensor("hbm", 8, 128, kind="input"))
    start = timed(trace).instructions["start"].tolist()
    assert start == pytest.approx([0, (150 + 1200) / 1.2 + hw.dma.software_start_ns])


def test_a_dma_that_scalar_issues_keeps_it_from_computing(timed, hw) -> None:
    trace = TraceBuilder()
    trace.dma(trace.sbuf(8), trace.tensor("hbm", 8, 128, kind="input"), engine="scalar")
    trace.copy(trace.sbuf(8), trace.psum(8), engine="scalar")
    assert timed(trace).instructions["start"].tolist() == pytest.approx([0, hw.dma.scalar_issue_ns])


def test_a_dma_that_sync_issues_does_not(timed) -> None:
    """The twin of the test above."""
    trace = TraceBuilder()
    trace.dma(trace.sbuf(8), trace.tensor("hbm", 8, 128, kind="input"), engine="sync")
    trace.copy(trace.sbuf(8), trace.psum(8), engine="scalar")
    assert timed(trace).instructions["start"].tolist() == [0, 0]


def test_cores_run_side_by_side(hw) -> None:
    trace = TraceBuilder()
    for core in (0, 1):
        trace.core = core
        trace.copy(trace.sbuf(512), trace.psum(512))
    columns, names = trace.build()
    timing = time(columns, names, hw)
    assert timing.instructions["start"].tolist() == [0, 0]
    assert timing.instructions["trace_row"].tolist() == [0, 1]


def test_a_nearly_empty_trace_has_times(hw) -> None:
    trace = TraceBuilder()
    trace.copy(trace.sbuf(4), trace.sbuf(4))
    columns, names = trace.build()
    empty = {table: {key: column[:0] for key, column in keys.items()} for table, keys in columns.items()}
    timing = time(empty, names, hw)
    assert (timing.body_ns, len(timing.dma["start"])) == (0.0, 0)
    assert timing.total_ns == hw.launch.prologue_ns + hw.launch.tail_ns


def test_a_trace_without_a_column_is_refused(hw) -> None:
    trace = TraceBuilder()
    trace.copy(trace.sbuf(4), trace.sbuf(4))
    columns, names = trace.build()
    del columns["accesses"]["run"]
    with pytest.raises(UsageError, match=r"accesses\.run"):
        time(columns, names, hw)


def test_two_cores_share_the_bandwidth_of_their_stack(hw) -> None:
    def body(cores: int) -> float:
        trace = TraceBuilder()
        for core in range(cores):
            trace.core = core
            for _ in range(40):
                trace.dma(trace.sbuf(4096), trace.tensor("hbm", 4096, 128, kind="input"))
        columns, names = trace.build()
        return time(columns, names, hw, ranges=False).body_ns

    moved = 2 * 40 * 128 * 4096 * 4
    assert body(2) > body(1)
    assert body(2) == pytest.approx(moved / hw.hbm.gbps, rel=0.05)


def test_a_core_that_moves_little_leaves_the_bandwidth_to_the_other(hw) -> None:
    def body(loads: tuple[int, ...]) -> float:
        trace = TraceBuilder()
        for core, count in enumerate(loads):
            trace.core = core
            for _ in range(count):
                trace.dma(trace.sbuf(4096), trace.tensor("hbm", 4096, 128, kind="input"))
        return time(*trace.build(), hw, ranges=False).body_ns

    assert body((40, 2)) == pytest.approx(body((40,)), rel=0.06)


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(UsageError, match="compiler, gpsimd, sync, scalar"):
        Policy(queue="vector")  # type: ignore[arg-type]


def test_totals_ranges_and_shares(timed, hw) -> None:
    trace = TraceBuilder()
    trace.copy(trace.sbuf(512), trace.psum(512))
    timing = timed(trace)
    assert timing.total_ns == pytest.approx(timing.body_ns + hw.launch.prologue_ns + hw.launch.tail_ns)
    assert timing.confidence == {"calibrated": 1.0, "documented": 0.0, "guessed": 0.0}
    spread = (hw.uncertainty.calibrated**2 + hw.uncertainty.structure**2) ** 0.5
    assert timing.range_ns == pytest.approx((timing.body_ns * (1 - spread), timing.body_ns * (1 + spread)))
    guessed = timed(trace, hw.replace(**{"vector.cycles.copy_psum": 1.0}))
    assert guessed.confidence["guessed"] == 1.0
    assert guessed.range_ns[1] > timing.range_ns[1]


def test_flows_name_their_ends_and_gaps(timed) -> None:
    trace = TraceBuilder()
    tile, out = trace.sbuf(512), trace.sbuf(512)
    trace.dma(tile, trace.tensor("hbm", 512, 128, kind="input"))
    trace.copy(out, tile)
    trace.dma(trace.tensor("hbm", 512, 128, kind="output"), out)
    timing = timed(trace)
    flows, kinds = timing.flows, timing.names["kind"]
    assert sorted(zip(flows["producer_is_dma"].tolist(), flows["consumer_is_dma"].tolist(), strict=True)) == [
        (False, True),
        (True, False),
    ]
    assert {kinds[kind] for kind in flows["kind"]} == {"flow"}
    assert (flows["gap"] >= 0).all()
    into = flows["producer_is_dma"].tolist().index(True)
    assert timing.dma["issue"][flows["producer"][into]] == 0
