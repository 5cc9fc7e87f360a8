"""`bounds`: how far the run is from what the machine allows, step by step, and where the roofline is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl

from ..errors import NotInProfileError
from ..profile import Profile
from . import roofline
from .base import Answer, Shown
from .computed import Values, computed
from .intervals import Intervals
from .machine import Machine, machine, total_ns, working
from .metrics import ENGINES

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True, slots=True)
class Bounds(Answer):
    """A ladder of times, each the least that a better kernel could reach by removing one more loss.

    Attributes:
        rows: step, ns, saved_ns (against the step before), share (of the measured time), what:
            "as measured": the run;
            "body": without what is before the first and after the last work of the kernel's own (rows with a source
                line, if there are any), the part that a kernel's author can change;
            "no stalls": the busiest of all engines and DMA works without a gap and everything else hides behind it;
            "no reloads": the same, DMA time cut to the share of the bytes that inputs, outputs and weights need once;
            "ideal DMA": those bytes at the bandwidth of HBM or of the DMA engines, whichever is less;
            "ideal TensorE": the useful FLOPs at the 16-bit peak of the cores used, or that traffic, whichever is longer.
            A step that the profile does not determine is left out; no step is longer than the one before.
        roofline: one row per memory level (hbm, sbuf, psum) whose bytes are known: level, bytes (read and written),
            flops (without transposes), intensity (flop/byte), bandwidth (byte/s, all cores) with its class and source,
            attainable (the lesser of peak and intensity x bandwidth) and achieved FLOP/s, share (achieved / attainable).
        limit: what the roofline of HBM is bound by: "memory" or "compute"; null where unknown.
        peak_flops: peak FLOP/s of all cores; null where unknown.
        simulated: whether times are modelled.
    """

    title: ClassVar[str] = "Bounds"
    shown: ClassVar[tuple[Shown, ...]] = (
        Shown("step", "step", "text", "each the least time that a better kernel could reach by removing one more loss"), Shown("ns", "us", "us"),
        Shown("saved_ns", "saves us", "us", "against the step before"), Shown("share", "of measured", "percent"), Shown("what", "by"),
    )  # fmt: skip

    rows: pl.DataFrame
    roofline: pl.DataFrame
    limit: str | None
    peak_flops: float | None
    simulated: bool

    def remarks(self) -> list[str]:
        """The step that saves most, and where the run is under the roof of each memory."""
        own = self.rows.drop_nulls("saved_ns").filter(pl.col("step") != "body")  # the launch is not the kernel's
        steps = own.sort("saved_ns", descending=True)
        said = []
        if steps.height and steps["saved_ns"][0]:
            bound = "" if self.limit is None else f"; the roofline is {self.limit} bound"
            said = [f"most to gain: {steps['step'][0]}, {steps['saved_ns'][0] / 1e3:,.2f} us{bound}"]
        return [*said, *self.roofs()]

    def roofs(self) -> list[str]:
        """Where the run is under the roof of each memory, a sentence each."""
        return [_roof(row) for row in self.roofline.to_dicts()]

    def figure(self) -> go.Figure:
        """The ladder as a waterfall."""
        from .figures import ladder

        return ladder(self.rows["step"].to_list(), (self.rows["ns"] / 1e3).to_list(), "Bounds")

    def roofline_figure(self) -> go.Figure:
        """The roofline by memory level.

        Raises:
            NotInProfileError: the profile does not determine FLOPs, bytes or peak.
        """
        if self.roofline.is_empty() or not self.peak_flops:
            raise NotInProfileError("the roofline is not in this profile", rule="it needs FLOPs, bytes and a target")
        return roofline.figure(self.roofline, self.peak_flops)


def _roof(row: dict[str, Any]) -> str:
    """One level of the roofline as a sentence."""
    share = "" if row["share"] is None else f", {row['share']:.1%} of them reached"
    return (
        f"{row['level'].upper()}: {row['intensity']:,.4g} FLOP/byte at {row['bandwidth'] / 1e9:,.0f} GB/s ({row['cls']}) "
        f"allow {row['attainable'] / 1e12:,.4g} TFLOP/s{share}"
    )


def bounds(p: Profile) -> Bounds:
    """The ladder of bounds and the roofline of a run.

    Raises:
        NotInProfileError: the profile has no instructions.
    """
    total = total_ns(p)
    if not p.has("Instruction") or not total:
        raise NotInProfileError(
            "bounds need instructions, and this profile has none", fix="open the NTFF or the full JSON of the run"
        )
    values, of = computed(p), machine(p)
    steps = [
        ("as measured", total, "the run"),
        ("body", _body(p, total), "the kernel's own work, first to last"),
        *_floors(p, values, of),
    ]
    rows = pl.DataFrame(
        steps, schema={"step": pl.String, "ns": pl.Float64, "what": pl.String}, orient="row"
    ).drop_nulls("ns")
    ladder = rows.with_columns(ns=pl.col("ns").cum_min())
    ladder = ladder.with_columns(saved_ns=pl.col("ns").shift(1) - pl.col("ns"), share=pl.col("ns") / total)
    roofs = roofline.roofline(p, values, of, total)
    hbm = roofs.filter(level="hbm")["attainable"]
    limit = None
    if len(hbm) and of.peak_flops:
        limit = "compute" if hbm[0] >= of.peak_flops else "memory"
    return Bounds(ladder, roofs, limit, of.peak_flops, p.origin.simulated)


def _body(p: Profile, total: float) -> float | None:
    """From the first instruction of the kernel's source to the last one, or the last packet of data or collective behind it."""
    if (body := p.fact("body_ns")) is not None:
        return min(body, total)
    own = Intervals.from_frame(working(p).drop_nulls("line"))
    if not len(own):
        return None
    data = p.rows("DmaPacket").filter(pl.col("queue_type").fill_null("") != "instruction")
    moved = Intervals.from_frame(data).union(Intervals.from_frame(p.rows("CcOp")))
    return float(own.union(moved).end[-1] - own.start[0])


