"""Small and large profiles made by rule, for tests and measurements of the views."""

from __future__ import annotations

import numpy as np
import polars as pl

from nkilab.profiler import Origin, Profile

SOURCE = '''import nki
import nki.isa as nisa
import nki.language as nl


@nki.jit
def scaled_matmul(a_T, b, scale):
    """Multiply tile by tile, scale on the way out of PSUM."""
    K, M = a_T.shape
    K, N = b.shape
    c = nl.ndarray((M, N), dtype=a_T.dtype, buffer=nl.shared_hbm)
    for m in nl.affine_range(M // 128):
        for n in nl.affine_range(N // 512):
            psum = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.psum)
            for k in nl.affine_range(K // 128):
                left = nl.ndarray((128, 128), dtype=a_T.dtype, buffer=nl.sbuf)
                nisa.dma_copy(dst=left, src=a_T[k * 128 : (k + 1) * 128, m * 128 : (m + 1) * 128])
                right = nl.ndarray((128, 512), dtype=b.dtype, buffer=nl.sbuf)
                nisa.dma_copy(dst=right, src=b[k * 128 : (k + 1) * 128, n * 512 : (n + 1) * 512])
                nisa.nc_matmul(psum, left, right)
            out = nl.ndarray((128, 512), dtype=c.dtype, buffer=nl.sbuf)
            nisa.activation(out, nl.copy, psum, scale=scale)
            nisa.tensor_scalar(out, out, nl.maximum, 0.0)
            nisa.dma_copy(dst=c[m * 128 : (m + 1) * 128, n * 512 : (n + 1) * 512], src=out)
    return c
'''
FILE = "kernels/scaled_matmul.py"
FUNCTION = "scaled_matmul"
# engine, opcode, line, duration, start within the step
_STEP = (
    ("Sync", "DMA_DIRECT2D", 17, 40.0, 0.0),
    ("Sync", "DMA_DIRECT2D", 19, 40.0, 60.0),
    ("Tensor", "LDWEIGHTS", 20, 96.0, 120.0),
    ("Tensor", "MATMUL", 20, 216.0, 216.0),
    ("Tensor", "MATMUL", 20, 216.0, 440.0),
    ("Scalar", "ACTIVATE", 22, 470.0, 660.0),
    ("Vector", "TENSOR_SCALAR", 23, 395.0, 700.0),
    ("GpSimd", "DMA_DIRECT2D", 24, 37.0, 1100.0),
)
_PERIOD = 1180.0


def instructions(count: int, *, file: str = FILE) -> pl.DataFrame:
    """`count` instructions of a repeated matmul step on two cores' engines."""
    k = np.arange(count)
    step, turn = k % len(_STEP), k // len(_STEP)
    column = lambda at: np.array([row[at] for row in _STEP], dtype=object)[step]  # noqa: E731
    start = turn * _PERIOD + column(4).astype(float)
    duration = column(3).astype(float)
    engine = column(0).astype(str)
    return pl.DataFrame(
        {
            "start_ts": start,
            "end_ts": start + duration,
            "duration_ns": duration,
            "engine": engine,
            "pcore_idx": np.zeros(count, dtype=np.int64),
            "id": 7 * k + 1,
            "opcode": column(1).astype(str),
            "operands": [
                f"src=bf16@0x{64 * i:x}[128,512] dst=fp32@0x{2_000_000 + 32 * (i % 4096):x}[128,512]" for i in k
            ],
            "file": [file] * count,
            "line": column(2).astype(np.int64),
            "function": [FUNCTION] * count,
            "raw_flops": np.where(engine == "Tensor", 2 * 128 * 128 * 512, 0),
            "sbuf_read_bytes": np.full(count, 128 * 512 * 2),
        }
    )


