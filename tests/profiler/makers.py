"""A hand-made device JSON: few rows, every number easy to follow by hand.

Times in ns; 1 000 ns long; two cores of an LNC pair. Tensor works in [0, 100), [50, 150) on core 0 and in [140, 200) on
core 1, so for 200 ns in all; Vector in [200, 260); a semaphore wait of Vector in [260, 900) is no work. DMA packets move
in [300, 400), [350, 450) by hardware descriptors and in [600, 700) by static ones.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def instruction(start: int, end: int, engine: str, opcode: str, core: int = 0, **more: Any) -> Row:
    """One row of the `instruction` table."""
    return {
        "timestamp": start,
        "duration": end - start,
        "label": "TensorMatrix" if opcode == "MATMUL" else engine,
        "subgroup": engine,
        "subgraph": f"sg{core:02}",
        "opcode": opcode,
        "operands": "",
        "id": 10**18 + start,
        "pc": start // 10,
        "evt_wait_time": 0,
        "bir_id": "",
        "layer": "",
        "instruction_type": "REGULAR",
        **more,
    }


def packet(start: int, end: int, kind: str, size: int, engine: int = 64, core: int = 0) -> Row:
    """One row of the `dma` table."""
    return {
        "timestamp": start,
        "duration": end - start,
        "dma_engine": str(engine),
        "dma_queue": "0",
        "subgroup": f"Q0-E{engine}",
        "subgraph": f"sg{core:02}",
        "queue_type": kind,
        "transfer_size": size,
        "read_size": size,
        "write_size": size,
        "transfer_rate": size / (end - start) * 1e9,
        "variable": "unknown",
        "source": [["unknown"]],
        "dest": ["unknown"],
        "duplicate": "no",
        "is_cc_dma": "no",
        "id": 2 * 10**18 + start,
        "crc": 7,
        "packet_idx": 0,
    }


def instructions() -> list[Row]:
    """The instructions of the hand-made run."""
    there = {"nki_source_location": "/home/me/kernel.py:12"}
    return [
        instruction(0, 100, "Tensor", "MATMUL", elements=1000, psum_write_bytes=64, **there),
        instruction(50, 150, "Tensor", "MATMUL", elements=500, psum_write_bytes=0, **{**there, "instruction_type": "TRANSPOSE"}),
        instruction(140, 200, "Tensor", "MATMUL", core=1, elements=0, psum_write_bytes=0, **there),
        instruction(
            200, 260, "Vector", "TENSOR_TENSOR", hbm_read_bytes=3000, hbm_write_bytes=1000,
            predecessors=[{"id": 10**18, "type": "FLOW_DEPENDENCE"}], nki_source_location="/home/me/kernel.py:14:3",
        ),
        instruction(260, 900, "Vector", "EVENT_SEMAPHORE"),
    ]  # fmt: skip


def device_json(**tables: list[Row] | None) -> dict[str, Any]:
    """The whole object; a table given by name replaces the hand-made one, None leaves it out."""
    made: dict[str, Any] = {
        "instruction": instructions(),
        "dma": [
            packet(300, 400, "hardware_dynamic", 2048),
            packet(350, 450, "hardware_dynamic", 1024, engine=65),
            packet(600, 700, "instruction", 1024),
        ],
        "active_time": [{"engine": "tensor", "start_ts": 0, "end_ts": 150, "duration_ns": 150, "pcore_idx": 0, "subgraph": "sg00"}],
        "semaphore_update": [{"timestamp": 150, "id": "S[5] (Tensor)", "value": 1, "subgraph": "sg00"}],
        "ham": [
            {"timestamp": 0, "duration": 400, "k": 8, "n": 8, "type": 0, "subgraph": "sg00"},
            {"timestamp": 400, "duration": 200, "k": 4, "n": 8, "type": 1, "subgraph": "sg00"},
        ],
        "instruction_usage": [
            {"type": "sb", "timestamp": 10, "usage_avg": 0.5, "partition_0_usage": 0.5, "subgraph": "sg00"},
            {"type": "psum", "timestamp": 20, "usage_avg": 0.25, "bank_0_usage": 1.0, "subgraph": "sg00"},
        ],
        "neff_node": [
            {"variable_name": "x", "type": "IN", "size": "600", "shape": "[1 300]", "sg_name": ""},
            {"variable_name": "w", "type": "WEIGHT", "size": "100", "shape": "[1 50]", "sg_name": ""},
            {"variable_name": "y", "type": "OUT", "size": "300", "shape": "[1 150]", "sg_name": ""},
            {"variable_name": "", "type": "", "node": "3", "sg_name": "sg00"},
        ],
        "metadata": [
            {
                "first_hw_timestamp": 0, "last_hw_timestamp": 1000, "num_physical_cores": 2, "pe_num_rows": 10, "pe_num_cols": 10,
                "pe_clock_freq": 2.0, "pe_clock_others": 1.5, "hbm_ddr_bandwidth": 16000000000, "ntff_version": 6,
            }
        ],
        "profile_info": [{"profiler_version": "2.28.23.0", "profile_name": "hand-made"}],
        "model_info": [
            {"sg_name": "sg00", "nc_idx": 4, "nd_idx": 0, "event_count": 3, "trace_count": 9, "dma_queue_count": 2},
            {"sg_name": "sg01", "nc_idx": 5, "nd_idx": 0, "event_count": 1, "trace_count": 2, "dma_queue_count": 1},
        ],
        "warnings": [{"category": "Missing Data", "message": "no DGE notifications"}],
        "cc_stream": [{"stream": 1, "note": "a table that is not in our schema"}],
    }  # fmt: skip
    return {name: rows for name, rows in (made | tables).items() if rows is not None}


def write(path: Path, data: object, before: str = "") -> Path:
    """Write `data` as JSON behind some log text."""
    path.write_text(before + json.dumps(data))
    return path
