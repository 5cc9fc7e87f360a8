"""`bounds`: how far the run is from what the machine allows, step by step, and where the roofline is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import polars as pl

from ..errors import NotInProfileError
from ..profile import Profile
from .base import Answer, Shown
from .computed import Values, computed
from .intervals import Intervals
from .machine import Machine, added, machine, total_ns, working
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
            "ideal DMA": the same with the bytes moved at the full bandwidth of the DMA engines and of HBM;
            "no reloads": HBM traffic only of inputs, outputs and weights, once each;
            "ideal TensorE": the useful FLOPs at peak, or that traffic, whichever is longer: the roofline.
            A step that the profile does not determine is left out; no step is longer than the one before.
        roofline: level (hbm), bytes, flops, intensity (flop/byte), bandwidth (byte/s), attainable and achieved FLOP/s.
        limit: what the last step is bound by: "memory" or "compute"; null where unknown.
        simulated: whether times are modelled.
    """

    title: ClassVar[str] = "Bounds"
    shown: ClassVar[tuple[Shown, ...]] = (
        Shown("step", "step"), Shown("ns", "us", "us"), Shown("saved_ns", "saves us", "us"), Shown("share", "of measured", "percent"), Shown("what", "by"),
    )  # fmt: skip

    rows: pl.DataFrame
    roofline: pl.DataFrame
    limit: str | None
    simulated: bool

    def remarks(self) -> list[str]:
        """The step that saves most."""
        steps = self.rows.drop_nulls("saved_ns").sort("saved_ns", descending=True)
        if steps.is_empty() or not steps["saved_ns"][0]:
            return []
        bound = "" if self.limit is None else f"; the roofline is {self.limit} bound"
        return [f"most to gain: {steps['step'][0]}, {steps['saved_ns'][0] / 1e3:,.2f} us{bound}"]

    def figure(self) -> go.Figure:
        """The ladder as a waterfall."""
        import plotly.graph_objects as go

        bar = go.Bar(x=self.rows["step"].to_list(), y=(self.rows["ns"] / 1e3).to_list())
        return go.Figure(bar).update_layout(title="Bounds", yaxis_title="us")


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
    roofline = _roofline(values, of, total)
    limit = None
    if roofline.height and of.peak_flops:
        limit = "compute" if roofline["attainable"][0] >= of.peak_flops else "memory"
    return Bounds(ladder, roofline, limit, p.origin.simulated)


def _body(p: Profile, total: float) -> float | None:
    """From the first to the last instruction of the kernel's source, DMA that they issued included."""
    if (body := p.fact("body_ns")) is not None:
        return min(body, total)
    own = working(p).drop_nulls("line")
    if own.is_empty():
        return None
    span = Intervals.from_frame(own)
    return float(span.end[-1] - span.start[0])


def _floors(p: Profile, values: Values, of: Machine) -> list[tuple[str, float | None, str]]:
    """The steps below the measured time, ns."""
    busy = {name: values.get(f"{key}_engine_active_time", 0) * 1e9 for key, name in ENGINES.items() if name != "Sync"}
    engine = max(busy, key=lambda name: busy[name])
    dma = values.get("dma_active_time", 0) * 1e9
    moved = _moved(p, values, of)
    once = _quotient(values.get("inputs_outputs_weights_size_bytes"), of.hbm_bytes_per_s)
    least = once if once is None or moved is None else min(once, moved)  # a kernel may read a part of its inputs
    useful = values["hardware_flops"] - values["transpose_flops"] if "hardware_flops" in values else None
    flops = useful / of.core_flops / _used(p) * 1e9 if useful is not None and of.core_flops else None
    compute = busy[engine]
    ideal = None if flops is None or least is None else max(flops, least)
    return [
        ("no stalls", max(compute, dma), f"{engine if compute >= dma else 'DMA'} without a gap"),
        ("ideal DMA", None if moved is None else max(compute, moved), f"DMA and HBM at full bandwidth beside {engine}"),
        ("no reloads", None if least is None else max(compute, least), "inputs, outputs and weights moved once"),
        ("ideal TensorE", ideal, "useful FLOPs at peak, or that traffic"),
    ]


def _used(p: Profile) -> int:
    """Cores whose TensorE multiplied; an idle second core of an LNC pair is no loss of the kernel's."""
    return max(p.table("Instruction").filter(pl.col("raw_flops") > 0)["pcore_idx"].fill_null(0).n_unique(), 1)


def _quotient(size: float | None, per_second: float | None) -> float | None:
    """Time of so many bytes at a rate, ns; None where either is unknown."""
    return size / per_second * 1e9 if size and per_second else None


def _moved(p: Profile, values: Values, of: Machine) -> float | None:
    """Least time for the bytes that were moved: at HBM's bandwidth, and at that of the busiest core's DMA engines."""
    packets = p.rows("DmaPacket" if p.has("DmaPacket") else "DmaPacketAggregated")
    per_core = packets.group_by(pl.col("pcore_idx").fill_null(0)).agg(pl.col("transfer_bytes").sum())["transfer_bytes"]
    hbm = _quotient(values.get("hbm_read_bytes", 0) + values.get("hbm_write_bytes", 0), of.hbm_bytes_per_s)
    known = [time for time in (hbm, _quotient(added(per_core.top_k(1)), of.dma_bytes_per_s)) if time is not None]
    return max(known, default=None)


def _roofline(values: Values, of: Machine, total: float) -> pl.DataFrame:
    """The roofline point of the run against HBM."""
    size = values.get("hbm_read_bytes", 0) + values.get("hbm_write_bytes", 0)
    if not size or "hardware_flops" not in values or not of.peak_flops or not of.hbm_bytes_per_s:
        return pl.DataFrame()
    flops = values["hardware_flops"] - values["transpose_flops"]
    point = {
        "level": "hbm",
        "bytes": int(size),
        "flops": int(flops),
        "intensity": flops / size,
        "bandwidth": of.hbm_bytes_per_s,
        "attainable": min(of.peak_flops, flops / size * of.hbm_bytes_per_s),
        "achieved": flops / total * 1e9,
    }
    return pl.DataFrame([point])
