"""DMAs: element costs, engines, streams, latency."""

from __future__ import annotations

import numpy as np
import pytest

from nkilab.clock.channels import _turns
from nkilab.clock.dma import element_ns
from nkilab.hardware import load

from .building import TraceBuilder


@pytest.mark.parametrize(("size", "measured"), [(512, 27.0), (2048, 83.0), (4096, 158.0)])
def test_an_element_takes_what_packets_on_trn2_take(hw, size: int, measured: float) -> None:
    assert float(element_ns(np.array(size), hw)) == pytest.approx(measured, rel=0.15)


def test_beyond_the_largest_packet_an_element_costs_by_the_byte(hw) -> None:
    slope = (158 - 83) / 2048
    assert float(element_ns(np.array(8192), hw)) == pytest.approx(158 + 4096 * slope)


def test_a_load_runs_from_issue_to_data_as_the_parts_add_up(timed, hw) -> None:
    trace = TraceBuilder()
    trace.dma(trace.sbuf(1024), trace.tensor("hbm", 1024, 128, kind="input"))
    timing = timed(trace)
    row = timing.dma
    assert len(row["start"]) == 16
    before = hw.dma.software_start_ns + hw.dma.software_latency_ns + hw.dma.load_start_ns
    assert row["start"] == pytest.approx(before)
    assert row["end"] - row["start"] == pytest.approx(8 * (158 - 3) + 9)
    assert (row["bytes"].sum(), row["elements"].sum()) == (128 * 4096, 128)
    assert timing.instructions["end"] == pytest.approx(hw.dma.software_start_ns + hw.dma.software_row_ns)


@pytest.mark.parametrize(
    ("p0", "p1", "engines"), [(0, 4, [0]), (0, 128, list(range(16))), (12, 20, [1, 2]), (120, 128, [15])]
)
def test_partition_rows_go_to_the_engine_of_their_partition(timed, p0: int, p1: int, engines: list[int]) -> None:
    trace = TraceBuilder()
    trace.dma(trace.sbuf(1024).at(p0, p1), trace.tensor("hbm", 1024, 128, kind="input").at(0, p1 - p0))
    timing = timed(trace)
    assert timing.dma["engine"].tolist() == engines
    assert timing.dma["bytes"].sum() == (p1 - p0) * 4096


def test_four_partitions_sit_on_one_engine_as_long_as_the_guide_measured(timed) -> None:
    trace = TraceBuilder()
    source = trace.tensor("hbm", 4096, 4, "bfloat16", "input")
    trace.dma(trace.sbuf(4096, partitions=4, dtype="bfloat16"), source, flags=("hwdge",))
    timing = timed(trace, loads="program")
    busy = timing.dma["end"].max() - timing.dma["start"].min()
    assert busy == pytest.approx(1416, rel=0.15)


def test_issue_is_serial_on_each_stream(timed, hw) -> None:
    trace = TraceBuilder()
    source = trace.tensor("hbm", 128, 128, kind="input")
    for _ in range(5):
        trace.dma(trace.sbuf(128), source)
    assert np.diff(timed(trace).instructions["start"]) == pytest.approx(hw.dma.software_issue_ns)
    assert np.diff(timed(trace, queue="sync").instructions["start"]) == pytest.approx(hw.dma.sync_issue_ns)


def test_an_address_in_a_register_costs_more_to_issue(timed, hw) -> None:
    trace = TraceBuilder()
    source = trace.tensor("hbm", 128, 128, kind="input")
    for _ in range(3):
        trace.dma(trace.sbuf(128), source, flags=("dynamic_address",))
    assert np.diff(timed(trace).instructions["start"]) == pytest.approx(hw.dma.register_issue_ns)


def test_the_compiler_s_choice_of_queue_is_that_of_the_profiles(timed) -> None:
    trace = TraceBuilder()
    tile = trace.sbuf(128)
    middle = trace.tensor("hbm", 128, 128)
    trace.dma(tile, trace.tensor("hbm", 128, 128, kind="input"))
    trace.dma(middle, tile)
    trace.dma(tile, middle)
    trace.dma(tile, trace.tensor("hbm", 128, 128, kind="constant"))
    trace.dma(trace.tensor("hbm", 128, 128, kind="output"), tile)
    trace.dma(tile, middle, engine="scalar")
    assert timed(trace).instructions["engine"].tolist() == [3, 2, 4, 4, 3, 2]
    assert timed(trace, queue="sync").instructions["engine"].tolist() == [4, 4, 4, 4, 4, 2]


