"""cpu_util.pb and host_mem.pb: the host's load while the program ran."""

from __future__ import annotations

import numpy as np
import polars as pl

from ..wire import Source
from .info import TraceInfo
from .records import records


def cpu(source: Source, info: TraceInfo) -> pl.DataFrame:
    """CpuUsage: percent of one CPU, 0 to 100; an absent field is 0 in this format.

    Raises:
        InputError: malformed.
    """
    columns = records(source, "cpu_util")
    percent = columns.ints(1).astype(np.uint32).view(np.float32).astype(np.float64)
    frame = pl.DataFrame({"timestamp": columns.ints(2), "util_percent": percent, "cpu_id": columns.ints(3)})
    return frame.with_columns(
        util_percent=pl.when(pl.col("util_percent").is_finite()).then("util_percent"),
        instance_id=pl.lit(info.instance_id or None, pl.String),
    )


def host_memory(source: Source, info: TraceInfo) -> pl.DataFrame:
    """HostMemUsage: bytes in use, and percent of the host's memory where that is known.

    Raises:
        InputError: malformed.
    """
    columns = records(source, "host_mem")
    frame = pl.DataFrame({"timestamp": columns.ints(2), "used_bytes": columns.ints(1)})
    share = pl.col("used_bytes") * 100.0 / info.memory_bytes if info.memory_bytes else pl.lit(None, pl.Float64)
    return frame.with_columns(used_percent=share, instance_id=pl.lit(info.instance_id or None, pl.String))
