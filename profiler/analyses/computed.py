"""The vendor's metrics computed from the tables, for every source that determines them.

Each group returns the metrics that it can determine and no others: a missing key means "not in this profile".
Times in seconds and fractions of 1, as the vendor has them. Formulas: `metrics.METRICS`.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from ..profile import Profile
from .intervals import Intervals
from .machine import CONTROL_OPCODES, Machine, added, machine, table_total_ns, working
from .metrics import DMA_KINDS, ENGINES

Values = dict[str, float | int]
_NS = 1e-9
_BYTES = (
    "hbm_read_bytes",
    "hbm_write_bytes",
    "sbuf_read_bytes",
    "sbuf_write_bytes",
    "psum_read_bytes",
    "psum_write_bytes",
)
_TENSOR_KINDS = {"INPUT": "IN", "OUTPUT": "OUT", "CONSTANT": "WEIGHT"}  # a simulation's words for the vendor's
_KNOWN_COLLECTIVES = ("simulated", "device-json", "parquet")


def computed(p: Profile) -> Values:
    """Every metric that the tables of `p` determine, its own Summary left aside.

    Raises:
        SchemaError: a lazily read table is damaged.
    """
    total = table_total_ns(p)
    if not total:
        return {}
    of = machine(p)
    values: Values = {"total_time": total * _NS}
    groups: tuple[Callable[[Profile, Machine, Values], Values], ...] = (
        _clock, _engines, _opcodes, _dma, _dma_kinds, _transfers, _queues, _bytes, _tensors, _flops, _rates, _collectives,
        _active, _counts, _throttle,
    )  # fmt: skip
    for group in groups:
        values |= group(p, of, values)
    return values


def _share(values: Values, numerator: str, denominator: str = "total_time") -> Values:
    """`numerator`_percent as the quotient of two metrics; nothing where the denominator is 0."""
    return {f"{numerator}_percent": values[numerator] / values[denominator]} if values.get(denominator) else {}


def _total(frame: pl.DataFrame, column: str) -> int | None:
    """Sum of a column of whole numbers, None where it has no value at all."""
    if column not in frame.columns or frame[column].null_count() == frame.height:
        return None
    return int(frame[column].sum())


def _clock(_: Profile, of: Machine, values: Values) -> Values:
    """The run in cycles."""
    return {"neuroncore_cycle_count": int(values["total_time"] * of.clock_ghz * 1e9)} if of.clock_ghz else {}


def _engines(p: Profile, _: Machine, values: Values) -> Values:
    """Active time, instruction time and count per engine."""
    if not p.has("Instruction"):
        return {}
    rows, busy, counters = p.table("Instruction"), working(p), p.rows("ModelInfo")
    found: Values = {"total_time": values["total_time"]}
    for key, name in ENGINES.items():
        mine = busy.filter(pl.col("engine") == name)
        found[f"{key}_engine_active_time"] = Intervals.from_frame(mine).measure * _NS
        found[f"{key}_engine_instruction_time"] = added(mine["end_ts"] - mine["start_ts"]) * _NS
        counter = _total(counters, f"{key}_engine_instruction_count")  # the device counts rows that a trace may lose
        found[f"{key}_engine_instruction_count"] = counter or rows.filter(pl.col("engine") == name).height
        found |= _share(found, f"{key}_engine_active_time")
    return found


def _opcodes(p: Profile, _: Machine, __: Values) -> Values:
    """Counts and times of single opcodes."""
    if not p.has("Instruction", "opcode"):
        return {}
    rows = p.table("Instruction")
    activate = rows.filter(pl.col("opcode").is_in(["ACTIVATE", "ACTIVATE_QUANTIZE"]))
    return {
        "matmul_instruction_count": rows.filter(pl.col("opcode") == "MATMUL").height,
        "activate_instruction_count": activate.height,
        "activate_instruction_time": added(activate["duration_ns"]) * _NS,
    }


def _dma(p: Profile, of: Machine, values: Values) -> Values:
    """All DMA packets together."""
    if not p.has("DmaPacket"):
        return {}
    rows = p.table("DmaPacket")
    active = Intervals.from_frame(rows).measure * _NS
    found: Values = {
        "dma_active_time": active,
        "dma_active_time_percent": active / values["total_time"],
        "dma_packet_time": added(rows["duration_ns"]) * _NS,
    }
    return found | ({"dma_active_cycles": int(active * of.clock_ghz * 1e9)} if of.clock_ghz else {})


def _dma_kinds(p: Profile, _: Machine, values: Values) -> Values:
    """DMA packets by kind of descriptor; every queue type that is not dynamic counts as static."""
    if not p.has("DmaPacket", "queue_type", "transfer_bytes"):
        return {}
    rows = p.table("DmaPacket")
    dynamic = pl.col("queue_type").is_in(["hardware_dynamic", "software_dynamic"]).fill_null(value=False)
    found: Values = {}
    for kind in DMA_KINDS:
        mine = rows.filter(~dynamic if kind == "static" else pl.col("queue_type") == kind)
        found[f"{kind}_dma_active_time"] = Intervals.from_frame(mine).measure * _NS
        found[f"{kind}_dma_packet_count"] = mine.height
        found[f"{kind}_dma_packet_percent"] = mine.height / rows.height
        found[f"{kind}_dma_size"] = int(added(mine["transfer_bytes"]))
        found[f"{kind}_dma_size_percent"] = added(mine["transfer_bytes"]) / max(added(rows["transfer_bytes"]), 1)
        if values["dma_active_time"]:
            found[f"{kind}_dma_active_time_percent"] = found[f"{kind}_dma_active_time"] / values["dma_active_time"]
    for part in ("active_time_percent", "packet_percent", "size_percent"):
        pair = [f"{kind}_dma_{part}" for kind in ("hardware_dynamic", "software_dynamic")]
        if all(name in found for name in pair):
            found[f"dynamic_dma_{part}"] = found[pair[0]] + found[pair[1]]
    return found


def _transfers(p: Profile, _: Machine, __: Values) -> Values:
    """DMA transfers, where the source aggregates packets."""
    if not p.has("DmaPacketAggregated"):
        return {}
    rows = p.table("DmaPacketAggregated")
    found: Values = {"dma_transfer_count": rows.height, "dma_transfer_time": added(rows["duration_ns"]) * _NS}
    size = _total(rows, "transfer_bytes")
    if size is not None:
        found |= {"dma_transfer_total_bytes": size, "dma_transfer_average_bytes": size / rows.height}
    return found


def _queues(p: Profile, _: Machine, __: Values) -> Values:
    """Bytes moved by queues of inputs, outputs and weights."""
    if not p.has("DmaPacket", "queue_type", "transfer_bytes"):
        return {}
    rows = p.table("DmaPacket")
    kinds = {"input_queue_bytes": "input", "output_queue_bytes": "output", "weight_queue_bytes": "data"}
    return {
        name: int(rows.filter(pl.col("queue_type") == kind)["transfer_bytes"].sum()) for name, kind in kinds.items()
    }


def _bytes(p: Profile, _: Machine, __: Values) -> Values:
    """Bytes that instructions, DMA triggers among them, moved.

    A sum over instructions of which some have no bytes would be too small, so it is not given: HBM needs them of every
    DMA trigger, SBUF and PSUM of every instruction other than control.
    """
    rows = p.rows("Instruction")
    blank = rows.filter(pl.all_horizontal(pl.col(name).is_null() for name in _BYTES))["opcode"].drop_nulls()
    lacking = blank.filter(~blank.is_in(CONTROL_OPCODES))
    whole = {"hbm": not lacking.str.starts_with("DMA").any(), "sbuf": lacking.is_empty(), "psum": lacking.is_empty()}
    spilled = ("spill_save_bytes", "spill_reload_bytes")
    found: Values = {name: total for name in spilled if (total := _total(rows, name)) is not None}
    found |= {
        name: total for name in _BYTES if whole[name.partition("_")[0]] and (total := _total(rows, name)) is not None
    }
    if not {"psum_read_bytes", "sbuf_write_bytes"} <= set(found):
        return found
    both = rows.filter((pl.col("psum_read_bytes") > 0) & (pl.col("sbuf_write_bytes") > 0))
    moved = int(added(both["sbuf_write_bytes"]))
    return {**found, "psum_read_sbuf_write_bytes": moved, "psum_read_sbuf_write_count": both.height}


def _tensors(p: Profile, _: Machine, __: Values) -> Values:
    """Sizes of the program's tensors."""
    if not p.has("TensorInfo", "type", "size"):
        return {}
    rows = p.table("TensorInfo").with_columns(kind=pl.col("type").str.to_uppercase().replace(_TENSOR_KINDS))
    size = dict(rows.group_by("kind").agg(pl.col("size").sum()).iter_rows())
    weights, inputs, outputs = (int(size.get(kind, 0)) for kind in ("WEIGHT", "IN", "OUT"))
    return {
        "weight_size_bytes": weights,
        "inputs_and_weights_size_bytes": inputs + weights,
        "inputs_outputs_weights_size_bytes": inputs + outputs + weights,
    }