def test_software_descriptors_merge_short_rows_into_packets(timed) -> None:
    trace = TraceBuilder()
    source = trace.tensor("hbm", 512, 128, kind="input")
    trace.dma(trace.sbuf(128), source.at(c1=128))
    merged, apart = (timed(trace, queue=queue).dma for queue in ("gpsimd", "sync"))
    assert merged["end"] - merged["start"] == pytest.approx(158 - 3 + 9)
    assert apart["end"] - apart["start"] == pytest.approx(8 * (27 - 3) + 9)


def test_merged_packets_save_no_elements(timed, hw) -> None:
    trace = TraceBuilder()
    target = trace.sbuf(1024, dtype="bfloat16").at(c1=512)
    target.step = 2
    trace.dma(target, trace.tensor("hbm", 512, 128, "bfloat16", "input"))
    timing = timed(trace)
    assert timing.dma["end"] - timing.dma["start"] == pytest.approx(8 * 512 * (9 - 3) + 9)
    assert timing.confidence["guessed"] > 0.9


def test_a_store_passes_on_at_the_rate_of_hbm_when_that_is_scarce(timed, hw) -> None:
    trace = TraceBuilder()
    source = trace.tensor("hbm", 1024, 128, kind="input")
    for _ in range(20):
        tile = trace.sbuf(1024)
        trace.dma(tile, source)
        trace.copy(trace.sbuf(1), tile.at(c1=1))
    slow = timed(trace, hw.replace(**{"hbm.gbps": 100}))
    moved = 20 * 128 * 4096
    assert slow.body_ns > moved / 100
    assert slow.dma["end"].max() - slow.dma["start"].min() == pytest.approx(moved / 100, rel=0.01)
    assert timed(trace, hw).body_ns < moved / 350


def test_a_full_ring_holds_the_issuer_back(timed, hw) -> None:
    trace = TraceBuilder()
    source = trace.tensor("hbm", 1024, 128, kind="input")
    for _ in range(4):
        trace.dma(trace.sbuf(1024), source)
    timing = timed(trace, hw.replace(**{"dma.ring": 18}))
    first_end = timing.dma["end"][0]
    assert timing.instructions["start"][2] == pytest.approx(first_end + hw.dma.software_start_ns)
    assert timed(trace, hw.replace(**{"dma.ring": 27})).instructions["start"][2] < first_end


def test_trn1_moves_rows_of_any_length_at_one_rate() -> None:
    hw = load("trn1")
    rates = [size / float(element_ns(np.array(size), hw)) for size in (256, 1024, 2048, 4096)]
    assert rates == pytest.approx([6.5] * 4, rel=0.03)


def sizes_on_two_queues(large: int) -> TraceBuilder:
    """A large load through Scalar's queue, then a small one through Sync's."""
    trace = TraceBuilder()
    source = trace.tensor("hbm", 8192, 128, kind="input")
    trace.dma(trace.sbuf(large), source.at(c1=large), engine="scalar")
    trace.dma(trace.sbuf(64), source.at(c1=64), engine="sync")
    return trace


def test_queues_take_turns_on_an_engine(timed) -> None:
    """The small load is half done in the time of the large one's next elements; it does not wait for all of them."""
    timing = timed(sizes_on_two_queues(8192))
    small = timing.dma["queue"] == timing.names["queue"].index("sync_hardware")
    alone = timed(sizes_on_two_queues(4))
    alone_small = alone.dma["queue"] == alone.names["queue"].index("sync_hardware")
    length, least = (
        (each.dma["end"] - each.dma["start"])[rows].max() for each, rows in ((timing, small), (alone, alone_small))
    )
    assert least < length <= 2.01 * least


def test_what_one_queue_takes_the_other_lacks_later() -> None:
    """Work is never lost: two queues with equal work end when one queue with both would."""
    busy = [0.0, 0.0, 0.0]
    _turns(busy, 0, 0.0, 100.0)
    _, end = _turns(busy, 1, 0.0, 100.0)
    assert end == 200.0
    assert _turns(busy, 0, 0.0, 50.0)[0] == 200.0