def _floors(p: Profile, values: Values, of: Machine) -> list[tuple[str, float | None, str]]:
    """The steps below the measured time, ns."""
    busy = {name: values.get(f"{key}_engine_active_time", 0) * 1e9 for key, name in ENGINES.items() if name != "Sync"}
    engine = max(busy, key=lambda name: busy[name])
    compute, dma = busy[engine], values.get("dma_active_time", 0) * 1e9
    cores = _used(p)
    moved = values.get("hbm_read_bytes", 0) + values.get("hbm_write_bytes", 0)
    once = values.get("inputs_outputs_weights_size_bytes")
    needed = min(once, moved) if once and moved else once or moved or None  # a kernel may read a part of its inputs
    least = _at_bandwidth(needed, of, cores)
    useful = values["hardware_flops"] - values["transpose_flops"] if "hardware_flops" in values else None
    flops = useful / (of.core_flops * cores) * 1e9 if useful and of.core_flops else None
    known = [time for time in (flops, least) if time is not None]
    return [
        ("no stalls", max(compute, dma), f"{engine if compute >= dma else 'DMA'} without a gap"),
        (
            "no reloads",
            max(compute, dma * needed / moved) if needed and moved else None,
            "inputs, outputs and weights moved once",
        ),
        (
            "ideal DMA",
            None if least is None else max(compute, least),
            f"those bytes at full bandwidth, beside {engine}",
        ),
        ("ideal TensorE", max(known, default=None), "useful FLOPs at peak, or those bytes"),
    ]


def _used(p: Profile) -> int:
    """Cores whose TensorE multiplied; an idle second core of an LNC pair is no loss of the kernel's."""
    return max(p.table("Instruction").filter(pl.col("raw_flops") > 0)["pcore_idx"].fill_null(0).n_unique(), 1)


def _at_bandwidth(size: float | None, of: Machine, cores: int) -> float | None:
    """Time of so many bytes at the bandwidth of HBM or of the cores' DMA engines, the smaller; None where unknown, ns."""
    rates = [rate for rate in (of.hbm_bytes_per_s, of.dma_bytes_per_s and of.dma_bytes_per_s * cores) if rate]
    return size / min(rates) * 1e9 if size and rates else None
