"""`overlap` and `stalls`: hand-computed answers, and accounts that close on real runs."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from nkilab.profiler import Origin, Profile
from nkilab.profiler.readers import read
from tests.profiler import makers

RUNS = (
    "trn2-attention/fused_bf16_s512/fused_exec_2.ntff",
    "trn2-attention/baseline_fp32_s1024/profile.json",
    "trn2-nki-source/moe_tkg",
)


def run(rows: list[dict[str, object]], total: float, **tables: pl.DataFrame) -> Profile:
    """A simulated profile over instructions given as rows."""
    metadata = pl.DataFrame({"key": ["total_ns"], "value": [str(total)]})
    return Profile.build({"Instruction": pl.DataFrame(rows), "Metadata": metadata, **tables}, Origin("simulated"))


def op(id: int, start: float, end: float, engine: str, line: int | None = None, **more: object) -> dict[str, object]:
    """One instruction."""
    more = {"opcode": "OP", "operands": "", **more}
    return {
        "id": id,
        "start_ts": start,
        "end_ts": end,
        "engine": engine,
        "file": "k.py",
        "line": line,
        "pcore_idx": 0,
        **more,
    }


def flows(*pairs: tuple[int, int], source: str = "Instruction", sink: str = "Instruction") -> pl.DataFrame:
    """Dependences between rows of two tables."""
    rows = [{"in_id": a, "out_id": b, "in_table": source, "out_table": sink} for a, b in pairs]
    return pl.DataFrame(rows)


def dma(id: int, start: float, end: float, issuer: int) -> pl.DataFrame:
    """One transfer."""
    return pl.DataFrame(
        [{"id": id, "start_ts": start, "end_ts": end, "queue_name": "q", "instruction_id": issuer, "transfer_bytes": 8}]
    )


@pytest.fixture
def chain() -> Profile:
    """GpSimd issues a load (line 1) at 0; it moves in [10, 200); Tensor (line 2) runs in [220, 300); Vector (line 3),
    which needs Tensor, in [320, 400). Vector ran alone in [50, 100) before."""
    rows = [
        op(1, 0, 10, "GpSimd", 1), op(2, 220, 300, "Tensor", 2), op(3, 50, 100, "Vector", 3), op(4, 320, 400, "Vector", 3),
    ]  # fmt: skip
    flow = pl.concat([flows((7, 2), source="DmaPacketAggregated"), flows((2, 4))])
    return run(rows, 400, Flow=flow, DmaPacketAggregated=dma(7, 10, 200, 1))


def test_a_gap_is_blamed_on_what_ended_in_it(chain: Profile) -> None:
    (gap,) = chain.stalls().gaps.filter(engine="Vector", cause="dependence").to_dicts()
    assert (gap["start_ts"], gap["end_ts"], gap["gap_ns"]) == (100, 320, 220)
    assert (gap["by"], gap["cause_line"], gap["line"]) == ("Tensor", 2, 3)
    assert chain.stalls().by_line.row(0) == ("k.py", 2, 220.0, 1)


def test_a_trigger_waits_for_what_its_transfer_needs() -> None:
    rows = [op(1, 0, 10, "Sync", 1), op(2, 0, 900, "Vector", 2), op(3, 941, 978, "Sync", 3, opcode="DMA_DIRECT2D")]
    store = dma(7, 1600, 1800, 3)
    p = run(rows, 1800, Flow=flows((2, 7), sink="DmaPacketAggregated"), DmaPacketAggregated=store)
    (gap,) = p.stalls().gaps.filter(engine="Sync", line=3).to_dicts()
    assert (gap["cause"], gap["by"], gap["cause_line"]) == ("dependence", "Vector", 2)


def test_before_first_and_after_last_are_idle_not_stalled(chain: Profile) -> None:
    found = chain.stalls()
    tensor = dict(found.rows.filter(engine="Tensor").select("cause", "stall_ns").iter_rows())
    assert tensor == {"active": 80, "before first": 220, "after last": 100}


def test_the_critical_path_is_as_long_as_the_run(chain: Profile) -> None:
    found = chain.stalls()
    assert found.path.select("table", "id").rows() == [
        ("Instruction", 1),
        ("DmaPacketAggregated", 7),
        ("Instruction", 2),
        ("Instruction", 4),
    ]
    assert found.path["lead_ns"].to_list() == [None, 0, 20, 20]
    assert found.path_ns == 400


def test_a_wait_names_its_semaphore() -> None:
    rows = [
        op(1, 0, 10, "Tensor", 1),
        op(2, 20, 480, "Tensor", 2, opcode="EVENT_SEMAPHORE", operands="S[21] (qSyncDynamicHW)>=32 setter=0"),
        op(3, 500, 510, "Tensor", 3),
        op(4, 900, 910, "Tensor", 4, operands="S[4] (Scalar)>=256 S[5] (Tensor)++@complete"),
        op(5, 1200, 1210, "Tensor", 5, operands="S[5] (Tensor)++@complete"),
        op(6, 1240, 1250, "Tensor", 6),
        op(7, 1300, 1400, "Tensor", 7, opcode="EVENT_SEMAPHORE", operands=" setter=0 $S[2]==3 $S[2]++@complete "),
        op(8, 1410, 1420, "Tensor", 8),
    ]
    gaps = run(rows, 1420).stalls().gaps
    causes = {(row["line"], row["cause"], row["by"]) for row in gaps.to_dicts()}
    assert causes == {
        (3, "dma", "qSyncDynamicHW"), (4, "semaphore", "Scalar"), (5, "unknown", None), (6, "dispatch", None), (8, "barrier", None),
    }  # fmt: skip


def test_preparing_a_dma_is_a_cause_but_a_long_gap_before_one_is_not() -> None:
    starts = [0, 580, 1160, 5000]
    rows = [op(i, at, at + 37, "GpSimd", i, opcode="DMA_DIRECT2D") for i, at in enumerate(starts)]
    gaps = run(rows, 5037).stalls().gaps
    assert gaps.select("line", "cause").rows() == [(1, "issue"), (2, "issue"), (3, "unknown")]


def test_without_dependences_there_is_no_path() -> None:
    found = run([op(1, 0, 10, "Tensor")], 10).stalls()
    assert found.path.height == 0
    assert found.path_ns is None
    assert found.explained is None


@pytest.mark.parametrize("name", RUNS)
def test_active_stalled_and_idle_are_all_of_every_engines_time(name: str, shared_profiles: Path) -> None:
    p = read(shared_profiles / name)
    found = p.stalls()
    shares = found.rows.group_by("core", "engine").agg(pl.col("share").sum())
    assert shares.height == 10
    assert shares["share"].to_list() == pytest.approx([1.0] * 10, abs=1e-4)
    active = p.engines().table().filter(pl.col("core") != "all", pl.col("engine") != "DMA")
    both = found.rows.filter(cause="active").join(active, on=["core", "engine"])
    assert both["stall_ns"].to_list() == pytest.approx(both["active_ns"].to_list())
    assert found.explained is not None
    assert found.explained > 0.5
    assert str(found)


def test_overlap_of_hand_made_intervals() -> None:
    rows = [
        op(1, 0, 100, "Tensor"),
        op(2, 50, 150, "Vector"),
        op(3, 150, 900, "Sync"),
        op(4, 300, 310, "GpSimd", opcode="DMA_DIRECT2D"),
    ]
    collective = pl.DataFrame({"start_ts": [120.0, 140.0], "end_ts": [220.0, 300.0], "stream_id": [0, 1]})
    packets = pl.DataFrame({"start_ts": [90.0, 400.0], "end_ts": [110.0, 500.0]})
    found = run(rows, 1000, CcOp=collective, DmaPacket=packets).overlap()
    table = {row["kind"]: row for row in found.table().to_dicts()}
    assert table["compute"]["active_ns"] == 150
    assert (table["collectives"]["hidden_ns"], table["collectives"]["exposed_ns"]) == (30, 150)
    assert (table["stream 0"]["exposed_ns"], table["stream 1"]["exposed_ns"]) == (70, 150)
    assert (table["dma"]["hidden_ns"], table["dma"]["exposed_ns"]) == (20, 100)
    assert table["nothing"]["active_ns"] == 1000 - 300 - 100
    assert "exposed" in str(found)


def test_overlap_in_a_window(tmp_path: Path) -> None:
    p = read(makers.write(tmp_path / "p.json", makers.device_json())).between(0.1, 0.6)
    rows = {row["kind"]: row["active_ns"] for row in p.overlap().table().to_dicts()}
    assert rows == {"compute": 160, "dma": 150, "nothing": 500 - 160 - 150}
