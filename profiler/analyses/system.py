"""`system`: executions on the device, the gaps between them, and the host beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from ..errors import NotInProfileError
from ..profile import Profile
from .base import Answer, Shown
from .intervals import Intervals, fresh_ns
from .machine import added

EXECUTE = "nrt_execute"
RUNNING = "nc_exec_running"
_DEVICE = "device"


@dataclass(frozen=True, slots=True)
class System(Answer):
    """A run as the host saw it.

    Attributes:
        rows: per execution: worker_gid, nc_idx, exec_id, at_ns (start, since the first event), device_ns (time with any
            of its cores running: union), cores, gap_ns (from the end of the execution before it on the same logical
            core; null for the first), cpu (mean host CPU use during it, 0 to 1; null without samples).
        calls: per runtime call: name, calls, total_ns (added up), longest_ns, most time first.
        launch_ns: time in `EXECUTE` calls with nothing running on the device: getting an execution there and back; null
            without such calls.
        host: mean and highest cpu (0 to 1, over CPUs) and highest memory_bytes; null where not sampled.
    """

    title: ClassVar[str] = "System"
    shown: ClassVar[tuple[Shown, ...]] = (
        Shown("worker_gid", "worker"), Shown("nc_idx", "core"), Shown("exec_id", "execution"), Shown("at_ns", "at us", "us"),
        Shown("device_ns", "device us", "us", "time with any of its cores running (union)"),
        Shown("gap_ns", "gap before us", "us", "since the end of the execution before it on the same core"), Shown("cpu", "host CPU", "percent", "mean of the samples during it"),
    )  # fmt: skip

    rows: pl.DataFrame
    calls: pl.DataFrame
    launch_ns: float | None
    host: pl.DataFrame

    def remarks(self) -> list[str]:
        """Time on the device, between executions, and in the longest runtime call."""
        busy, idle = added(self.rows["device_ns"]), added(self.rows["gap_ns"])
        words = f"{self.rows.height} executions, {busy / 1e3:,.2f} us on the device, {idle / 1e3:,.2f} us between them"
        if self.launch_ns is not None:
            words += f"; {self.launch_ns / 1e3:,.2f} us in {EXECUTE} beside the device's work"
        first = self.calls.head(1).select("name", "total_ns").rows()
        return [words + "".join(f"; most host time in {name}, {time / 1e3:,.2f} us" for name, time in first)]


def system(p: Profile) -> System:
    """Executions, launch gaps, runtime calls, host CPU and memory.

    Raises:
        NotInProfileError: the profile has no host or runtime events.
    """
    if not p.has("SystemProfileEvents"):
        raise NotInProfileError(
            "no host or runtime event is in this profile", fix="open an inspect folder (neuron-profile inspect)"
        )
    events = p.table("SystemProfileEvents")
    device = pl.col("trace_event_source") == _DEVICE
    calls = events.filter(~device.fill_null(value=False)).drop_nulls("duration_ns").group_by("name").agg(
        calls=pl.len().cast(pl.Int64), total_ns=pl.col("duration_ns").sum(), longest_ns=pl.col("duration_ns").max()
    )  # fmt: skip
    ordered = calls.sort("total_ns", "name", descending=[True, False])
    return System(_executions(p, events), ordered, _launching(events), _host(p))


def _launching(events: pl.DataFrame) -> float | None:
    """Time in execute calls while no core runs."""
    zero = int(events.select(pl.col("start_ts").min()).item() or 0)
    since = [(pl.col(name) - zero).cast(pl.Float64).alias(name) for name in ("start_ts", "end_ts")]
    rows = events.with_columns(since)
    calls, running = (Intervals.from_frame(rows.filter(name=name)) for name in (EXECUTE, RUNNING))
    return calls.subtract(running).measure if len(calls) and len(running) else None


def _executions(p: Profile, events: pl.DataFrame) -> pl.DataFrame:
    """One row per execution of a logical core; times since the first event, so that float64 holds them exactly."""
    zero = int(events.select(pl.col("start_ts").min()).item() or 0)
    since = [(pl.col(name) - zero).cast(pl.Float64).alias(name) for name in ("start_ts", "end_ts")]
    number = pl.col("extra_attributes_json").str.json_path_match("$.exec_id")
    rows = (
        events.filter(name=RUNNING)
        .drop_nulls(["start_ts", "end_ts"])
        .with_columns(*since, exec_id=number)
        .sort("start_ts")
    )
    keys = ["worker_gid", "nc_idx", "exec_id"]
    found = rows.with_columns(fresh=fresh_ns(keys)).group_by(keys, maintain_order=True).agg(
        at_ns=pl.col("start_ts").min(),
        until=pl.col("end_ts").max(),
        device_ns=pl.col("fresh").sum(),
        cores=pl.col("pcore_idx").n_unique().cast(pl.Int64),
    )  # fmt: skip
    before = pl.col("until").shift(1).over("worker_gid", "nc_idx")
    gaps = found.with_columns(gap_ns=(pl.col("at_ns") - before).clip(lower_bound=0.0))
    return _with_cpu(p, gaps, zero).drop("until")


def _with_cpu(p: Profile, rows: pl.DataFrame, zero: int) -> pl.DataFrame:
    """Mean host CPU use of the samples inside each execution."""
    samples = (
        p.rows("CpuUsage")
        .select(at=(pl.col("timestamp") - zero).cast(pl.Float64), cpu=pl.col("util_percent") / 100)
        .sort("at")
    )
    numbered = rows.with_row_index("row")
    inside = numbered.join_where(samples, pl.col("at") >= pl.col("at_ns"), pl.col("at") < pl.col("until"))
    means = inside.group_by("row").agg(pl.col("cpu").mean())
    return numbered.join(means, on="row", how="left", maintain_order="left").drop("row")


def _host(p: Profile) -> pl.DataFrame:
    """Host CPU and memory over the whole trace."""
    cpu = p.rows("CpuUsage").group_by("timestamp").agg(pl.col("util_percent").mean() / 100)["util_percent"]
    row = {"cpu_mean": cpu.mean(), "cpu_highest": cpu.max(), "memory_bytes": p.rows("HostMemUsage")["used_bytes"].max()}
    return pl.DataFrame([row], schema={"cpu_mean": pl.Float64, "cpu_highest": pl.Float64, "memory_bytes": pl.Int64})
