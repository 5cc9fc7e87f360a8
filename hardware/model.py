"""The shape of a hardware table: one frozen dataclass per part of a NeuronCore.

Units are in the field's name: `_ns`, `_bytes`, `ghz`, `gbps` (1e9 bytes a second), `cycles` of the engine that the
field belongs to. The numbers, each with its class and source, stand in the TOML file of the generation.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hbm:
    """Device memory. `bytes`: the stack that a core uses. `gbps`: peak of that stack, shared by `cores` cores."""

    bytes: int
    gbps: float
    cores: int


@dataclass(frozen=True, slots=True)
class Sbuf:
    """State buffer of one core: `partitions` rows of `partition_bytes`."""

    partitions: int
    partition_bytes: int


@dataclass(frozen=True, slots=True)
class Psum:
    """Accumulation buffer of one core: `partitions` rows of `banks` banks of `bank_bytes`."""

    partitions: int
    partition_bytes: int
    banks: int
    bank_bytes: int


@dataclass(frozen=True, slots=True)
class Access:
    """Rules for the operands of compute instructions.

    `partition_starts`: (most partitions, allowed first partitions), smallest first. `free_dims`: most dimensions of a
    free pattern. `slow_stride_bytes`: innermost stride from which an operand streams at half rate.
    `vector_gpsimd_share_sbuf`, `vector_scalar_share_psum`: both may access that memory at once.
    """

    partition_starts: tuple[tuple[int, tuple[int, ...]], ...]
    free_dims: int
    slow_stride_bytes: int
    vector_gpsimd_share_sbuf: bool
    vector_scalar_share_psum: bool


@dataclass(frozen=True, slots=True)
class Tensor:
    """TensorE: limits of a matmul tile and its costs.

    A matmul pass streams one column of the moving tile in `cycles_per_column` (16 and 8 bit), fp32 takes `fp32_passes`
    passes of `fp32_cycles_per_column`. `issue_ns` is added to each pass, `pipeline_cycles` and `pipeline_ns` to its result.
    A weight load takes `load_fixed_ns` and `load_cycles_per_column`, for fp32 `fp32_load_cycles_per_column` (to be
    transposed: `fp32_transpose_load_cycles_per_column`). The throttle slows cycles, not ns. Peaks are dense TFLOPS.
    """

    clock_ghz: float
    rows: int
    columns: int
    contraction_max: int
    stationary_max: int
    moving_max: int
    moving_max_fp32: int
    moving_max_16bit: int
    double_row_contraction_max: int
    psum_bf16: bool
    min_columns: int
    cycles_per_column: float
    fp32_passes: int
    fp32_cycles_per_column: float
    issue_ns: float
    pipeline_cycles: float
    pipeline_ns: float
    load_fixed_ns: float
    load_cycles_per_column: float
    fp32_load_cycles_per_column: float
    fp32_transpose_load_cycles_per_column: float
    tflops_bf16: float
    tflops_fp32: float
    tflops_fp8: float
    tflops_mx: float


@dataclass(frozen=True, slots=True)
class VectorCycles:
    """Cycles per element and partition of VectorE, by kind of instruction and mode."""

    copy_psum: float
    copy_4byte: float
    copy_2byte: float
    copy_2byte_half: float
    tensor_tensor: float
    tensor_tensor_2byte: float
    scalar_tensor_tensor: float
    scalar_tensor_tensor_2byte: float
    reduce: float
    reduce_2byte: float
    scan: float
    predicated: float
    predicated_mixed: float
    memset: float
    memset_2byte: float
    reciprocal: float
    bn_stats: float
    bn_aggr: float
    match: float
    shuffle: float
    transpose: float
    exponential: float
    quantize_mx: float


@dataclass(frozen=True, slots=True)
class Vector:
    """VectorE.

    Issue interval = `issue_ns` (+ `operand_ns` with a per-partition operand) + elements x cycles; latency = interval +
    `pipeline_ns`. `register_copy_ns`: least interval of a register-addressed copy.
    """

    clock_ghz: float
    issue_ns: float
    operand_ns: float
    pipeline_ns: float
    reduce_register_ns: float
    register_copy_ns: float
    max_free_bn_stats: int
    cycles: VectorCycles


@dataclass(frozen=True, slots=True)
class Scalar:
    """ScalarE.

    Issue interval = `issue_ns` (+ `function_ns` for a function, + `sbuf_ns` from SBUF) + elements x cycles; latency =
    interval + `pipeline_ns`. `table_load_ns`: load of a set of activation functions.
    """

    clock_ghz: float
    issue_ns: float
    function_ns: float
    sbuf_ns: float
    pipeline_ns: float
    cycles: float
    cycles_2byte: float
    reduce_register_ns: float
    table_load_ns: float


@dataclass(frozen=True, slots=True)
class Gpsimd:
    """GpSimdE: issue interval = `issue_cycles` + elements x cycles; latency = interval + `pipeline_ns`."""

    clock_ghz: float
    issue_cycles: float
    pipeline_ns: float
    cycles: float
    iota_cycles: float
    gather_cycles: float
    dma_gbps: float


@dataclass(frozen=True, slots=True)
class Handover:
    """From the end of one instruction to the start of a dependent one.

    `same_engine_ns` on one engine; between engines a semaphore's signal (end to update) and wait (update to start).
    `sync_ns`: a Sync instruction without data. `barrier_ns`: from the arrival of the last core to both going on.
    """

    same_engine_ns: float
    signal_ns: float
    wait_ns: float
    sync_ns: float
    barrier_ns: float


@dataclass(frozen=True, slots=True)
class Links:
    """What joins the ranks of collectives.

    `hop_ns`: one step between ranks of a node. `chip_gbps`: all links of a chip to others of its node, both directions.
    `torus`: chips along each dimension, none for a switch. `node_hop_ns`, `node_gbps` (of a chip): between nodes. Buffers
    below `mesh_bytes` take the mesh algorithm, up to `rdh_bytes` recursive doubling and halving, larger ones a ring.
    """

    hop_ns: float
    chip_gbps: float
    torus: tuple[int, ...]
    cores_per_chip: int
    chips_per_node: int
    node_hop_ns: float
    node_gbps: float
    mesh_bytes: int
    rdh_bytes: int


@dataclass(frozen=True, slots=True)
class Dma:
    """DMA engines of one core.

    `software_issue_ns`, `register_issue_ns` (address in a register), `sync_issue_ns`, `scalar_issue_ns`: serial cost of
    one DMA on its issuing stream. GpSimdE shows `software_row_ns` for it, `software_start_ns` after it could start.
    `software_latency_ns`, `hardware_latency_ns`: start of that row to the first element; `load_start_ns`,
    `store_start_ns`: until the last engine moves data (from HBM, from SBUF). `completion_ns`: last element to the change
    of the semaphore. One engine moves an element of `element_bytes[i]` in `element_ns[i]`, linear between, at the last
    slope beyond; the next one begins `element_overlap_ns` before its end; a type cast adds `cast_element_ns`;
    `semaphore_ns` follows the data. Software descriptors merge rows into packets of `packet_bytes` (0: they do not); a
    longer row is loaded in pieces of `piece_bytes`. `*_efficiency`: share of the copy rate. `ring`: descriptors
    outstanding on an engine of a queue before the issuer blocks.
    """

    engines: int
    partitions_per_engine: int
    engine_gbps: float
    software_issue_ns: float
    register_issue_ns: float
    sync_issue_ns: float
    scalar_issue_ns: float
    software_row_ns: float
    software_start_ns: float
    software_latency_ns: float
    hardware_latency_ns: float
    load_start_ns: float
    store_start_ns: float
    completion_ns: float
    semaphore_ns: float
    packet_bytes: int
    piece_bytes: int
    element_bytes: tuple[int, ...]
    element_ns: tuple[float, ...]
    element_overlap_ns: float
    cast_element_ns: float
    transpose_efficiency: float
    sbuf_transpose_efficiency: float
    ring: int


@dataclass(frozen=True, slots=True)
class Throttle:
    """TensorE's clock control, decided on a fixed grid of `window_ns`.

    Warm after a window busier than `warm_above`, cold (every cost x `cold_factor`) after one at or below `cold_below`.
    `enabled` false: always warm. `phase_ns`: end of the first window, from the first trigger of the body; 0 is a whole
    window. The grid runs free, so that it differs from launch to launch.
    """

    enabled: bool
    window_ns: float
    phase_ns: float
    warm_above: float
    cold_below: float
    cold_factor: float


@dataclass(frozen=True, slots=True)
class Launch:
    """Time outside the body of a launch as a profile's `total_time` counts it."""

    prologue_ns: float
    tail_ns: float


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Relative half-width of a modelled duration by the class of its cost, and of whole launches by the model's structure."""

    calibrated: float
    documented: float
    guessed: float
    structure: float
