"""The tables of a profile: names, columns, types and units. The one contract between readers and analyses.

Names follow the Neuron Explorer schema 7.4.0 where it has them (its public schema reference); the rest is ours and
marked so. Times are float64 nanoseconds since the start of the execution, because the device's clock ticks in
picoseconds; null means that the source does not say.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

SCHEMA_VERSION = "1.2.0"

_DTYPES: dict[str, type[pl.DataType]] = {"f": pl.Float64, "i": pl.Int64, "s": pl.String, "b": pl.Boolean}


@dataclass(frozen=True, slots=True)
class Column:
    """One column: polars type, unit ("" where it has none), and whether only nkilab has it."""

    name: str
    dtype: type[pl.DataType]
    unit: str = ""
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its columns in order and what a row is."""

    name: str
    row: str
    columns: tuple[Column, ...]
    ours: bool = False

    @property
    def polars(self) -> dict[str, type[pl.DataType]]:
        """Column name to polars type, in order."""
        return {column.name: column.dtype for column in self.columns}


def _columns(text: str) -> tuple[Column, ...]:
    """Parse `name:type[:unit][*]`, separated by spaces; a star marks a column of ours."""
    columns = []
    for word in text.split():
        ours = word.endswith("*")
        name, kind, *unit = word.rstrip("*").split(":")
        columns.append(Column(name, _DTYPES[kind], unit[0] if unit else "", ours))
    return tuple(columns)


_SPAN = "start_ts:f:ns end_ts:f:ns duration_ns:f:ns "
_BYTES = "hbm_read_bytes:i:bytes hbm_write_bytes:i:bytes sbuf_read_bytes:i:bytes sbuf_write_bytes:i:bytes "
_PSUM = "psum_read_bytes:i:bytes psum_write_bytes:i:bytes "

