"""Tables that follow from instructions and transfers of a simulated run, and the vendor's tables that they become."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import nkilab
from nkilab.join import activity
from nkilab.kernels import matmul

ONCE = ("AssemblyInstruction", "Instruction", "DmaPacket", "DmaPacketAggregated", "Flow", "Summary", "Metadata")
OVER_TIME = ("ActiveTime", "PendingDma", "DmaUsage", "SbufUsage", "PsumUsage", "Throttle", "SbufAllocation")
OTHERS = ("DmaQueuesInfo", "TensorInfo", "HbmUsageSummaryByType", "ExecutionInfo", "KernelStackFrames")


@pytest.fixture(scope="module")
def run() -> nkilab.Run:
    given = np.zeros((256, 256), np.float32), np.zeros((256, 1024), np.float32)
    return nkilab.simulate(
        matmul.matmul_blocked, *given, sim=nkilab.Sim(target="trn2", values=False, on_finding="collect")
    )


def test_an_engine_is_active_while_one_of_its_instructions_runs() -> None:
    spans = ((0.0, 10.0), (5.0, 8.0), (10.0, 12.0), (20.0, 21.0))
    rows = pl.DataFrame({"start_ts": [a for a, _ in spans], "end_ts": [b for _, b in spans]})
    rows = rows.with_columns(engine=pl.lit("Vector"), pcore_idx=pl.lit(0, pl.Int64), id=pl.int_range(pl.len()))
    (table,) = activity.tables(rows, pl.DataFrame(), pl.DataFrame()).values()
    assert table.select("start_ts", "end_ts", "duration_ns").rows() == [(0.0, 12.0, 12.0), (20.0, 21.0, 1.0)]


def test_every_dma_in_flight_lands(run: nkilab.Run) -> None:
    pending, transfers = run.profile.table("PendingDma"), run.profile.table("DmaPacketAggregated")
    assert pending["value"].min() == 0
    assert pending["value"][-1] == 0
    assert 1 < pending["value"].max() <= len(transfers)
    assert pending["timestamp"][0] < transfers["start_ts"].min()


def test_the_rate_adds_up_to_the_bytes(run: nkilab.Run) -> None:
    usage, transfers = run.profile.table("DmaUsage"), run.profile.table("DmaPacketAggregated")
    moved = transfers["transfer_bytes"].sum()
    seconds = (usage["timestamp"].shift(-1) - usage["timestamp"]).fill_null(0.0) * 1e-9
    assert (usage["current_throughput"] * seconds).sum() == pytest.approx(moved)
    assert usage["total_transfer_bytes"].max() == moved


def test_hbm_tensors_are_counted_by_kind(run: nkilab.Run) -> None:
    rows = dict(run.profile.table("HbmUsageSummaryByType").select("usage_type", "usage_bytes").iter_rows())
    assert rows == {"Tensors": 4 * (256 * 256 + 256 * 1024 + 256 * 1024)}


def test_the_vendor_s_tables_of_a_simulated_run(run: nkilab.Run, tmp_path) -> None:
    run.profile.to_explorer(tmp_path / "out", "7.4.0")
    written = {path.stem: pl.read_parquet(path) for path in (tmp_path / "out").glob("*.parquet")}
    assert set(written) >= {*ONCE, *OVER_TIME, *OTHERS}
    assert all(len(written[name]) for name in (*ONCE, *OVER_TIME, *OTHERS))
    assert written["Metadata"]["is_simulation"].to_list() == [True]
    assert written["DmaPacket"]["pcore_idx"].null_count() == 0
