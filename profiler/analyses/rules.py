"""The rules of `advice`: each looks at one thing and says what to do, why, and the most it can gain.

A gain is time that would vanish if the thing were perfect and nothing else changed; what is hidden behind the busiest
engine gains nothing. Thresholds are ours, the advice follows the vendor's performance and DMA guides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from ..profile import Profile
from .dma import SMALL_BYTES
from .evidence import Evidence
from .intervals import Intervals
from .machine import added
from .system import EXECUTE, system

_DOCS = "https://awsdocs-neuron.readthedocs-hosted.com/en/latest/nki/deep-dives/"
GUIDE = _DOCS + "nki_perf_guide.html"
DMA_GUIDE = _DOCS + "nki-dma-bandwidth-guide.html"
MOVING_MAX = 512
FULL_BYTES = 4096
PARTITIONS = 128
WARMING_NS = 2 * 3413.3
"""Work at half rate that no kernel avoids: the clock is set for windows of 3 413.3 ns, after a busy one (measured, trn2)."""


@dataclass(frozen=True, slots=True)
class Found:
    """One piece of advice; `gain_ns` is an upper bound."""

    rule: str
    what: str
    evidence: str
    gain_ns: float
    lines: str
    link: str = GUIDE

    def row(self) -> dict[str, object]:
        """The advice as a row."""
        return {name: getattr(self, name) for name in ("rule", "what", "evidence", "gain_ns", "lines", "link")}


Rule = Callable[[Evidence], Found | None]


def _us(ns: float) -> str:
    """Nanoseconds as people read them."""
    return f"{ns / 1e3:,.2f} us"


def missing_overlap(e: Evidence) -> Found | None:
    """No engine is busy for most of the kernel: work runs one piece after another.

    Loading the first tile and storing the last one cannot be hidden, so they count only where they are most of the kernel.
    """
    busiest = max([*e.busy.values(), e.moving_ns])
    edges = e.body_ns - e.inner_ns
    if busiest > 0.75 * e.body_ns or (busiest > 0.75 * e.inner_ns and edges < 0.4 * e.body_ns):
        return None
    return Found(
        "missing overlap", "load, compute and store different tiles at the same time (several buffers per tile)",
        f"the busiest unit works {_us(busiest)} of {_us(e.body_ns)}", e.body_ns - busiest, e.lines(e.work),
    )  # fmt: skip


def exposed_dma(e: Evidence) -> Found | None:
    """Data movement that no compute hides."""
    exposed = e.exposed_ns("dma")
    if e.inner_dma_ns < 0.1 * e.body_ns and exposed < 0.3 * e.body_ns:  # the first load and the last store always are
        return None
    issuing = e.work.filter(pl.col("opcode").str.starts_with("DMA"))
    return Found(
        "exposed DMA", "start loads earlier, so that they hide behind compute", f"{_us(exposed)} of DMA has no compute beside it",
        exposed, e.lines(issuing), DMA_GUIDE,
    )  # fmt: skip


def exposed_collectives(e: Evidence) -> Found | None:
    """Communication that no compute hides."""
    exposed = e.exposed_ns("collectives")
    if exposed < 0.05 * e.body_ns:
        return None
    what = "split collectives and overlap them with compute"
    return Found("exposed collectives", what, f"{_us(exposed)} of collectives has no compute beside it", exposed, "")


def small_dma(e: Evidence) -> Found | None:
    """DMA time spent on small packets, where DMA is exposed."""
    if e.dma is None:
        return None
    sizes = e.dma.sizes.filter(pl.col("up_to_bytes") > 4)  # 4 bytes are the semaphore write behind every transfer
    busy = added(sizes["packets"] * sizes["mean_ns"])
    small = sizes.filter(pl.col("up_to_bytes") < FULL_BYTES)
    share = added(small["packets"] * small["mean_ns"]) / busy if busy else 0.0
    if share < 0.3:
        return None
    evidence = (
        f"{share:.0%} of DMA time moves packets below {FULL_BYTES} bytes ({added(small['packets']):,.0f} packets)"
    )
    what = f"move at least {SMALL_BYTES}, better {FULL_BYTES} contiguous bytes per partition at once"
    issuing = e.work.filter(pl.col("opcode").str.starts_with("DMA"))
    return Found("small DMA", what, evidence, share * e.inner_dma_ns, e.lines(issuing), DMA_GUIDE)


def dma_issue(e: Evidence) -> Found | None:
    """One engine triggers so many DMAs that triggering is the limit."""
    if e.dma is None or e.dma.issue.is_empty():
        return None
    most = e.dma.issue.sort("dmas", descending=True).row(0, named=True)
    interval = most["mean_interval_ns"]
    if most["dmas"] < 32 or not interval or interval > 1500 or most["dmas"] * interval < 0.6 * e.body_ns:
        return None
    if e.of.dma_bytes_per_s and added(e.dma.rows["bytes"]) / e.of.dma_bytes_per_s * 1e9 > 0.6 * most["dmas"] * interval:
        return None  # the engines move so much that triggering is not the limit
    evidence = f"{most['engine']} triggers {most['dmas']} DMAs, one every {interval:,.0f} ns"
    issuing = e.work.filter(pl.col("opcode").str.starts_with("DMA"))
    return Found(
        "DMA issue",
        "issue fewer, larger DMAs, or spread them over queues",
        evidence,
        e.inner_dma_ns,
        e.lines(issuing),
        DMA_GUIDE,
    )


def reload(e: Evidence) -> Found | None:
    """Tensors loaded more than once, where compute waits for data."""
    if e.dma is None or e.inner_dma_ns < 0.1 * e.body_ns:
        return None
    again = e.dma.tensors.filter(pl.col("reload") > 1.5)
    extra = added(again["loaded_bytes"] - again["size_bytes"])
    moved = added(e.dma.rows["bytes"])
    if not extra or not moved:
        return None
    names = ", ".join(f"{name} {times:.1f}x" for name, times in again.head(4).select("variable", "reload").rows())
    gain = min(extra / moved, 1.0) * e.inner_dma_ns
    return Found(
        "reload",
        "keep tiles in SBUF and reuse them (hoist loads, block the loops)",
        f"loaded again: {names}",
        gain,
        "",
        DMA_GUIDE,
    )


def spill(e: Evidence) -> Found | None:
    """Intermediate tensors that do not fit SBUF."""
    size = e.spills.size
    moved = added(e.dma.rows["bytes"]) if e.dma else 0.0
    if not size or not moved:
        return None
    gain = size / moved * e.moving_ns
    return Found(
        "spill",
        "hold less in SBUF at once: smaller tiles or an earlier last use",
        f"{size:,.0f} bytes saved and reloaded",
        gain,
        e.lines(e.p.rows("Instruction").filter(pl.col("id").is_in(e.spills.instructions.implode()))),
    )


def transposes(e: Evidence) -> Found | None:
    """TensorE time spent on transposes, where TensorE is the busiest engine."""
    tensor = e.work.filter(engine="Tensor")
    flipped = tensor.filter(pl.col("tensor_instruction_type") == "TRANSPOSE")
    spent, every = Intervals.from_frame(flipped).measure, e.busy["Tensor"]
    if e.busiest != "Tensor" or not every or spent < 0.1 * every:
        return None
    what = "load data in the layout that the multiply needs, or transpose by DMA"
    return Found("transposes", what, f"TensorE transposes for {_us(spent)} of {_us(every)}", spent, e.lines(flipped))


def small_tiles(e: Evidence) -> Found | None:
    """TensorE is the busiest engine and its instructions are too small to fill it."""
    flops = e.values.get("hardware_flops")
    if e.busiest != "Tensor" or not flops or not e.of.core_flops:
        return None
    full = flops / e.of.core_flops * 1e9
    count = e.values.get("matmul_instruction_count", 0)
    mean = flops / count if count else 0.0
    largest = 2 * 128 * 128 * MOVING_MAX
    if full > 0.7 * e.busy["Tensor"] or mean > 0.7 * largest:
        return None
    evidence = f"a multiply does {mean / largest:.0%} of a full tile's work; TensorE at peak would need {_us(full)} instead of {_us(e.busy['Tensor'])}"
    return Found(
        "small tiles",
        f"use 128 x 128 x {MOVING_MAX} tiles",
        evidence,
        e.busy["Tensor"] - full,
        e.lines(e.work.filter(engine="Tensor")),
    )


def throttled(e: Evidence) -> Found | None:
    """TensorE at less than full rate while it works, beyond the windows in which it always warms up."""
    windows = e.p.rows("Throttle").filter(pl.col("k") < pl.col("n"))
    if e.busiest != "Tensor" or windows.is_empty():
        return None
    slow = Intervals.of(windows["timestamp"].to_numpy(), (windows["timestamp"] + windows["duration"]).to_numpy())
    working = slow.intersect(Intervals.from_frame(e.work.filter(engine="Tensor"))).measure
    lost = max(working - WARMING_NS, 0.0) / 2
    what = "keep TensorE busy without pauses, so that its clock stays at full rate"
    return Found("throttled", what, f"TensorE works {_us(working)} at reduced rate", lost, "") if lost else None


def imbalance(e: Evidence) -> Found | None:
    """Vector, Scalar or GpSimd is the limit while a sister engine is idle."""
    sisters = {name: e.busy[name] for name in ("Vector", "Scalar", "GpSimd")}
    order = sorted(sisters, key=lambda name: -sisters[name])
    first, least = order[0], order[-1]
    if e.busiest != first or sisters[first] < 0.6 * e.body_ns or sisters[least] > 0.5 * sisters[first]:
        return None
    evidence = f"{first} works {_us(sisters[first])}, {least} {_us(sisters[least])}"
    gain = (sisters[first] - sisters[least]) / 2
    return Found(
        "engine imbalance", f"move work from {first} to {least}", evidence, gain, e.lines(e.work.filter(engine=first))
    )


def few_partitions(e: Evidence) -> Found | None:
    """Tiles that lie on few of the 128 partitions, on an engine other than TensorE that is the limit."""
    tiles = e.p.rows("SbufAllocation").filter(pl.col("space").fill_null("sbuf") == "sbuf").drop_nulls("partitions")
    size = pl.col("end_address") - pl.col("start_address")
    held = tiles.select(size=size, used=size * pl.col("partitions")).sum()
    if e.busiest == "Tensor" or not held["size"][0]:
        return None
    mean = held["used"][0] / held["size"][0]
    if mean > PARTITIONS / 2 or e.busy[e.busiest] < 0.5 * e.body_ns:
        return None
    return Found(
        "few partitions", f"lay tiles out over all {PARTITIONS} partitions: an instruction takes as long for one as for all",
        f"tiles in SBUF use {mean:.0f} partitions in the mean; {e.busiest} works {_us(e.busy[e.busiest])}",
        e.busy[e.busiest] * (1 - mean / PARTITIONS), e.lines(e.work.filter(engine=e.busiest)),
    )  # fmt: skip


def launch_gaps(p: Profile) -> tuple[Found, float] | None:
    """The device stands still between executions, or while one is launched; with the time looked at, ns. Needs host events."""
    seen = system(p)
    runs = seen.rows
    gaps, busy = added(runs["gap_ns"].clip(lower_bound=0)), added(runs["device_ns"])
    if runs.height < 2 or gaps < 0.1 * (gaps + busy):
        return _launching(seen.launch_ns or 0.0, busy)
    evidence = f"{runs.height} executions leave the device idle for {_us(gaps)} of {_us(gaps + busy)} in between"
    what = "queue the next execution before the last one ends (asynchronous execution, larger graphs, inputs on the device)"
    return Found("launch gaps", what, evidence, gaps, "", GUIDE), gaps + busy


def _launching(launch: float, busy: float) -> tuple[Found, float] | None:
    """The time in which an execution is on its way to the device and back, against the device's own."""
    if launch < 0.1 * (launch + busy):
        return None
    evidence = f"{EXECUTE} takes {_us(launch + busy)}, the device works for {_us(busy)} of it"
    what = "send more work with each execution, or queue executions, so that launching one hides behind another"
    return Found("launch gaps", what, evidence, launch, "", GUIDE), launch + busy


def table_loads(e: Evidence) -> Found | None:
    """Activation tables loaded again and again."""
    loads = e.work.filter(opcode="ACT_TABLE_LOAD")
    spent = Intervals.from_frame(loads).measure
    if loads.height < 3:
        return None
    what = "group activations of one function, so that its table is loaded once"
    return Found("table loads", what, f"{loads.height} table loads take {_us(spent)}", spent, e.lines(loads))


RULES: tuple[Rule, ...] = (
    missing_overlap, exposed_dma, exposed_collectives, small_dma, dma_issue, reload, spill, transposes, small_tiles, throttled,
    imbalance, few_partitions, table_loads,
)  # fmt: skip