_TABLES = (
    Table(
        "Instruction",
        "one instruction as an engine executed it",
        _columns(
            _SPAN + "engine:s timeline_track:s pcore_idx:i id:i opcode:s operands:s pc:i compiler_pc:i "
            "compiler_opcode:s bir_id:s raw_bir_id:i bir_instruction_name:s kernel_instruction_name:s hlo_name:s "
            "layer:s evt_wait_time_ns:f:ns nki_source_location:s file:s* line:i* function:s* stack_frame_id:i* "
            "iteration_variable_id:i* tensor_instruction_type:s tensor_elements:i raw_flops:i:flop "
            "flops_transpose:i:flop adjusted_flops:i:flop adjusted_flops_transpose:i:flop "
            + _BYTES
            + _PSUM
            + "spill_save_bytes:i:bytes spill_reload_bytes:i:bytes scalar_activation_fn:s performance_mode:s crc_in:i "
            "crc_out:i ready_ts:f:ns* cost_class:s*"
        ),
    ),
    Table(
        "DmaPacket",
        "one packet (element) on one DMA engine",
        _columns(
            _SPAN + "pcore_idx:i id:i packet_idx:i packet_aggregation_id:i engine_idx:i queue_idx:i queue_name:s "
            "queue_type:s read_bytes:i:bytes write_bytes:i:bytes transfer_bytes:i:bytes throughput:f:bytes/s "
            "variable:s crc:i is_cc_dma:b* duplicate:b* semaphore_id:s*"
        ),
    ),
    Table(
        "DmaPacketAggregated",
        "one DMA transfer: all packets of one trigger",
        _columns(
            _SPAN + "pcore_idx:i id:i queue_idx:i queue_name:s queue_type:s op:s variable:s read_bytes:i:bytes "
            "write_bytes:i:bytes transfer_bytes:i:bytes throughput:f:bytes/s source:s dest:s semaphore_id:s "
            "read_sbuf_partitions:s read_num_sbuf_partitions:i read_shape:s read_offset:s "
            "write_sbuf_partitions:s write_num_sbuf_partitions:i write_shape:s write_offset:s "
            "is_transpose_mode:b instruction_id:i* packets:i* cost_class:s*"
        ),
    ),
    Table("ActiveTime", "one busy interval of one engine", _columns(_SPAN + "engine:s pcore_idx:i")),
    Table(
        "SemaphoreUpdate",
        "one change of a semaphore",
        _columns(
            "timestamp:f:ns id:s value:i update_source:s update_operation_type:s update_trigger_timing:s pcore_idx:i"
        ),
    ),
    Table(
        "Throttle",
        "one tensor-engine throttle window, k of n",
        _columns("timestamp:f:ns duration:f:ns k:i n:i type:i pcore_idx:i"),
    ),
    Table(
        "Flow",
        "one dependence between two rows",
        _columns("in_id:i out_id:i in_table:s out_table:s dependency_type:s gap_time:f:ns"),
    ),
    Table(
        "CcOp",
        "one collective operation",
        _columns(
            _SPAN + "operation:s algorithm:s num_elements:i dtype:s op_id:i stream_id:i trigger_engine:s "
            "input_size:i:bytes output_size:i:bytes algorithm_bandwidth:f:bytes/s bus_bandwidth:f:bytes/s "
            "trigger_start_ts:f:ns cc_trigger_start_delay:f:ns replica_group:s"
        ),
    ),
    Table("PendingDma", "DMA transfers in flight", _columns("timestamp:f:ns value:i pcore_idx:i")),
    Table(
        "DmaUsage",
        "DMA throughput over time",
        _columns("timestamp:f:ns current_throughput:f:bytes/s total_transfer_bytes:i:bytes pcore_idx:i uses_hbm:b*"),
    ),
    Table(
        "SbufUsage",
        "SBUF use over time, as a fraction",
        _columns(
            "timestamp:f:ns avg_util_percent:f partition_0_util_percent:f partition_32_util_percent:f "
            "partition_64_util_percent:f partition_96_util_percent:f pcore_idx:i used_bytes:i:bytes*"
        ),
    ),
    Table(
        "PsumUsage",
        "PSUM use over time, as a fraction",
        _columns(
            "timestamp:f:ns avg_util_percent:f bank_0_util_percent:f bank_1_util_percent:f bank_2_util_percent:f "
            "bank_3_util_percent:f bank_4_util_percent:f bank_5_util_percent:f bank_6_util_percent:f "
            "bank_7_util_percent:f pcore_idx:i used_bytes:i:bytes*"
        ),
    ),
    Table(
        "SbufAllocation",
        "one tensor's stay in on-chip memory",
        _columns(
            "start_ts:f:ns end_ts:f:ns start_address:i:bytes end_address:i:bytes partition:i op_source_type:s opcode:s "
            "operands:s queue_name:s tensor_name:s pcore_idx:i space:s* partitions:i*"
        ),
    ),
    Table(
        "TensorInfo",
        "one tensor in HBM",
        _columns(
            "variable_name:s type:s format:s shape:s size:i:bytes node:s pcore_idx:i load_to_sbuf_avg_size_bytes:i:bytes "
            "load_to_sbuf_total_size_bytes:i:bytes load_to_sbuf_dma_count:i load_to_sbuf_repeat_factor:f"
        ),
    ),
    Table(
        "DmaQueuesInfo",
        "one DMA queue",
        _columns("name:s type:s pcore_idx:i idx:i engine_idx:i axi_port:i dram_channel:i"),
    ),
    Table(
        "HbmUsageSummaryByType",
        "HBM in use by kind",
        _columns("neuron_device_idx:i neuroncore_idx:i usage_type:s usage_bytes:i:bytes"),
    ),
    Table(
        "Summary", "one metric, name and unit as the vendor's summary has them", _columns("metric:s* value:f* text:s*")
    ),
    Table(
        "ExecutionInfo",
        "one execution",
        _columns("execution_index:i neff_name:s execution_start_ts:f:ns execution_end_ts:f:ns"),
    ),
    Table("Metadata", "one fact about the run", _columns("key:s* value:s*"), ours=True),
    Table("NeffHeader", "one field of the compiled program's header", _columns("key:s* value:s*")),
    Table(
        "ModelInfo",
        "one physical core's counts",
        _columns("sg_name:s nd_idx:i nc_idx:i neuroncore_cycle_count:i event_count:i trace_count:i dma_queue_count:i"),
        ours=True,
    ),
    Table("LayerSummary", "one layer's span", _columns("name:s " + _SPAN), ours=True),
    Table("Warning", "what the producer of the profile warned of", _columns("category:s message:s")),
    Table(
        "KernelStackFrames",
        "one frame of a kernel's call stack",
        _columns("stack_frame_id:i fully_qualified_function_name:s parent_stack_frame_id:i file_path:s line_number:i"),
    ),
    Table(
        "KernelIterationVariables",
        "one value of a loop variable",
        _columns(
            "iteration_variable_id:i variable_name:s variable_value:i parent_iteration_variable_id:i file_path:s line_number:i"
        ),
    ),
    Table(
        "Source", "one source file as it was when the run was made", _columns("file:s* sha256:s* text:s*"), ours=True
    ),
    Table(
        "Finding",
        "one finding of the simulator's checks",
        _columns("code:s* severity:s* message:s* file:s* line:i* function:s* fix:s* rank:i* core:i*"),
        ours=True,
    ),
    Table(
        "CostClass",
        "share of modelled engine time by how well its cost is known",
        _columns("cost_class:s* time_ns:f:ns* share:f*"),
        ours=True,
    ),
    Table(
        "SystemProfileEvents",
        "one host or runtime event; unix nanoseconds",
        _columns(
            "id:i name:s start_ts:i:ns end_ts:i:ns duration_ns:i:ns trace_event_source:s instance_id:s process_id:i thread_id:i nc_idx:i pcore_idx:i worker_gid:i flow_id:i extra_attributes_json:s"
        ),
    ),
    Table(
        "CpuUsage", "host CPU use; unix nanoseconds", _columns("timestamp:i:ns util_percent:f cpu_id:i instance_id:s")
    ),
    Table(
        "HostMemUsage",
        "host memory use; unix nanoseconds",
        _columns("timestamp:i:ns used_bytes:i:bytes used_percent:f instance_id:s"),
    ),
)

TABLES: dict[str, Table] = {table.name: table for table in _TABLES}
ENGINES = ("Tensor", "Vector", "Scalar", "GpSimd", "Sync")
