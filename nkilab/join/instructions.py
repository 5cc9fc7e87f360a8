"""The Instruction and CostClass tables."""

from __future__ import annotations

import polars as pl

from nkilab.hardware import Hardware
from nkilab.join.columns import COST_CLASSES, SBUF, Joinable, frame, named, null_below_zero
from nkilab.join.movement import RELOADED, SAVED
from nkilab.join.operands import LOAD, operands
from nkilab.join.waits import waited
from nkilab.profiler.schema import ENGINES

_SHARED = ("flops", "hbm_read", "hbm_write", "sbuf_write", "psum_read", "psum_write")
_MEMORY = ("hbm_read", "hbm_write", "sbuf_read", "sbuf_write", "psum_read", "psum_write")


def table(joined: Joinable) -> pl.DataFrame:
    """One row per device instruction of the timing, with what the trace says of its NKI instruction."""
    rows = _shared_out(_device(joined), _program(joined), _stationary(joined))
    rows = rows.join(joined.sites(), on="site", how="left", maintain_order="left")
    rows = rows.join(operands(joined), on="trace_row", how="left", maintain_order="left")
    rows = rows.join(_weights(joined), on="trace_row", how="left", maintain_order="left")
    rows = rows.join(_spilled(joined), on="id", how="left", maintain_order="left")
    rows = rows.join(waited(joined), on="id", how="left", maintain_order="left")
    flags = list(joined.names["flag"])
    transpose = (pl.col("flags").cast(pl.Int64) & (1 << flags.index("transpose"))) != 0
    tensor, scalar = pl.col("engine") == "Tensor", pl.col("engine") == "Scalar"
    adjusted = pl.when(pl.col("flops") == 0).then(0).otherwise(pl.col("flops") * pl.col("weight")).cast(pl.Int64)
    kind = pl.when(transpose).then(pl.lit("TRANSPOSE")).otherwise(pl.lit("REGULAR"))
    return rows.select(
        "id",
        "engine",
        "opcode",
        "operands",
        "file",
        "line",
        "cost_class",
        "evt_wait_time_ns",
        start_ts="start",
        end_ts="end",
        duration_ns=pl.col("end") - pl.col("start"),
        ready_ts="ready",
        timeline_track=pl.when(tensor & pl.col("opcode").str.starts_with("MATMUL"))
        .then(pl.lit("TensorMatrix"))
        .otherwise("engine"),
        pcore_idx="core",
        pc="trace_row",
        compiler_pc=pl.int_range(pl.len(), dtype=pl.Int64).over("core", "engine"),
        compiler_opcode="api",
        kernel_instruction_name=pl.format("I-{}", "trace_row"),
        nki_source_location=pl.format("{}:{}", "file", "line"),
        function="function_name",
        stack_frame_id=null_below_zero("stack"),
        iteration_variable_id=null_below_zero("iteration"),
        tensor_instruction_type=pl.when(tensor).then(kind),
        tensor_elements=pl.when(tensor).then(pl.col("flops") // 2),
        raw_flops=pl.when(tensor).then("flops"),
        flops_transpose=pl.when(tensor).then(pl.when(transpose).then("flops").otherwise(0)),
        scalar_activation_fn=pl.when(scalar).then("function"),
        adjusted_flops=pl.when(tensor).then(adjusted),
        adjusted_flops_transpose=pl.when(tensor).then(pl.when(transpose).then(adjusted).otherwise(0)),
        **{f"{name}_bytes": pl.col(name) for name in _MEMORY},
        **{name: pl.col(name).fill_null(0) for name in ("spill_save_bytes", "spill_reload_bytes")},
    )


def cost_classes(joined: Joinable) -> pl.DataFrame:
    """Modelled time of engines and DMA engines by how well its cost is known."""
    timing = joined.timing
    return pl.DataFrame(
        {
            "cost_class": COST_CLASSES,
            "time_ns": [float(timing.class_ns[name]) for name in COST_CLASSES],
            "share": [float(timing.confidence[name]) for name in COST_CLASSES],
        }
    )


def _device(joined: Joinable) -> pl.DataFrame:
    columns = joined.timing.instructions
    return frame(columns, "id").with_columns(
        pl.col("trace_row").cast(pl.Int64),
        opcode=named(columns["opcode"], joined.timing.names["opcode"]),
        engine=named(columns["engine"], ENGINES),
        cost_class=named(columns["cost_class"], COST_CLASSES),
    )


def _program(joined: Joinable) -> pl.DataFrame:
    columns = joined.trace["instructions"]
    return (
        frame(columns, "trace_row")
        .drop("engine", "engines")
        .with_columns(
            pl.col("site").cast(pl.Int64),
            api=named(columns["api"], joined.names["api"]),
            function=named(columns["function"], joined.names["function"]),
        )
    )


def _shared_out(device: pl.DataFrame, program: pl.DataFrame, stationary: pl.DataFrame) -> pl.DataFrame:
    """Device instructions with the bytes and FLOPs of their NKI instruction, such that sums over the table are right.

    Where one becomes several, the stationary operand's bytes go to the weight loads and everything else to the
    instructions with the opcode of the first other one, in equal shares; the first takes the division's remainder.
    """
    load = pl.col("opcode").str.starts_with(LOAD)
    rows = (
        device.with_columns(load=load)
        .with_columns(main=pl.col("opcode").filter(~pl.col("load")).first().over("trace_row"))
        .with_columns(main=pl.col("load") | (pl.col("opcode") == pl.col("main")).fill_null(value=False))
        .join(program, on="trace_row", how="left", maintain_order="left")
        .join(stationary, on="trace_row", how="left", maintain_order="left")
    )
    group = ["trace_row", "load"]
    stationary_bytes = pl.when(pl.col("load").any().over("trace_row")).then(pl.col("stationary_bytes").fill_null(0))
    rows = rows.with_columns(
        loaded=stationary_bytes.otherwise(0),
        count=pl.col("main").sum().over(group).cast(pl.Int64),
        first=pl.col("main").cast(pl.Int64).cum_sum().over(group) == 1,
    )

    def share(total: pl.Expr) -> pl.Expr:
        equal = total // pl.col("count") + pl.when("first").then(total % pl.col("count")).otherwise(0)
        return pl.when("main").then(equal).otherwise(0)

    read = pl.when("load").then("loaded").otherwise(pl.col("sbuf_read") - pl.col("loaded"))
    zero_on_loads = {name: share(pl.when("load").then(0).otherwise(pl.col(name))) for name in _SHARED}
    return rows.with_columns(sbuf_read=share(read), **zero_on_loads).drop("loaded", "count", "first")


def _spilled(joined: Joinable) -> pl.DataFrame:
    """Bytes that the transfers of each device instruction save and load again for want of SBUF."""
    rows = frame(joined.timing.dma, "piece").filter(pl.col("spill") > 0)
    size = pl.col("bytes").cast(pl.Int64)
    return rows.group_by(id=pl.col("issue").cast(pl.Int64)).agg(
        spill_save_bytes=size.filter(pl.col("spill") == SAVED).sum(),
        spill_reload_bytes=size.filter(pl.col("spill") == RELOADED).sum(),
    )


def _weights(joined: Joinable) -> pl.DataFrame:
    """`weight`: what the vendor's adjusted FLOPs count one FLOP of each matmul for, by the type of its moving operand."""
    roles, dtypes = list(joined.names["role"]), joined.names["dtype"]
    moving = [roles.index(name) for name in ("moving", "data") if name in roles]
    of = pl.Series([_adjusted(name, joined.hardware) for name in dtypes], dtype=pl.Float64)
    rows = joined.accesses().filter(pl.col("role").is_in(moving) & ~pl.col("write"))
    return rows.select("trace_row", weight=of.gather(rows["dtype"].cast(pl.Int64))).unique("trace_row", keep="first")


def _adjusted(dtype: str, hw: Hardware) -> float | None:
    """Schema reference of the Explorer, adjusted_flops; packed types are those of MX operands."""
    if "_x4" in dtype:
        return 0.25
    if dtype.startswith("float8"):
        return 1.0 if hw.generation == 2 else 0.5
    return {"bfloat16": 1.0, "float16": 1.0, "tfloat32": 1.0, "float32": 4.0, "uint8": 0.5}.get(dtype)


def _stationary(joined: Joinable) -> pl.DataFrame:
    """Bytes that each NKI instruction reads from SBUF as its stationary operand."""
    roles = list(joined.names["role"])
    role = roles.index("stationary") if "stationary" in roles else -1
    chosen = joined.accesses().filter((pl.col("role") == role) & (pl.col("space") == SBUF))
    return chosen.group_by("trace_row").agg(stationary_bytes=pl.col("bytes").sum())
