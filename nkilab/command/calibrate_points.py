"""From the instructions of a device profile to measured points, one for each kind of instruction."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

import nkilab
from nkilab.clock import Point
from nkilab.errors import UsageError
from nkilab.profiler import Profile

_OPERAND = re.compile(r"(src|dst)=(\w+)@0x([0-9a-f]+)((?:\[[-\d,]+\])*)")
_PSUM = range(0x2000000, 0x2400000)
"""On-chip addresses of PSUM in operand texts of device profiles."""
_TENSOR = ("MATMUL", "LDWEIGHTS")
_EARLY = 0.2
"""Quantile of start-to-start times taken as the issue interval: the later ones have waited for something."""
_DTYPES = {"fp32": "float32", "fp16": "float16", "fp8e4": "float8_e4m3", "fp8e5": "float8_e5m2"}


def measured(path: Path) -> Profile:
    """A device profile.

    Raises:
        UsageError: the profile is of a simulation.
    """
    p = nkilab.load(path)
    if isinstance(p, nkilab.Run) or p.origin.simulated:
        raise UsageError(
            f"{path} is a simulation",
            rule="a table is fitted to measurements, not to what it says itself",
            fix="give device profiles: NTFF with its NEFF, or the vendor's JSON",
        )
    return p


def points_of(p: Profile) -> list[Point]:
    """The kinds of compute instruction of one profile with median durations, and intervals where some overlap.

    TensorE's are taken at full clock: within throttle windows that say so, where the profile records them.
    """
    if not p.has("Instruction"):
        return []
    table = p.table("Instruction").filter(pl.col("operands").is_not_null() & pl.col("engine").is_in(_ENGINES))
    table = table.sort("pcore_idx", "engine", "start_ts").with_columns(
        interval=(pl.col("start_ts").shift(-1) - pl.col("start_ts")).over("pcore_idx", "engine", "opcode"),
        parsed=pl.col("operands").map_elements(_kind, return_dtype=pl.String),
        half=~_full_clock(p) & pl.col("opcode").is_in(_TENSOR),
    )
    table = table.drop_nulls("parsed").with_columns(
        interval=pl.when(pl.col("interval") < pl.col("duration_ns")).then("interval")
    )
    groups = table.group_by("engine", "opcode", "parsed", "scalar_activation_fn", "half", maintain_order=True).agg(
        pl.len().alias("count"), pl.col("duration_ns").median(), pl.col("interval").quantile(_EARLY)
    )
    return [_point(row) for row in groups.iter_rows(named=True)]


_ENGINES = ("Tensor", "Vector", "Scalar", "GpSimd")


def _full_clock(p: Profile) -> pl.Expr:
    """Whether an instruction starts in a throttle window of full rate; true where nothing is recorded."""
    if not p.has("Throttle"):
        return pl.lit(value=True)
    full = p.table("Throttle").filter(pl.col("k") == pl.col("n"))
    windows = [
        (pl.col("start_ts") >= start) & (pl.col("start_ts") < start + length)
        for start, length in full.select("timestamp", "duration").iter_rows()
    ]
    return pl.any_horizontal(windows) if windows else pl.lit(value=False)


def _kind(operands: str) -> str | None:
    """Type, memory and elements of source and result, as text; None where the operands do not say."""
    found = {name: (dtype, int(address, 16), shape) for name, dtype, address, shape in _OPERAND.findall(operands)}
    if "src" not in found:
        return None
    result = re.search(r"dst=0x([0-9a-f]+)", operands)
    source, target = found["src"], found.get("dst")
    to_psum = (target[1] if target else int(result.group(1), 16) if result else 0) in _PSUM
    words = [_DTYPES.get(source[0], source[0]), int(source[1] in _PSUM), _size(source[2])]
    words += [_DTYPES.get(target[0], target[0]), int(to_psum), _size(target[2])] if target else ["", int(to_psum), 0]
    return " ".join(map(str, [*words, int("transpose_mode=ENABLED" in operands)])).replace("  ", " - ")


def _size(patterns: str) -> int:
    """Elements of a pattern `[strides][sizes]`."""
    groups = re.findall(r"\[([-\d,]+)\]", patterns)
    size = 1
    for count in groups[-1].split(",") if groups else []:
        size *= int(count)
    return size


def _point(row: dict[str, object]) -> Point:
    dtype, psum, elements, out, out_psum, out_elements, turned = str(row["parsed"]).split(" ")
    duration, interval = row["duration_ns"], row["interval"]
    return Point(
        opcode=str(row["opcode"]),
        engine=str(row["engine"]).lower(),
        elements=128 if row["opcode"] == "LDWEIGHTS" else int(elements),
        out_elements=int(out_elements),
        dtype=dtype,
        out_dtype="float32" if out == "-" else out,
        psum=psum == "1",
        out_psum=out_psum == "1",
        function=str(row["scalar_activation_fn"] or "").lower(),
        duration_ns=float(duration) if isinstance(duration, int | float) else None,
        interval_ns=float(interval) if isinstance(interval, int | float) else None,
        half_clock=bool(row["half"]),
        transpose=turned == "1",
        count=int(str(row["count"])),
    )