def _flops(p: Profile, _: Machine, __: Values) -> Values:
    """TensorE work."""
    rows = p.rows("Instruction")
    flops = _total(rows, "raw_flops")
    if flops is None or rows.filter(opcode="MATMUL")["raw_flops"].null_count():
        return {}
    found: Values = {"hardware_flops": flops, "transpose_flops": _total(rows, "flops_transpose") or 0}
    adjusted = {"adjusted_hardware_flops": "adjusted_flops", "adjusted_transpose_flops": "adjusted_flops_transpose"}
    if not rows.filter(opcode="MATMUL")["adjusted_flops"].null_count():
        found |= {name: total for name, column in adjusted.items() if (total := _total(rows, column)) is not None}
    return found


def _rates(_: Profile, of: Machine, values: Values) -> Values:
    """Utilisation of TensorE and of HBM."""
    found: Values = {}
    seconds, bandwidth = values["total_time"], of.hbm_bytes_per_s
    useful = values["hardware_flops"] - values["transpose_flops"] if "hardware_flops" in values else None
    if of.peak_flops and useful is not None:
        found["hfu_estimated_percent"] = values["hardware_flops"] / (of.peak_flops * seconds)
        found["mfu_inst_estimated_percent"] = found["mfu_estimated_percent"] = useful / (of.peak_flops * seconds)
    if of.core_flops and bandwidth:
        found["peak_flops_bandwidth_ratio"] = of.core_flops / bandwidth
    if bandwidth and "inputs_and_weights_size_bytes" in values:
        found["mbu_min_read_util_percent"] = values["inputs_and_weights_size_bytes"] / (bandwidth * seconds)
    moved = values.get("hbm_read_bytes", 0) + values.get("hbm_write_bytes", 0)
    if moved and bandwidth:
        found["mbu_estimated_percent"] = moved / (bandwidth * seconds)
    if moved and useful is not None:
        found["mm_arithmetic_intensity"] = useful / moved
        if bandwidth and of.peak_flops:
            best = min(useful / moved * bandwidth / of.peak_flops, 1.0)
            found["mfu_inst_max_achievable_estimated_percent"] = found["mfu_max_achievable_estimated_percent"] = best
    return found


