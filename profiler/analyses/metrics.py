"""What each metric of the vendor's summary means: unit, definition, numerator, denominator.

Names and units are the vendor's, verbatim: `*_time` in seconds, `*_percent` a fraction of 1. The definitions are in our
words; the formulas were checked on real profiles (format note, section 1).
"""

from __future__ import annotations

from dataclasses import dataclass

ENGINES = {"tensor": "Tensor", "vector": "Vector", "scalar": "Scalar", "gpsimd": "GpSimd", "sync": "Sync"}
DMA_KINDS = {
    "hardware_dynamic": "hardware descriptors",
    "software_dynamic": "software descriptors",
    "static": "static descriptors",
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: unit ("s", "fraction", "bytes", …), definition, and the two sides of its quotient where it is one."""

    name: str
    unit: str
    definition: str
    numerator: str = ""
    denominator: str = ""


_SINGLE = """
total_time|s|length of the execution on the device
total_exec_time|s|length of the execution without the runtime's frame
total_active_time|s|time in which any engine, DMA or collective is active (union)
total_active_time_percent|fraction|share of the run in which anything is active|total_active_time|total_time
neuroncore_cycle_count|cycles|total_time in NeuronCore cycles
hardware_flops|flop|2 x multiply-adds of every TensorE instruction, transposes included
transpose_flops|flop|the part of hardware_flops spent on transposes
adjusted_hardware_flops|flop|hardware_flops weighted by the cost of their data type
adjusted_transpose_flops|flop|transpose_flops weighted by the cost of their data type
model_flops|flop|2 x multiply-adds of the model as the compiler's HLO statistics count them
hfu_estimated_percent|fraction|TensorE utilisation by all its work|hardware_flops|peak FLOP/s of all cores x total_time
mfu_inst_estimated_percent|fraction|TensorE utilisation by multiplications that are no transposes|hardware_flops - transpose_flops|peak FLOP/s of all cores x total_time
mfu_hlo_estimated_percent|fraction|TensorE utilisation by the model's work|model_flops|peak FLOP/s of all cores x total_time
mfu_estimated_percent|fraction|mfu_hlo where HLO statistics exist, else mfu_inst|useful flop|peak FLOP/s of all cores x total_time
mfu_max_achievable_estimated_percent|fraction|best MFU that the HBM traffic allows|arithmetic intensity|peak FLOP/s of all cores / HBM bandwidth
mfu_inst_max_achievable_estimated_percent|fraction|best mfu_inst that the HBM traffic allows, at most 1|mm_arithmetic_intensity|peak FLOP/s of all cores / HBM bandwidth
mfu_hlo_max_achievable_estimated_percent|fraction|best mfu_hlo that the HBM traffic allows, at most 1|model_flops / HBM bytes|peak FLOP/s of all cores / HBM bandwidth
mm_arithmetic_intensity|flop/byte|multiplications per HBM byte|hardware_flops - transpose_flops|hbm_read_bytes + hbm_write_bytes
peak_flops_bandwidth_ratio|flop/byte|arithmetic intensity at which one core turns from memory bound to compute bound|peak FLOP/s of one core|HBM bandwidth
mbu_estimated_percent|fraction|HBM bandwidth used|hbm_read_bytes + hbm_write_bytes|HBM bandwidth x total_time
mbu_min_read_util_percent|fraction|HBM bandwidth that reading inputs and weights once would use|inputs_and_weights_size_bytes|HBM bandwidth x total_time
hbm_read_bytes|bytes|bytes read from HBM by DMA
hbm_write_bytes|bytes|bytes written to HBM by DMA
sbuf_read_bytes|bytes|bytes read from SBUF by DMA and instructions
sbuf_write_bytes|bytes|bytes written to SBUF by DMA and instructions
psum_read_bytes|bytes|bytes read from PSUM by instructions
psum_write_bytes|bytes|bytes written to PSUM by instructions
psum_read_sbuf_write_bytes|bytes|bytes moved from PSUM to SBUF
psum_read_sbuf_write_count||instructions that move PSUM to SBUF
spill_save_bytes|bytes|bytes of intermediate tensors saved to HBM for want of SBUF
spill_reload_bytes|bytes|bytes of saved intermediate tensors loaded again
inputs_and_weights_size_bytes|bytes|size of the input and weight tensors
inputs_outputs_weights_size_bytes|bytes|size of the input, output and weight tensors
weight_size_bytes|bytes|size of the weight tensors
input_queue_bytes|bytes|bytes moved by queues of type input
output_queue_bytes|bytes|bytes moved by queues of type output
weight_queue_bytes|bytes|bytes moved by queues of type data
dma_active_time|s|time in which any DMA packet moves (union)
dma_active_time_percent|fraction|share of the run in which any DMA packet moves|dma_active_time|total_time
dma_active_cycles|cycles|dma_active_time in NeuronCore cycles
dma_packet_time|s|durations of all DMA packets added up
dma_queue_count||DMA queues of the program
dma_transfer_count||DMA transfers (all packets of one trigger)
dma_transfer_time|s|durations of all DMA transfers added up
dma_transfer_total_bytes|bytes|bytes of all DMA transfers
dma_transfer_average_bytes|bytes|bytes of a transfer on average|dma_transfer_total_bytes|dma_transfer_count
dynamic_dma_active_time_percent|fraction|active time of packets made during execution; kinds that overlap count twice|hardware_dynamic + software_dynamic active time|dma_active_time
dynamic_dma_packet_percent|fraction|packets made during execution|dynamic packets|all packets
dynamic_dma_size_percent|fraction|bytes moved by packets made during execution|dynamic bytes|all bytes
matmul_instruction_count||MATMUL instructions
activate_instruction_count||ACTIVATE instructions
activate_instruction_time|s|durations of ACTIVATE instructions added up
event_count||semaphore and event records
trace_count||instruction, DMA packet and event records
cc_op_count||collective operations
cc_op_time|s|durations of collective operations added up
cc_op_active_time|s|time in which any collective operation is active (union)
cc_op_active_time_percent|fraction|share of the run in which any collective is active|cc_op_active_time|total_time
cc_cores_instruction_count||instructions on the collectives cores
cc_cores_instruction_time|s|durations of instructions on the collectives cores added up
cc_cores_instruction_active_time|s|time in which any collectives core executes (union)
cc_cores_instruction_active_time_percent|fraction|share of the run in which any collectives core executes|cc_cores_instruction_active_time|total_time
nc_idx||id of the NeuronCore; the vendor adds the ids of both cores of an LNC pair
nd_idx||id of the Neuron device
instance_type||instance on which the profile was captured
compiler_version||version of the compiler
runtime_version||version of the runtime
driver_version||version of the driver
collectives_version||version of the collectives library
profiler_version||version of the tool that processed the profile
nki_version||version of NKI
""".strip()


def _engine(key: str, name: str) -> tuple[Metric, ...]:
    """The four metrics of one engine."""
    busy = f"{name} executes an instruction other than a semaphore wait, on any core of the LNC"
    return (
        Metric(f"{key}_engine_active_time", "s", f"time in which {busy} (union over cores)"),
        Metric(
            f"{key}_engine_active_time_percent",
            "fraction",
            f"share of the run in which {busy}",
            f"{key}_engine_active_time",
            "total_time",
        ),
        Metric(
            f"{key}_engine_instruction_time",
            "s",
            f"durations of {name}'s instructions added up, semaphore waits left out",
        ),
        Metric(f"{key}_engine_instruction_count", "", f"instructions of {name}, semaphore waits included"),
    )


def _dma(key: str, name: str) -> tuple[Metric, ...]:
    """The six metrics of one kind of DMA descriptor."""
    return (
        Metric(f"{key}_dma_active_time", "s", f"time in which any packet of {name} moves (union)"),
        Metric(
            f"{key}_dma_active_time_percent",
            "fraction",
            f"share of DMA time in which packets of {name} move",
            f"{key}_dma_active_time",
            "dma_active_time",
        ),
        Metric(f"{key}_dma_packet_count", "", f"packets of {name}"),
        Metric(
            f"{key}_dma_packet_percent",
            "fraction",
            f"share of packets of {name}",
            f"{key}_dma_packet_count",
            "all packets",
        ),
        Metric(f"{key}_dma_size", "bytes", f"bytes moved by {name}"),
        Metric(
            f"{key}_dma_size_percent", "fraction", f"share of bytes moved by {name}", f"{key}_dma_size", "all bytes"
        ),
    )


def _metrics() -> dict[str, Metric]:
    """All metrics with a definition, by name, in the order in which they are shown."""
    single = [Metric(*line.split("|")) for line in _SINGLE.splitlines()]
    engines = [metric for key, name in ENGINES.items() for metric in _engine(key, name)]
    dma = [metric for key, name in DMA_KINDS.items() for metric in _dma(key, name)]
    return {metric.name: metric for metric in (*single, *engines, *dma)}


METRICS = _metrics()


def describe(name: str) -> Metric:
    """The definition of a metric; a throttle metric by its parts, any other unknown one by the unit its name implies."""
    if name in METRICS:
        return METRICS[name]
    if name.startswith("throttle_"):
        return _throttle(name)
    endings = {
        "_percent": "fraction",
        "_time_ns": "ns",
        "_time": "s",
        "_bytes": "bytes",
        "_size": "bytes",
        "_flops": "flop",
        "_cycles": "cycles",
    }
    unit = next((unit for ending, unit in endings.items() if name.endswith(ending)), "")
    return Metric(name, unit, "")


def _throttle(name: str) -> Metric:
    """One metric of the TensorE throttle."""
    if name.endswith("_time_ns"):
        return Metric(name, "ns", "time in which the throttle allowed less than full rate (k < n)")
    if "avg_util_limit" in name and "activity" not in name:
        return Metric(
            name, "fraction", "rate that the throttle allowed, over the whole run", "sum of window x k/n", "total_time"
        )
    if "avg_util_limit" in name:
        return Metric(
            name, "fraction", "rate that this kind of throttle window allowed", "sum of window x k/n", "sum of windows"
        )
    return Metric(
        name, "fraction", "share of the run inside this kind of throttle window", "sum of windows", "total_time"
    )