def transfers(count: int) -> pl.DataFrame:
    """One DMA transfer for each of the steps' DMA instructions, two queues."""
    per_step = [i for i, row in enumerate(_STEP) if row[1].startswith("DMA")]
    k = np.arange(count)
    within = np.array(per_step)[k % len(per_step)]
    issue = (k // len(per_step)) * len(_STEP) + within
    start = (k // len(per_step)) * _PERIOD + np.array([row[4] for row in _STEP])[within] + 50
    duration = 900.0 + 300.0 * (within == 0)
    size = np.where(within == 0, 128 * 128 * 2, 128 * 512 * 2)
    return pl.DataFrame(
        {
            "start_ts": start,
            "end_ts": start + duration,
            "duration_ns": duration,
            "pcore_idx": np.zeros(count, dtype=np.int64),
            "id": 1_000_000_000 + k,
            "queue_name": np.array(["qSyncIo", "qSyncIo", "qGpSimdOut"])[k % len(per_step)],
            "queue_type": ["hardware_dynamic"] * count,
            "variable": np.array(["a_T", "b", "c"])[k % len(per_step)],
            "transfer_bytes": size,
            "throughput": size / duration * 1e9,
            "instruction_id": 7 * issue + 1,
        }
    )


def flows(count: int) -> pl.DataFrame:
    """Each instruction waits for the one before it and, an order only, for the one eight before."""
    ids = 7 * np.arange(count) + 1
    return pl.DataFrame(
        {
            "in_id": np.concatenate([ids[:-1], ids[:-8]]),
            "out_id": np.concatenate([ids[1:], ids[8:]]),
            "in_table": "Instruction",
            "out_table": "Instruction",
            "dependency_type": ["FLOW_DEPENDENCE"] * max(0, count - 1) + ["ORDERED"] * max(0, count - 8),
        }
    )


def usage(count: int, top: float) -> pl.DataFrame:
    """A memory that fills and empties."""
    k = np.arange(count)
    return pl.DataFrame(
        {"timestamp": k * _PERIOD, "avg_util_percent": top * (0.5 + 0.5 * np.sin(k / 9)), "pcore_idx": 0}
    )


def jittered(table: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    """The same spans with lengths changed by up to 30 %, in picoseconds, as real ones vary."""
    spread = np.random.default_rng(seed).uniform(0.7, 1.0, table.height)
    duration = np.round(table["duration_ns"].to_numpy() * spread, 3)
    return table.with_columns(duration_ns=duration, end_ts=table["start_ts"].to_numpy() + duration)


def profile(
    count: int = 400, *, jitter: bool = False, simulated: bool = True, source: str = SOURCE, file: str = FILE
) -> Profile:
    """A whole profile of `count` instructions."""
    steps = count // len(_STEP)
    end = steps * _PERIOD
    windows = np.arange(0.0, max(end, 1.0), 3413.3)
    vary = jittered if jitter else lambda table: table
    return Profile.build(
        {
            "Instruction": vary(instructions(count, file=file)),
            "DmaPacketAggregated": vary(transfers(3 * steps)),
            "Flow": flows(count),
            "SbufUsage": usage(steps, 0.8),
            "PsumUsage": usage(steps, 0.4),
            "Throttle": pl.DataFrame(
                {"timestamp": windows, "duration": 3413.3, "k": np.where(windows < 8000, 4, 8), "n": 8, "pcore_idx": 0}
            ),
            "Source": pl.DataFrame({"file": [file], "sha256": ["0" * 64], "text": [source]}),
            "CostClass": pl.DataFrame(
                {
                    "cost_class": ["calibrated", "documented", "guessed"],
                    "time_ns": [700.0, 250.0, 50.0],
                    "share": [0.7, 0.25, 0.05],
                }
            ),
            "Finding": pl.DataFrame(
                {
                    "code": ["live-sbuf"],
                    "severity": ["warning"],
                    "message": ["live tensors need 230 KiB of a partition's 224 KiB"],
                    "file": [file],
                    "line": [16],
                    "function": [FUNCTION],
                    "fix": ["use fewer buffers, or smaller tiles"],
                    "rank": [0],
                    "core": [0],
                }
            ),
            "Metadata": pl.DataFrame({"key": ["target", "kernel"], "value": ["trn2", "scaled_matmul"]}),
        },
        Origin("simulated" if simulated else "ntff", "scaled_matmul"),
    )