def _collectives(p: Profile, _: Machine, values: Values) -> Values:
    """Collective operations; none is 0 only where the source would have recorded them."""
    if not p.has("CcOp") and (p.origin.kind not in _KNOWN_COLLECTIVES or not p.has("Instruction")):
        return {}
    rows = p.rows("CcOp")
    active = Intervals.from_frame(rows).measure * _NS
    return {
        "cc_op_count": rows.height,
        "cc_op_time": added(rows["duration_ns"]) * _NS,
        "cc_op_active_time": active,
        "cc_op_active_time_percent": active / values["total_time"],
    }


def _active(p: Profile, _: Machine, values: Values) -> Values:
    """Time in which anything works."""
    if not p.has("Instruction"):
        return {}
    parts = [working(p), p.rows("DmaPacket"), p.rows("CcOp")]
    spans = pl.concat([part.select("start_ts", "end_ts") for part in parts])
    active = Intervals.from_frame(spans).measure * _NS
    return {"total_active_time": active, "total_active_time_percent": active / values["total_time"]}


def _counts(p: Profile, _: Machine, __: Values) -> Values:
    """Counts that the device's counters give per core, added up."""
    if not p.has("ModelInfo"):
        return {}
    rows = p.table("ModelInfo")
    names = ("event_count", "trace_count", "dma_queue_count")
    found: Values = {name: total for name in names if (total := _total(rows, name)) is not None}
    return found | ({"nd_idx": int(rows["nd_idx"][0])} if p.has("ModelInfo", "nd_idx") else {})


def _throttle(p: Profile, _: Machine, values: Values) -> Values:
    """TensorE throttle windows per core: k of n slots of the array allowed.

    The vendor counts whole nanoseconds here, and up to the last instruction's end instead of total_time.
    """
    if not p.has("Throttle", "k", "n", "duration"):
        return {}
    rows = p.table("Throttle").with_columns(pl.col("duration").floor(), pl.col("pcore_idx").fill_null(0))
    until = _last_ns(p) or values["total_time"] / _NS
    found: Values = {}
    for (core,), windows in rows.group_by("pcore_idx", maintain_order=True):
        found[f"throttle_active_nc{core}_time_ns"] = added(windows.filter(pl.col("k") < pl.col("n"))["duration"])
        found[f"throttle_avg_util_limit_nc{core}_percent"] = _allowed(windows) / until
        for (kind,), mine in windows.drop_nulls("type").group_by("type", maintain_order=True):
            time = added(mine["duration"])
            found[f"throttle_activity_{kind}_active_time_nc{core}_percent"] = time / until
            found[f"throttle_activity_{kind}_avg_util_limit_nc{core}_percent"] = _allowed(mine) / time if time else 1.0
    return found


def _allowed(windows: pl.DataFrame) -> float:
    """Full-rate nanoseconds that the windows allow."""
    return added(windows["duration"] * windows["k"] / windows["n"])


def _last_ns(p: Profile) -> int:
    """End of the last instruction in whole ns; the vendor's JSON rounds it best in its layers."""
    ends = pl.concat([p.rows(name).select(pl.col("end_ts")) for name in ("Instruction", "LayerSummary")])["end_ts"]
    return int(added(ends.drop_nulls().top_k(1)))
