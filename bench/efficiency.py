"""How good a time is: useful FLOPs and compulsory bytes against what the machine allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nkilab.arrays import rounding
from nkilab.bench.gate import flat
from nkilab.hardware import Hardware


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a kernel must do at least, from the actual inputs and outputs.

    Attributes:
        flops: useful floating-point operations as the case counts them; None where it does not.
        bytes: every input read once and every output written once, in their own dtypes.
        dtype: the widest floating input, which decides TensorE's peak.
    """

    flops: int | None
    bytes: int
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency:
    """A time against the machine's bounds. Shares are fractions.

    Attributes:
        flops: of `Work`. moved_bytes: what the run moved to and from HBM, None where unknown.
        bytes: of `Work`, but no more than were moved: a kernel may read a part of an input.
        tflops: useful TFLOP/s; gbps: moved (else compulsory) bytes over the time, 1e9 bytes a second.
        peak_tflops: of the cores' TensorE for `dtype`, dense; peak_gbps: of the HBM stacks that they use.
        mfu: useful FLOPs over what TensorE could do in the time (the vendor's `mfu`: over the whole time, launch too).
        mfu_body: the same over the kernel's own modelled time.
        mbu: moved bytes over what HBM could move in the time.
        intensity: useful FLOPs for each compulsory byte; ridge: where the roofline turns.
        bound: compute or memory, whichever needs longer; bound_us: that time, no kernel is faster.
        gap: time over bound_us; gap_body: the body's.
        dtype: as in `Work`.
    """

    flops: int | None
    bytes: int
    moved_bytes: int | None
    dtype: str
    tflops: float | None
    gbps: float
    peak_tflops: float
    peak_gbps: float
    mfu: float | None
    mfu_body: float | None
    mbu: float
    intensity: float | None
    ridge: float
    bound: str
    bound_us: float
    gap: float
    gap_body: float | None


def work(inputs: Sequence[Any], output_bytes: int, flops: int | None) -> Work:
    """The least work of a kernel with these inputs, and outputs of that size."""
    arrays = [leaf for leaf in flat(list(inputs)) if leaf.ndim]
    floats = [leaf.dtype for leaf in arrays if rounding(leaf.dtype)]
    widest = max(floats, key=lambda dtype: dtype.itemsize, default=np.dtype(np.float32))
    return Work(flops=flops, bytes=sum(leaf.nbytes for leaf in arrays) + output_bytes, dtype=widest.name)


def peak_tflops(hw: Hardware, dtype: str) -> float:
    """Dense TFLOPS of TensorE for a dtype: 8-bit floats, 16-bit floats, else fp32."""
    if dtype.startswith("float8"):
        return hw.tensor.tflops_fp8
    return hw.tensor.tflops_bf16 if dtype in {"bfloat16", "float16"} else hw.tensor.tflops_fp32


def efficiency(
    need: Work, time_us: float, hw: Hardware, moved: int | None, body_us: float | None, cores: int = 1, ranks: int = 1
) -> Efficiency:
    """What a time of `time_us` means for this work on so many ranks of `cores` cores each, which share one HBM stack."""
    flop_rate, byte_rate = peak_tflops(hw, need.dtype) * cores * ranks * 1e6, hw.hbm.gbps * ranks * 1e3
    compute_us = None if need.flops is None else need.flops / flop_rate
    traffic = moved or need.bytes
    least = min(need.bytes, traffic)
    memory_us = least / byte_rate
    bound_us = max(memory_us, compute_us or 0.0)
    return Efficiency(
        flops=need.flops,
        bytes=least,
        moved_bytes=moved,
        dtype=need.dtype,
        tflops=None if need.flops is None else need.flops / time_us / 1e6,
        gbps=traffic / time_us / 1e3,
        peak_tflops=flop_rate / 1e6,
        peak_gbps=byte_rate / 1e3,
        mfu=None if compute_us is None else compute_us / time_us,
        mfu_body=None if compute_us is None or body_us is None else compute_us / body_us,
        mbu=traffic / byte_rate / time_us,
        intensity=None if need.flops is None else need.flops / least,
        ridge=flop_rate / byte_rate,
        bound="compute" if compute_us is not None and compute_us >= memory_us else "memory",
        bound_us=bound_us,
        gap=time_us / bound_us,
        gap_body=None if body_us is None else body_us / bound_us,
    )
