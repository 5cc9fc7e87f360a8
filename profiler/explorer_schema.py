"""The tables of the Neuron Explorer's schema 7.4.0 (Neuron SDK 2.31): names, types and units, from its public reference.

Each column is `name:type[:unit]`, with `!` where the schema requires it. Types: i4, i8 integers, f4, f8 floats, s text, b
boolean, li8, ls lists. Answers to queries over the network are left out: no file holds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping

_TYPES: dict[str, pl.DataType] = {
    "i4": pl.Int32(), "i8": pl.Int64(), "f4": pl.Float32(), "f8": pl.Float64(), "s": pl.String(), "b": pl.Boolean(),
    "li8": pl.List(pl.Int64()), "ls": pl.List(pl.String()),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Field:
    """One column: polars type, unit ("" where it has none), and whether the schema requires it."""

    name: str
    dtype: pl.DataType
    unit: str
    required: bool


def _fields(text: str) -> tuple[Field, ...]:
    fields = []
    for word in text.split():
        name, kind, *unit = word.rstrip("!").split(":")
        fields.append(Field(name, _TYPES[kind], unit[0] if unit else "", word.endswith("!")))
    return tuple(fields)


def described(dtype: pl.DataType) -> tuple[str, str | None]:
    """A type in the schema's own words: type, and format where it has one."""
    return _WORDS[dtype]


_WORDS: dict[pl.DataType, tuple[str, str | None]] = {
    pl.Int32(): ("integer", "int32"), pl.Int64(): ("integer", "int64"), pl.Float32(): ("number", "float"),
    pl.Float64(): ("number", "double"), pl.String(): ("string", None), pl.Boolean(): ("boolean", None),
    pl.List(pl.Int64()): ("array", "int64"), pl.List(pl.String()): ("array", None),
}  # fmt: skip

