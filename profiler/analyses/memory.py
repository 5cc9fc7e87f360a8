"""`memory`: how full SBUF and PSUM were over time, and who held them at the peak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import polars as pl

from ..errors import NotInProfileError
from ..profile import Profile
from .base import Answer, Shown
from .machine import total_ns

if TYPE_CHECKING:
    import plotly.graph_objects as go

_SHADES = {"sbuf": "Vector", "psum": "Scalar"}
_DASHES = ("solid", "dot")
SPACES = {"sbuf": "SbufUsage", "psum": "PsumUsage"}


@dataclass(frozen=True, slots=True)
class Memory(Answer):
    """On-chip memory of a run.

    Attributes:
        rows: per memory and core: space, core, peak (fraction in use), peak_bytes (per partition; null where the source
            gives fractions only), at_ns (time of the peak), mean (time-weighted fraction).
        usage: the series: space, core, timestamp, used (fraction).
        holders: tensors alive at a memory's peak, largest first: space, tensor_name, bytes (per partition), partitions,
            start_ts, end_ts; empty where the source does not record allocations.
        hbm: HBM in use by kind: usage_type, usage_bytes.
        simulated: whether it is modelled.
    """

    title: ClassVar[str] = "On-chip memory"
    shown: ClassVar[tuple[Shown, ...]] = (
        Shown("space", "memory"), Shown("core", "core"), Shown("peak", "peak", "percent", "highest share in use"), Shown("peak_bytes", "per partition", "bytes"),
        Shown("at_ns", "at us", "us"), Shown("mean", "mean", "percent", "weighted by time"), Shown("held_by", "held by", "text", "the largest tensors alive at the peak"),
    )  # fmt: skip

    rows: pl.DataFrame
    usage: pl.DataFrame
    holders: pl.DataFrame
    hbm: pl.DataFrame
    simulated: bool

    def remarks(self) -> list[str]:
        """How much of each peak has a tensor's name."""
        held = self.holders.group_by("space").agg(pl.col("bytes").sum())
        peaks = self.rows.sort("peak").unique("space", keep="last", maintain_order=True).drop_nulls("peak_bytes")
        known = peaks.join(held, on="space").filter(pl.col("peak_bytes") > 0).sort("space", descending=True)
        words = [
            f"{space.upper()}: tensors with a name hold {min(size / peak, 1.0):.1%} of the peak"
            for space, size, peak in known.select("space", "bytes", "peak_bytes").iter_rows()
        ]
        return words or ["who holds the peak is not in this profile"]

    def printed(self) -> pl.DataFrame:
        """The rows with the largest holders at the peak."""
        top = self.holders.group_by("space", maintain_order=True).agg(
            held_by=pl.col("tensor_name").head(4).str.join(", ")
        )
        return self.rows.join(top, on="space", how="left", maintain_order="left")

    def figure(self) -> go.Figure:
        """Use over time, one line per memory and core."""
        import plotly.graph_objects as go

        from .figures import colour, styled

        parts = self.usage.partition_by("space", "core", maintain_order=True)
        lines = [
            go.Scatter(
                name=f"{part['space'][0]} core {part['core'][0]}",
                x=(part["timestamp"] / 1e3).to_list(),
                y=part["used"].to_list(),
                line={
                    "shape": "hv",
                    "color": colour(_SHADES[part["space"][0]]),
                    "dash": _DASHES[int(part["core"][0]) % 2],
                },
            )
            for part in parts
        ]
        axis = {"title": "in use", "tickformat": ".0%", "rangemode": "tozero"}
        return styled(go.Figure(lines), "On-chip memory", xaxis_title="us", yaxis=axis)


def memory(p: Profile) -> Memory:
    """Occupancy of SBUF and PSUM over time, its peaks, and who held them.

    Raises:
        NotInProfileError: the profile records neither.
    """
    series = [_series(p, space, table) for space, table in SPACES.items() if p.has(table, "avg_util_percent")]
    if not series:
        raise NotInProfileError(
            "memory use is not in this profile", fix="the vendor's full JSON and simulated runs have it"
        )
    usage = pl.concat(series)
    rows = _peaks(usage, total_ns(p))
    hbm = (
        p.rows("HbmUsageSummaryByType")
        .group_by("usage_type")
        .agg(pl.col("usage_bytes").sum())
        .sort("usage_bytes", descending=True)
    )
    return Memory(rows, usage.drop("bytes"), _holders(p, rows), hbm, p.origin.simulated)


def _series(p: Profile, space: str, table: str) -> pl.DataFrame:
    """One memory's use over time."""
    rows = p.table(table).drop_nulls(["timestamp", "avg_util_percent"]).sort("timestamp")
    core = pl.col("pcore_idx").fill_null(0).cast(pl.String)
    return rows.select(
        space=pl.lit(space), core=core, timestamp="timestamp", used="avg_util_percent", bytes="used_bytes"
    )


def _peaks(usage: pl.DataFrame, total: float | None) -> pl.DataFrame:
    """Peak and time-weighted mean; a value holds until the next one."""
    keys = ["space", "core"]
    until = pl.col("timestamp").shift(-1).over(keys).fill_null(total if total is not None else pl.col("timestamp"))
    held = usage.with_columns(held=(until - pl.col("timestamp")).clip(lower_bound=0.0))
    top = pl.col("used").arg_max()
    weight = pl.col("held").sum()
    return held.group_by(keys, maintain_order=True).agg(
        peak=pl.col("used").max(),
        peak_bytes=pl.col("bytes").get(top),
        at_ns=pl.col("timestamp").get(top),
        mean=pl.when(weight > 0).then((pl.col("used") * pl.col("held")).sum() / weight),
    )


def _holders(p: Profile, peaks: pl.DataFrame) -> pl.DataFrame:
    """Tensors alive at each memory's highest peak."""
    keep = ["space", "tensor_name", "bytes", "partitions", "start_ts", "end_ts"]
    rows = p.rows("SbufAllocation").with_columns(
        space=pl.col("space").fill_null("sbuf"), bytes=pl.col("end_address") - pl.col("start_address")
    )
    highest = peaks.sort("peak").unique("space", keep="last", maintain_order=True).select("space", "at_ns")
    alive = rows.join(highest, on="space").filter(
        (pl.col("start_ts") <= pl.col("at_ns")) & (pl.col("end_ts") >= pl.col("at_ns"))
    )
    alive = alive.unique(
        [*keep, "start_address", "pcore_idx"], maintain_order=True
    )  # the vendor has up to four partitions
    return alive.select(keep).sort("space", "bytes", "tensor_name", descending=[False, True, False], nulls_last=True)
