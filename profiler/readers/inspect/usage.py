"""cpu_util.pb and host_mem.pb: the host's load while the program ran."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..wire import Source
from .info import TraceInfo
from .records import records


def cpu(source: Source, info: TraceInfo) -> pl.DataFrame:
    """CpuUsage: percent of one CPU, 0 to 100; an absent field is 0 in this format.

    Raises:
        InputError: malformed.
    """
    frame = pl.concat(
        pl.DataFrame({"timestamp": part.ints(2), "util_percent": _float(part.ints(1)), "cpu_id": part.ints(3)})
        for part in records(source, "cpu_util")
    )
    return frame.with_columns(
        util_percent=pl.when(pl.col("util_percent").is_finite()).then("util_percent"),
        instance_id=pl.lit(info.instance_id or None, pl.String),
    )


def _float(bits: NDArray[np.int64]) -> NDArray[np.float64]:
    """Single-precision numbers from their bits."""
    with np.errstate(invalid="ignore"):  # a damaged file may hold signalling NaNs
        return bits.astype(np.uint32).view(np.float32).astype(np.float64)


def host_memory(source: Source, info: TraceInfo) -> pl.DataFrame:
    """HostMemUsage: bytes in use, and percent of the host's memory where that is known.

    Raises:
        InputError: malformed.
    """
    frame = pl.concat(
        (pl.DataFrame({"timestamp": part.ints(2), "used_bytes": part.ints(1)}) for part in records(source, "host_mem")),
        rechunk=True,
    )
    share = pl.col("used_bytes") * 100.0 / info.memory_bytes if info.memory_bytes else pl.lit(None, pl.Float64)
    return frame.with_columns(used_percent=share, instance_id=pl.lit(info.instance_id or None, pl.String))
