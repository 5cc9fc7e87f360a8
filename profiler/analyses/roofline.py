"""The roofline by memory level: HBM, SBUF and PSUM, each with the bandwidth that its documentation allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from nkilab.hardware import Hardware

from ..profile import Profile
from .computed import Values
from .machine import Machine, hardware

if TYPE_CHECKING:
    import plotly.graph_objects as go

SCHEMA = {
    "level": pl.String, "bytes": pl.Int64, "flops": pl.Int64, "intensity": pl.Float64, "bandwidth": pl.Float64, "cls": pl.String,
    "source": pl.String, "attainable": pl.Float64, "achieved": pl.Float64, "share": pl.Float64,
}  # fmt: skip
_DASHES = {"hbm": "solid", "sbuf": "solid", "psum": "dash"}
_SYMBOLS = {"hbm": "circle", "sbuf": "square", "psum": "diamond-tall"}
_WORD = 4
_LANES = (
    "128 elements of 4 bytes a cycle for each read or write interface of an engine (architecture guide), added up over "
)
_SBUF = "the engines that may access SBUF at once, TensorE reading 2 bytes, and the DMA engines"
_PSUM = "TensorE's accumulation (a read and a write) and the engines that may access PSUM at once"
Roof = tuple[str, float, str, str]


def roofs(p: Profile, of: Machine) -> list[Roof]:
    """Level, bandwidth of all cores (byte/s), its class and where it comes from, slowest memory first."""
    hw = hardware(p)
    found: list[Roof] = []
    if of.hbm_bytes_per_s:
        stated = p.fact("hbm_ddr_bandwidth") is not None and not p.origin.simulated
        cls, source = ("documented", "the profile's metadata") if stated or hw is None else _said(hw, "hbm.gbps")
        found.append(("hbm", of.hbm_bytes_per_s, cls, source))
    if hw is not None:
        found.append(("sbuf", _sbuf(hw) * of.cores, "documented", _LANES + _SBUF))
        found.append(("psum", _psum(hw) * of.cores, "documented", _LANES + _PSUM))
    return found


def roofline(p: Profile, values: Values, of: Machine, total: float) -> pl.DataFrame:
    """One row per level whose bytes and bandwidth are known; see `Bounds.roofline`."""
    if "hardware_flops" not in values or not of.peak_flops:
        return pl.DataFrame(schema=SCHEMA)
    flops = values["hardware_flops"] - values["transpose_flops"]
    rows, moved = [], {**_stated(p), **values}
    for level, rate, cls, source in roofs(p, of):
        size = moved.get(f"{level}_read_bytes", 0) + moved.get(f"{level}_write_bytes", 0)
        if size:
            attainable, achieved = min(of.peak_flops, flops / size * rate), flops / total * 1e9
            share = achieved / attainable if attainable else None
            rows.append((level, int(size), int(flops), flops / size, rate, cls, source, attainable, achieved, share))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _stated(p: Profile) -> Values:
    """What the source's own summary says of bytes, for those that the tables do not determine."""
    known = p.rows("Summary").filter(pl.col("metric").str.ends_with("_bytes")).drop_nulls("value")
    return dict(known.select("metric", "value").iter_rows())


def figure(rows: pl.DataFrame, peak: float) -> go.Figure:
    """The roofs as lines on logarithmic axes, with the run's point under each."""
    import plotly.graph_objects as go

    from .figures import colour, styled

    shades = {"hbm": "DMA", "sbuf": "Vector", "psum": "Scalar"}
    low, high = 0.1, max(10.0 * max(_ridges(rows, peak)), 1e4)
    drawn = go.Figure()
    for row in rows.to_dicts():
        shade, name = colour(shades[row["level"]]), row["level"].upper()
        ridge = peak / row["bandwidth"]
        drawn.add_scatter(
            x=[low, ridge, high], y=[low * row["bandwidth"] / 1e12, peak / 1e12, peak / 1e12], mode="lines", line={"color": shade, "width": 2, "dash": _DASHES[row["level"]]},
            name=f"{name}, {row['bandwidth'] / 1e9:,.0f} GB/s ({row['cls']})", hoverinfo="name",
        )  # fmt: skip
        drawn.add_scatter(
            x=[row["intensity"]], y=[row["achieved"] / 1e12], mode="markers", marker={"color": shade, "size": 12, "symbol": _SYMBOLS[row["level"]], "line": {"color": "white", "width": 1}},
            showlegend=False, name=name, hovertemplate=f"{name}<br>%{{x:,.4g}} flop/byte<br>%{{y:,.4g}} TFLOP/s<extra></extra>",
        )  # fmt: skip
    across = {"type": "log", "title": "useful FLOPs per byte"}
    return styled(drawn, "Roofline by memory level", xaxis=across, yaxis={"type": "log", "title": "TFLOP/s"})


def _ridges(rows: pl.DataFrame, peak: float) -> Sequence[float]:
    """Where each roof turns, flop/byte, and the run's own intensities."""
    return [*(peak / rows["bandwidth"]).to_list(), *rows["intensity"].to_list(), 1.0]


def _said(hw: Hardware, name: str) -> tuple[str, str]:
    """Class and source of a number of the hardware table."""
    known = hw.source(name)
    return known.cls, known.source


def _sbuf(hw: Hardware) -> float:
    """Bytes per second of one core's SBUF."""
    lanes = hw.sbuf.partitions
    both = hw.access.vector_gpsimd_share_sbuf
    others = [hw.vector.clock_ghz, hw.gpsimd.clock_ghz]
    streaming = hw.scalar.clock_ghz + (sum(others) if both else max(others))
    tensor = lanes * 2 * hw.tensor.clock_ghz
    return (tensor + 2 * lanes * _WORD * streaming + hw.dma.engines * hw.dma.engine_gbps) * 1e9


def _psum(hw: Hardware) -> float:
    """Bytes per second of one core's PSUM."""
    lanes = hw.psum.partitions
    others = [hw.vector.clock_ghz, hw.scalar.clock_ghz]
    streaming = sum(others) if hw.access.vector_scalar_share_psum else max(others)
    return 2 * lanes * _WORD * (hw.tensor.clock_ghz + streaming) * 1e9