_TEXT = {
    "ActiveTime": """
        start_ts:i8:nanoseconds! end_ts:i8:nanoseconds! engine:s! pcore_idx:i8! duration_ns:i8:nanoseconds!
    """,
    "AssemblyInstruction": """
        instruction_id:i8! compiler_opcode:s! compiler_operands:s! compiler_pc:i8!
    """,
    "BirInstruction": """
        id:i8! raw_bir_id:i8! raw_penguin_id:i8! raw_hlo_id:i8! raw_framework_id:i8! bir_name:s!
        modular_flow_invocation_idx:i8! pcore_idx:i8 start_ts:i8:nanoseconds! end_ts:i8:nanoseconds!
        time_intervals:s! element_count_per_interval:li8! transpose_element_count_per_interval:li8!
        hbm_transfer_size_per_interval:li8:bytes! hbm_read_bytes:i8:bytes! hbm_write_bytes:i8:bytes!
        sbuf_read_bytes:i8:bytes sbuf_write_bytes:i8:bytes load_weight_bytes:i8:bytes
    """,
    "CcInstruction": """
        start_ts:i8:nanoseconds! end_ts:i8:nanoseconds! duration_ns:i8:nanoseconds! core_idx:i8! description:s!
        trigger_engine:s trigger_start_ts:i8:nanoseconds
    """,
    "CcOp": """
        start_ts:i8:nanoseconds! end_ts:i8:nanoseconds! duration_ns:i8:nanoseconds! operation:s! algorithm:s!
        num_elements:i8! dtype:s! op_id:i8! stream_id:i8! stream_index:i8! trigger_engine:s! input_size:i8:bytes
        output_size:i8:bytes algorithm_bandwidth:f4:bytes_per_second bus_bandwidth:f4:bytes_per_second
        trigger_start_ts:i8:nanoseconds cc_trigger_start_delay:i8:nanoseconds replica_group_id:i8 replica_group:s
    """,
    "CcStream": """
        stream_id:i8! stream_index:i8! cc_core_ids:s!
    """,
    "CoreBarriers": """
        start_ts:i8:nanoseconds! end_ts:i8:nanoseconds! duration_ns:i8:nanoseconds! engine_name:s! id:i8!
        semaphore:i8! compiler_pc:i8! compiler_opcode:s! compiler_operands:s! pcore_idx:i8
    """,
    "CpuUsage": """
        timestamp:i8:nanoseconds! util_percent:f4:percent! cpu_id:s! instance_id:s! ultraserver_id:i8
        ultraserver_instance_index:i8
    """,
    "DeviceProfileList": """
        device_profile_name:s! instance_id:s! process_id:i8! nc_id:i8! session_id:i8 model_id:i8
    """,
    "DmaPacket": """
        start_ts:i8:nanoseconds! end_ts:i8:nanoseconds! duration_ns:i8:nanoseconds! pcore_idx:i8 id:i8!
        packet_idx:i4! packet_aggregation_id:i8! engine_idx:i8 read_bytes:i8:bytes! write_bytes:i8:bytes!
        transfer_bytes:i8:bytes! throughput:f4:bytes_per_second! queue_type:s! variable:s queue_name:s
        queue_idx:i8 crc:i8!
    """,
    "DmaPacketAggregated": """
        start_ts:i8:nanoseconds! end_ts:i8:nanoseconds! duration_ns:i8:nanoseconds! id:i8! pcore_idx:i8
        block_id:i4! queue_idx:i8! queue_name:s! queue_type:s op:s! variable:s! read_bytes:i8:bytes!
        write_bytes:i8:bytes! transfer_bytes:i8:bytes! throughput:f4:bytes_per_second! source:s! dest:s!
        semaphore_id:s! modular_flow_function:s read_sbuf_partitions:s! read_num_sbuf_partitions:i4! read_shape:s!
        read_offset:s! read_steps:s! write_sbuf_partitions:s! write_num_sbuf_partitions:i4! write_shape:s!
        write_offset:s! write_steps:s! is_transpose_mode:b transpose_element_size:s transpose_shape:s
        transpose_from_shape:s transpose_to_shape:s transpose_unroll_factor:s trigger:i8 completion:i8
    """,
    "DmaQueuesInfo": """
        name:s! type:s! pcore_idx:i8! idx:i8! engine_idx:i8! axi_port:i8! dram_channel:i8!
    """,
    "DmaUsage": """
        timestamp:i8:nanoseconds! current_throughput:f4:bytes_per_second! total_transfer_bytes:i8:bytes!
        pcore_idx:i8
    """,
    "DmaUsageSummary": """
        timestamp:i8:nanoseconds! pcore_idx:i8! sum_current_throughput:f8! sum_total_transfer_bytes:i8!
        max_total_transfer_bytes:i8! count:i8! bucket_resolution_ns:i8:nanoseconds!
    """,
    "Error": """
        description:s! error_type_id:i4! metadata:s metadata_hex:s pcore_idx:i8 timestamp:i8:nanoseconds! type:s!
    """,
    "ExecutionInfo": """
        execution_index:i4! neff_name:s execution_start_ts:i8:nanoseconds execution_end_ts:i8:nanoseconds
        num_subgraphs:i4 row_count:i8
    """,
    "Flow": """
        in_id:i8! out_id:i8! in_table:s! out_table:s! dependency_type:s gap_time:i8:nanoseconds
    """,
    "FrameworkInstruction": """
        id:i8! raw_bir_id:i8! raw_penguin_id:i8! raw_hlo_id:i8! raw_framework_id:i8!
        modular_flow_invocation_idx:i8 framework_name:s start_ts:i8:nanoseconds! end_ts:i8:nanoseconds!
        time_intervals:s! element_count_per_interval:li8! transpose_element_count_per_interval:li8!
        hbm_transfer_size_per_interval:li8:bytes! hbm_read_bytes:i8:bytes! hbm_write_bytes:i8:bytes!
        sbuf_read_bytes:i8:bytes sbuf_write_bytes:i8:bytes load_weight_bytes:i8:bytes
        tensor_engine_instruction_count:i8 scalar_engine_instruction_count:i8 sync_engine_instruction_count:i8
        gpsimd_engine_instruction_count:i8 vector_engine_instruction_count:i8
    """,
    "FrameworkNode": """
        node_name:s! children_names:s! parent_name:s! children_ids:s! start_ts:i8:nanoseconds!
        end_ts:i8:nanoseconds! time_intervals:s! element_count_per_interval:s
        transpose_element_count_per_interval:s hbm_transfer_size_per_interval:s:bytes hfu:f4:percent
        mfu:f4:percent hfu_per_interval:s mfu_per_interval:s mbu_per_interval:s hbm_read_bytes:i8:bytes
        hbm_write_bytes:i8:bytes sbuf_read_bytes:i8:bytes sbuf_write_bytes:i8:bytes
        tensor_engine_instruction_count:i8 scalar_engine_instruction_count:i8 sync_engine_instruction_count:i8
        gpsimd_engine_instruction_count:i8 vector_engine_instruction_count:i8 total_time_tensor:s:nanoseconds
        total_time_scalar:s:nanoseconds total_time_sync:s:nanoseconds total_time_gpsimd:s:nanoseconds
        total_time_vector:s:nanoseconds load_weight_bytes:i8:bytes total_channels_scalar:i8
        total_channels_vector:i8
    """,
    "HbmUsage": """
        timestamp:i8:nanoseconds! current_throughput:f4:bytes_per_second! total_transfer_bytes:i8:bytes!
        pcore_idx:i8
    """,
    "HbmUsageSummaryByType": """
        neuron_device_idx:i8! neuroncore_idx:i8! usage_type:s! usage_bytes:i8:bytes!
    """,
    "HloInstruction": """
        id:i8! raw_bir_id:i8! raw_penguin_id:i8! raw_hlo_id:i8! raw_framework_id:i8! hlo_name:s!
        modular_flow_invocation_idx:i8 start_ts:i8:nanoseconds! end_ts:i8:nanoseconds! time_intervals:s!
        element_count_per_interval:li8! transpose_element_count_per_interval:li8!
        hbm_transfer_size_per_interval:li8:bytes! hbm_read_bytes:i8:bytes! hbm_write_bytes:i8:bytes!
        sbuf_read_bytes:i8:bytes sbuf_write_bytes:i8:bytes load_weight_bytes:i8:bytes
    """,
    "HostMemUsage": """
        timestamp:i8:nanoseconds! used_bytes:i8:bytes! used_percent:f4:percent! instance_id:s! ultraserver_id:i8
        ultraserver_instance_index:i8
    """,
    "Instruction": """
        start_ts:i8:nanoseconds! end_ts:i8:nanoseconds! duration_ns:i8:nanoseconds! engine:s! timeline_track:s
        pcore_idx:i8 opcode:s! operands:s! compiler_opcode:s compiler_operands:s id:i8! pc:i8! compiler_pc:i8
        penguin_id:s raw_penguin_id:i8 bir_id:s! raw_bir_id:i8 bir_instruction_name:s kernel_instruction_name:s
        crc_in:i8 crc_out:i8 evt_wait_time_ns:i8:nanoseconds hlo_attrs:s hlo_name:s raw_hlo_id:i8
        raw_framework_id:i8 layer:s stack_frame_ids:s nki_source_location:s bir_debug_info_source_location:s
        dma_trigger_start_ts:i8 dma_trigger_end_ts:i8 dma_wait_time_ns:i8:nanoseconds instruction_chain:s
        hbm_read_bytes:i8 hbm_write_bytes:i8 sbuf_read_bytes:i8 sbuf_write_bytes:i8 spill_save_bytes:i8
        spill_reload_bytes:i8 psum_read_bytes:i8 psum_write_bytes:i8 psum_read_sbuf_write_bytes:i8
        input_queue_bytes:i8 output_queue_bytes:i8 weight_queue_bytes:i8 performance_mode:s
        tensor_instruction_type:s tensor_elements:i8 raw_flops:i8 adjusted_flops:i8 tensor_elements_transpose:i8
        flops_transpose:i8 adjusted_flops_transpose:i8 scalar_activation_fn:s
    """,
    "KernelInstructions": """
        kernel_instruction_name:s! stack_frame_id:i8 stack_frame_depth:i8 iteration_variables_id:i8
        iteration_variable_depth:i8 pcore_idx:i8 file_path:s line_number:i8
    """,
    "KernelIterationVariables": """
        iteration_variable_id:i8! variable_name:s variable_value:i8 parent_iteration_variable_id:i8 pcore_idx:i8
        file_path:s line_number:i8
    """,
    "KernelStackFrames": """
        stack_frame_id:i8! fully_qualified_function_name:s parent_stack_frame_id:i8 pcore_idx:i8 file_path:s
        line_number:i8
    """,
    "MemoryBandwidthPoint": """
        timestamp:i8:nanoseconds! bandwidth_bytes_per_sec:f8:bytes_per_second!
    """,
    "Metadata": """
        profile_schema_version:s! ntff_version:i4! num_physical_cores:i4! vnc_enabled:b!
        first_hw_timestamp:i8:nanoseconds! last_hw_timestamp:i8:nanoseconds! first_ts:s! last_ts:s!
        dma_ddr_bandwidth:f4:bytes_per_second! num_dma_engines_per_neuroncore:i4!
        hbm_ddr_bandwidth:f4:bytes_per_second! tensor_engine_num_rows:i8! tensor_engine_num_cols:i8!
        tensor_engine_clock_freq:f4:gigahertz! vector_engine_clock_freq:f4:gigahertz!
        vector_engine_num_channels:i8! scalar_engine_clock_freq:f4:gigahertz! scalar_engine_num_channels:i8!
        gpsimd_engine_clock_freq:f4:gigahertz! gpsimd_engine_num_channels:i8! neuroncore_clock_freq:f4:gigahertz!
        ticks_per_nanosec:i8! instance_type:s runtime_version:s collectives_version:s driver_version:s
        explorer_version:s compiler_version:s neuroncore_idx:i8 neuron_device_idx:i8 ultraserver_id:i8
        ultraserver_type:s ultraserver_size:i4 ultraserver_instance_index:i4 s3_bucket_path:s profile_name:s
        explorer_build_time:s is_simulation:b
    """,
    "NeffHeader": """
        network_name:s uuid:s hash:s enabled_features:s header_size:i8:bytes data_size:i8:bytes major_version:i8
        minor_version:i8 package_version:s build_version:s cc_participant_count:i8 neuroncore_count:i8
        logical_neuroncore_count:i8 pcore_count_per_lnc:i8
    """,
    "OpcodeSummary": """
        engine:s! opcode:s! instruction_count:i8! instruction_time_ns:i8:nanoseconds!
        active_time_ns:i8:nanoseconds! active_time_percent:f4!
    """,
    "PendingDma": """
        timestamp:i8:nanoseconds! value:i4! pcore_idx:i8
    """,
    "PenguinInstruction": """
        id:i8! raw_bir_id:i8! raw_penguin_id:i8! raw_hlo_id:i8! raw_framework_id:i8! penguin_name:s!
        modular_flow_invocation_idx:i8 start_ts:i8:nanoseconds! end_ts:i8:nanoseconds! time_intervals:s!
        element_count_per_interval:li8! transpose_element_count_per_interval:li8!
        hbm_transfer_size_per_interval:li8:bytes! hbm_read_bytes:i8:bytes! hbm_write_bytes:i8:bytes!
        sbuf_read_bytes:i8:bytes sbuf_write_bytes:i8:bytes load_weight_bytes:i8:bytes
    """,
    "PsumUsage": """
        timestamp:i8:nanoseconds! avg_util_percent:f4:percent bank_0_util_percent:f4:percent
        bank_1_util_percent:f4:percent bank_2_util_percent:f4:percent bank_3_util_percent:f4:percent
        bank_4_util_percent:f4:percent bank_5_util_percent:f4:percent bank_6_util_percent:f4:percent
        bank_7_util_percent:f4:percent pcore_idx:i8
    """,
    "SbufAllocation": """
        start_ts:i8:nanoseconds! end_ts:i8:nanoseconds! start_address:i8:bytes! end_address:i8:bytes!
        partition:i8! op_source_type:s opcode:s operands:s queue_name:s block_id:i8 tensor_name:s hlo_name:s
        pcore_idx:i8
    """,
    "SbufUsage": """
        timestamp:i8:nanoseconds! avg_util_percent:f4:percent partition_0_util_percent:f4:percent
        partition_32_util_percent:f4:percent partition_64_util_percent:f4:percent
        partition_96_util_percent:f4:percent pcore_idx:i8
    """,
    "SchemaFields": """
        table_name:s! table_description:s! field_name:s! field_description:s! field_example:s field_type:s!
        field_required:b! field_format:s field_unit:s field_minimum:f4 field_maximum:f4 field_enum_values:s
    """,
    "SemaphoreUpdate": """
        timestamp:i8:nanoseconds! id:s! value:i4! update_source:s double_set_or_clear:b update_mode:i4
        update_operation_type:s update_trigger_timing:s pcore_idx:i8
    """,
    "StackFrame": """
        id:s! file_location_id:i4! parent_frame_id:s!
    """,
    "StackFrameFileLocation": """
        id:s! file_name_id:i4! function_name_id:i4! line_number:i4!
    """,
    "StackFrameFileName": """
        id:s! name:s!
    """,
    "StackFrameFunctionName": """
        id:s! name:s!
    """,
    "Summary": """
        total_time:f4:seconds neuroncore_cycle_count:i8:cycles model_flops:i8:flops hardware_flops:i8:flops
        transpose_flops:i8:flops adjusted_hardware_flops:i8:flops adjusted_transpose_flops:i8:flops
        mm_arithmetic_intensity:f4 peak_flops_bandwidth_ratio:f4 trace_count:i8 event_count:i8 total_row_count:i8
        dma_active_cycles:i8:cycles dma_active_time:f4:seconds dma_active_time_percent:f4:percent
        static_dma_active_time:f4:seconds dynamic_dma_active_time_percent:f4:percent
        static_dma_active_time_percent:f4:percent dma_transfer_average_bytes:f4:bytes dma_packet_time:f4:seconds
        dma_transfer_time:f4:seconds dma_transfer_count:i8 dma_transfer_total_bytes:i8:bytes dma_queue_count:i8
        inputs_and_weights_size_bytes:i8:bytes inputs_outputs_weights_size_bytes:i8:bytes
        weight_size_bytes:i8:bytes static_dma_packet_count:i8 static_dma_size:i8:bytes
        dynamic_dma_packet_percent:f4:percent static_dma_packet_percent:f4:percent
        dynamic_dma_size_percent:f4:percent static_dma_size_percent:f4:percent mbu_estimated_percent:f4:percent
        mbu_min_read_util_percent:f4:percent hbm_write_bytes:i8:bytes hbm_read_bytes:i8:bytes
        sbuf_write_bytes:i8:bytes sbuf_read_bytes:i8:bytes spill_save_bytes:i8:bytes spill_reload_bytes:i8:bytes
        psum_write_bytes:i8:bytes psum_read_bytes:i8:bytes psum_read_sbuf_write_count:i8
        psum_read_sbuf_write_bytes:i8:bytes input_queue_bytes:i8:bytes output_queue_bytes:i8:bytes
        weight_queue_bytes:i8:bytes software_dynamic_dma_active_time:f4:seconds
        software_dynamic_dma_active_time_percent:f4:percent software_dynamic_dma_packet_count:i8
        software_dynamic_dma_size:i8:bytes software_dynamic_dma_packet_percent:f4:percent
        software_dynamic_dma_size_percent:f4:percent hardware_dynamic_dma_active_time:f4:seconds
        hardware_dynamic_dma_active_time_percent:f4:percent hardware_dynamic_dma_packet_count:i8
        hardware_dynamic_dma_size:i8:bytes hardware_dynamic_dma_packet_percent:f4:percent
        hardware_dynamic_dma_size_percent:f4:percent tensor_engine_instruction_time:f4:seconds
        tensor_engine_active_time:f4:seconds tensor_engine_active_time_percent:f4:percent
        tensor_engine_instruction_count:i8 matmul_instruction_count:i8 mfu_estimated_percent:f4:percent
        mfu_max_achievable_estimated_percent:f4:percent mfu_hlo_estimated_percent:f4:percent
        mfu_hlo_max_achievable_estimated_percent:f4:percent mfu_inst_estimated_percent:f4:percent
        mfu_inst_max_achievable_estimated_percent:f4:percent hfu_estimated_percent:f4:percent
        vector_engine_instruction_time:f4:seconds vector_engine_active_time:f4:seconds
        vector_engine_active_time_percent:f4:percent vector_engine_instruction_count:i8
        scalar_engine_instruction_time:f4:seconds scalar_engine_active_time:f4:seconds
        scalar_engine_active_time_percent:f4:percent scalar_engine_instruction_count:i8
        activate_instruction_time:f4:seconds activate_instruction_count:i8 sync_engine_instruction_time:f4:seconds
        sync_engine_active_time:f4:seconds sync_engine_active_time_percent:f4:percent
        sync_engine_instruction_count:i8 gpsimd_engine_instruction_time:f4:seconds
        gpsimd_engine_active_time:f4:seconds gpsimd_engine_active_time_percent:f4:percent
        gpsimd_engine_instruction_count:i8 cc_op_time:f4:seconds cc_op_active_time:f4:seconds
        cc_op_active_time_percent:f4:percent cc_op_count:i8 cc_cores_instruction_time:f4:seconds
        cc_cores_instruction_active_time:f4:seconds cc_cores_instruction_active_time_percent:f4:percent
        cc_cores_instruction_count:i8 total_exec_time:f4:seconds total_active_time:f4:seconds
        total_active_time_percent:f4:percent
    """,
    "SystemProfileEvents": """
        id:i8! name:s! start_ts:i8:nanoseconds! end_ts:i8:nanoseconds! duration_ns:i8:nanoseconds!
        trace_event_source:s! instance_id:s! process_id:i8! thread_id:i8! nc_idx:i8 pcore_idx:i8 worker_gid:i8
        flow_id:ls framework_stream_id:s extra_attributes_json:s
    """,
    "SystemProfileHbmUsage": """
        timestamp:i8:nanoseconds! total_bytes:i8:bytes! generic_bytes:i8:bytes!
        tensor_instructions_bytes:i8:bytes! scalar_instructions_bytes:i8:bytes!
        gpsimd_instructions_bytes:i8:bytes! io_bytes:i8:bytes! dram_spill_bytes:i8:bytes! weights_bytes:i8:bytes!
        profiler_buffers_bytes:i8:bytes! scalar_table_bytes:i8:bytes! vector_instructions_bytes:i8:bytes!
        sync_instructions_bytes:i8:bytes! shared_scratchpad_bytes:i8:bytes! tensors_bytes:i8:bytes!
        ucode_lib_bytes:i8:bytes! gpsimd_stdio_bytes:i8:bytes! collectives_bytes:i8:bytes!
        scratchpad_bytes:i8:bytes! dma_rings_runtime_bytes:i8:bytes! dma_rings_spill_bytes:i8:bytes!
        dma_rings_io_bytes:i8:bytes! dma_rings_collectives_bytes:i8:bytes! unknown_bytes:i8:bytes! device_idx:i8!
        hbm_idx:i8! instance_id:s!
    """,
    "SystemProfileMetadata": """
        first_ts:s! last_ts:s! first_ts_ns:s! last_ts_ns:s! ntff_version:i8! hbm_capacity_bytes:i8:bytes!
    """,
    "TensorInfo": """
        variable_name:s type:s format:s shape:s size:i8:bytes node:i8 pcore_idx:i8 load_to_sbuf_avg_size_bytes:i8
        load_to_sbuf_total_size_bytes:i8 load_to_sbuf_dma_count:i8 load_to_sbuf_repeat_factor:f4
    """,
    "Throttle": """
        duration:i8:nanoseconds! k:i4! n:i4! timestamp:i8:nanoseconds! type:s! pcore_idx:i8
    """,
    "ThrottleSummary": """
        nc_idx:i4! throttle_type:s throttle_active_time_ns:i8:nanoseconds throttle_active_time_percent:f4:percent
        max_achievable_util_with_throttling_percent:f4:percent
    """,
    "Warning": """
        message:s! category:s!
    """,
}
TABLES: Mapping[str, tuple[Field, ...]] = MappingProxyType({name: _fields(text) for name, text in _TEXT.items()})
