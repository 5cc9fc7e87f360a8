"""Each rule of `advice` fires on a run made for it and is silent on its twin."""

from __future__ import annotations

import polars as pl
import pytest

from nkilab.profiler import Origin, Profile
from tests.profiler.test_stalls import op

TOTAL = 100_000.0
FULL_NS = 2 * 128 * 128 * 512 / (2 * 128 * 128 * 2.4)  # one full tile at peak


def profile(rows: list[dict[str, object]], total: float = TOTAL, **tables: pl.DataFrame) -> Profile:
    """A simulated trn2 run."""
    metadata = pl.DataFrame({"key": ["total_ns", "target"], "value": [str(total), "trn2"]})
    return Profile.build(
        {"Instruction": pl.DataFrame(rows, infer_schema_length=None), "Metadata": metadata, **tables},
        Origin("simulated"),
    )


def steady(engine: str = "Tensor", step: float = FULL_NS, work: float = 1.0, **more: object) -> list[dict[str, object]]:
    """One engine without a gap; multiplications do `work` of a full tile."""
    flops = (
        {"opcode": "MATMUL", "raw_flops": int(2 * 128 * 128 * 512 * work)}
        if engine == "Tensor"
        else {"opcode": "TENSOR_TENSOR"}
    )
    count = int(TOTAL / step)
    return [op(i, i * step, (i + 1) * step, engine, 7, **{**flops, **more}) for i in range(count)]


def packets(size: int, spans: list[tuple[float, float]]) -> pl.DataFrame:
    """DMA packets of one size."""
    rows = [
        {
            "start_ts": a,
            "end_ts": b,
            "duration_ns": b - a,
            "transfer_bytes": size,
            "queue_name": "q",
            "engine_idx": 0,
            "id": i,
        }
        for i, (a, b) in enumerate(spans)
    ]
    return pl.DataFrame(rows)


def fired(p: Profile) -> set[str]:
    """The rules that fire."""
    return set(p.advice().table()["rule"].to_list())


IDLE = [(50_000.0 + 100 * i, 50_100.0 + 100 * i) for i in range(400)]  # DMA while nothing computes
HALF = [row for row in steady() if float(str(row["start_ts"])) < 50_000 or float(str(row["start_ts"])) > 99_000]


def test_a_kernel_at_its_bound_gets_no_advice() -> None:
    hidden = packets(4096, [(100.0 * i, 100.0 * i + 90) for i in range(900)])
    found = profile(steady(), DmaPacket=hidden).advice()
    assert found.table().height == 0
    assert "no rule finds" in str(found)


def test_missing_overlap_and_exposed_dma() -> None:
    found = profile(HALF, DmaPacket=packets(4096, IDLE)).advice()
    assert set(found.table()["rule"]) == {"missing overlap", "exposed DMA"}
    gain = dict(found.table().select("rule", "gain_ns").iter_rows())
    assert gain["exposed DMA"] == pytest.approx(40_000, rel=1e-2)
    assert found.table()["link"].str.starts_with("https://awsdocs-neuron").all()


def test_small_packets_matter_only_where_dma_is_exposed() -> None:
    assert "small DMA" in fired(profile(HALF, DmaPacket=packets(256, IDLE)))
    assert "small DMA" not in fired(profile(HALF, DmaPacket=packets(4096, IDLE)))
    assert "small DMA" not in fired(profile(steady(), DmaPacket=packets(256, IDLE)))


def test_reloads() -> None:
    loads = {
        "variable_name": ["w"],
        "size": [400_000],
        "load_to_sbuf_total_size_bytes": [1_600_000],
        "load_to_sbuf_dma_count": [4],
    }
    once = {**loads, "load_to_sbuf_total_size_bytes": [400_000]}
    assert "reload" in fired(profile(HALF, DmaPacket=packets(4096, IDLE), TensorInfo=pl.DataFrame(loads)))
    assert "reload" not in fired(profile(HALF, DmaPacket=packets(4096, IDLE), TensorInfo=pl.DataFrame(once)))


def test_filling_and_draining_are_no_reload_and_no_issue() -> None:
    loads = {
        "variable_name": ["w"],
        "size": [400_000],
        "load_to_sbuf_total_size_bytes": [1_600_000],
        "load_to_sbuf_dma_count": [4],
    }
    early = [row for row in HALF if float(str(row["start_ts"])) < 50_000]
    found = fired(profile(early, DmaPacket=packets(256, IDLE), TensorInfo=pl.DataFrame(loads)))
    assert found == {"missing overlap", "exposed DMA"}


def test_spills() -> None:
    stated = pl.DataFrame({"metric": ["spill_save_bytes", "total_time"], "value": [800_000.0, TOTAL * 1e-9]})
    assert "spill" in fired(profile(HALF, DmaPacket=packets(4096, IDLE), Summary=stated))
    assert "spill" not in fired(profile(HALF, DmaPacket=packets(4096, IDLE)))


def test_many_triggers() -> None:
    triggers = [op(10_000 + i, 600.0 * i, 600.0 * i + 30, "GpSimd", 5, opcode="DMA_DIRECT2D") for i in range(150)]
    fewer = triggers[:20]
    assert "DMA issue" in fired(profile(HALF + triggers, DmaPacket=packets(4096, IDLE)))
    assert "DMA issue" not in fired(profile(HALF + fewer, DmaPacket=packets(4096, IDLE)))


def test_transposes_on_a_busy_tensor_engine() -> None:
    rows = [
        {**row, "tensor_instruction_type": "TRANSPOSE" if i % 4 == 0 else "REGULAR"} for i, row in enumerate(steady())
    ]
    for row in rows:
        row["flops_transpose"] = row["raw_flops"] if row["tensor_instruction_type"] == "TRANSPOSE" else 0
    found = profile(rows).advice().table()
    assert found["rule"].to_list() == ["transposes"]
    assert found["lines"].to_list() == ["k.py:7"]


def test_small_tiles() -> None:
    assert fired(profile(steady(work=0.25))) == {"small tiles"}


def test_throttling() -> None:
    windows = pl.DataFrame({"timestamp": [0.0], "duration": [TOTAL], "k": [4], "n": [8], "type": [1]})
    full = windows.with_columns(k=pl.lit(8))
    assert "throttled" in fired(profile(steady(work=0.5), Throttle=windows))
    assert "throttled" not in fired(profile(steady(work=0.5), Throttle=full))


def test_imbalance_between_engines() -> None:
    scalar = [op(50_000 + i, 500.0 * i, 500.0 * i + 450, "Scalar", 9) for i in range(200)]
    assert "engine imbalance" in fired(profile(steady("Vector")))
    assert "engine imbalance" not in fired(
        profile(steady("Vector") + scalar + [{**r, "engine": "GpSimd"} for r in scalar])
    )


def test_table_loads() -> None:
    loads = [
        op(i, 1300.0 * i, 1300.0 * i + 1283, "Scalar", 4, opcode="ACT_TABLE_LOAD" if i % 2 else "ACTIVATE")
        for i in range(76)
    ]
    assert "table loads" in fired(profile(loads))
    assert "table loads" not in fired(profile([{**row, "opcode": "ACTIVATE"} for row in loads]))


def test_exposed_collectives() -> None:
    ops = pl.DataFrame({"start_ts": [60_000.0], "end_ts": [90_000.0], "operation": ["AllReduce"]})
    assert "exposed collectives" in fired(profile(HALF, CcOp=ops))
    assert "exposed collectives" not in fired(profile(steady(), CcOp=ops))


def test_no_gain_is_larger_than_the_distance_to_the_bound() -> None:
    found = profile(HALF, DmaPacket=packets(256, IDLE))
    above = TOTAL - found.bounds().rows["ns"].to_list()[-1]
    assert found.advice().table()["gain_ns"].max() <= above + 1e-6
