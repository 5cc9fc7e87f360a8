"""Spans of the timeline: rows of several tables brought to one frame of tracks, names, classes and source lines."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from ...analyses.machine import WAIT_OPCODES
from ...profile import Profile
from ...schema import ENGINES
from .. import theme

COLUMNS = ("group", "track", "order", "start", "end", "name", "class", "file", "line", "function", "key")
_TYPES: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("start", "end"), pl.Float64),
    **dict.fromkeys(("order", "class", "line", "key"), pl.Int64),
}
_INSTRUCTION = {
    "compiler_opcode": "",
    "operands": "",
    "evt_wait_time_ns": "ns",
    "ready_ts": "ns",
    "raw_flops": "flop",
    "tensor_elements": "",
    "hbm_read_bytes": "bytes",
    "hbm_write_bytes": "bytes",
    "sbuf_read_bytes": "bytes",
    "sbuf_write_bytes": "bytes",
    "psum_read_bytes": "bytes",
    "psum_write_bytes": "bytes",
    "scalar_activation_fn": "",
    "performance_mode": "",
    "layer": "",
    "hlo_name": "",
    "bir_instruction_name": "",
    "pc": "",
    "iteration": "",
    "stack": "",
    "cost_class": "",
}
_TRANSFER = {
    "transfer_bytes": "bytes",
    "read_bytes": "bytes",
    "write_bytes": "bytes",
    "throughput": "bytes/s",
    "packets": "",
    "queue_type": "",
    "op": "",
    "source": "",
    "dest": "",
    "cost_class": "",
}
_PACKET = {"transfer_bytes": "bytes", "throughput": "bytes/s", "queue_name": "", "queue_type": "", "duplicate": ""}
_COLLECTIVE = {
    "algorithm": "",
    "dtype": "",
    "num_elements": "",
    "input_size": "bytes",
    "output_size": "bytes",
    "algorithm_bandwidth": "bytes/s",
    "bus_bandwidth": "bytes/s",
    "trigger_engine": "",
    "cc_trigger_start_delay": "ns",
    "replica_group": "",
}
_HOST = {"trace_event_source": "", "process_id": "", "thread_id": "", "extra_attributes_json": ""}


def nothing() -> pl.DataFrame:
    """`COLUMNS` without rows."""
    return pl.DataFrame(schema={name: _TYPES.get(name, pl.String) for name in COLUMNS})


@dataclass(frozen=True, slots=True)
class Spans:
    """The spans of one table.

    Attributes:
        table: name of the table of the profile.
        frame: `COLUMNS` (start and end in ns, class an index of `theme.SHADES`, key the row's id) and the details.
        details: detail columns of `frame` with a value somewhere, with their units.
    """

    table: str
    frame: pl.DataFrame
    details: dict[str, str]


def instructions(profile: Profile) -> Spans:
    """Instructions, one track per core and engine; the tensor engine's matmul unit apart where the source says so."""
    table = _with_stacks(profile, profile.rows("Instruction"))
    engine = pl.col("engine").fill_null("unknown engine")
    track = pl.coalesce("timeline_track", engine)
    order = engine.replace_strict({name: 10 * i for i, name in enumerate(ENGINES)}, default=90, return_dtype=pl.Int64)
    frame = table.with_columns(
        group=_core(profile, "Core"),
        track=track,
        order=_core_order() + order + (track != engine).cast(pl.Int64),
        name=pl.coalesce("opcode", "compiler_opcode", pl.lit("unknown opcode")),
        **{"class": _engine_class(engine)},
    )
    return _spans("Instruction", frame, _INSTRUCTION)


def transfers(profile: Profile, lines: pl.DataFrame) -> Spans:
    """DMA transfers, one track per core and queue, with the line of the instruction that issued each.

    Args:
        profile: the profile.
        lines: key, file, line, function of the instructions.
    """
    issuer = lines.rename({"key": "instruction_id"}).unique("instruction_id")
    table = profile.rows("DmaPacketAggregated").join(issuer, on="instruction_id", how="left", maintain_order="left")
    queue = pl.coalesce("queue_name", _numbered("queue", "queue_idx"))
    frame = table.with_columns(
        group=_core(profile, "DMA queues, core"),
        track=queue,
        order=_core_order() + 200,
        name=_first_known("variable", "op", "queue_type", default="transfer"),
        **{"class": pl.lit(theme.index("DMA"))},
    )
    return _spans("DmaPacketAggregated", frame, _TRANSFER)


def packets(profile: Profile) -> Spans:
    """DMA packets, one track per core and DMA engine; duplicates of a packet are left out."""
    table = profile.rows("DmaPacket").filter(pl.col("duplicate").fill_null(value=False).not_())
    frame = table.with_columns(
        pl.col("duplicate").cast(pl.String),
        group=_core(profile, "DMA engines, core"),
        track=_numbered("engine", "engine_idx"),
        order=_core_order() + 300 + pl.col("engine_idx").fill_null(0) % 512,
        name=_first_known("variable", "queue_name", "queue_type", default="packet"),
        **{"class": pl.lit(theme.index("DMA"))},
    )
    return _spans("DmaPacket", frame, {k: v for k, v in _PACKET.items() if k != "duplicate"})


def collectives(profile: Profile) -> Spans:
    """Collective operations, one track per stream."""
    frame = profile.rows("CcOp").with_columns(
        group=pl.lit("Collectives"),
        track=_numbered("stream", "stream_id"),
        order=pl.lit(1_000_000) + pl.col("stream_id").fill_null(0),
        name=_first_known("operation", default="collective"),
        id=pl.col("op_id"),
        **{"class": pl.lit(theme.index("Collective"))},
    )
    return _spans("CcOp", frame, _COLLECTIVE)


def throttles(profile: Profile) -> Spans:
    """Tensor-engine clock windows, named `k of n`; below full rate they have a class of their own."""
    frame = profile.rows("Throttle").with_columns(
        start_ts=pl.col("timestamp"),
        end_ts=pl.col("timestamp") + pl.col("duration"),
        group=_core(profile, "Core"),
        track=pl.lit("Tensor clock"),
        order=_core_order() + 5,
        name=pl.format("{} of {}", "k", "n"),
        id=pl.lit(None, dtype=pl.Int64),
        **{
            "class": pl.when(pl.col("k") < pl.col("n"))
            .then(theme.index("Throttled"))
            .otherwise(theme.index("Full rate"))
        },
    )
    return _spans("Throttle", frame, {})


def host(profile: Profile, zero_ns: int) -> Spans:
    """Host and runtime events, one track per source and thread, in nanoseconds after `zero_ns` (unix time)."""
    frame = profile.rows("SystemProfileEvents").with_columns(
        start_ts=(pl.col("start_ts") - zero_ns).cast(pl.Float64),
        end_ts=(pl.col("end_ts") - zero_ns).cast(pl.Float64),
        group=pl.lit("Host"),
        track=pl.format("{} {}", pl.col("trace_event_source").fill_null("event"), pl.col("thread_id").fill_null(0)),
        order=pl.lit(3_000_000),
        name=_first_known("name", default="event"),
        **{"class": pl.lit(theme.index("Host"))},
    )
    return _spans("SystemProfileEvents", frame, _HOST)


def _spans(table: str, frame: pl.DataFrame, details: dict[str, str]) -> Spans:
    """Give `frame` the common columns, keep details that hold something, and sort by track and start."""
    for name, dtype in (("file", pl.String), ("line", pl.Int64), ("function", pl.String)):
        if name not in frame.columns:
            frame = frame.with_columns(pl.lit(None, dtype=dtype).alias(name))
    kept = {name: unit for name, unit in details.items() if name in frame.columns and _says_something(frame[name])}
    common = frame.with_columns(
        start=pl.col("start_ts"), end=pl.max_horizontal("start_ts", "end_ts"), key=pl.col("id")
    ).filter(pl.col("start").is_not_null())
    chosen = common.select(
        *(pl.col(c).cast(_TYPES.get(c, pl.String)) for c in COLUMNS),
        *(pl.col(name).replace({"": None}) if common[name].dtype == pl.String else pl.col(name) for name in kept),
    )
    return Spans(table, chosen.sort("order", "group", "track", "start", maintain_order=True), kept)


def _says_something(values: pl.Series) -> bool:
    known = values.drop_nulls()
    if known.dtype == pl.String:
        known = known.filter(~known.is_in(["", "unknown", "Unknown"]))
    return len(known) > 0


def _engine_class(engine: pl.Expr) -> pl.Expr:
    """Class of an instruction: its engine; waits apart, and of the tensor engine weights and transposes."""
    engines = {name: theme.index(name) for name in ENGINES}
    plain = engine.replace_strict(engines, default=theme.index("Other"), return_dtype=pl.Int64)
    moving = pl.col("opcode").str.contains("LDWEIGHTS").fill_null(value=False) | (
        pl.col("tensor_instruction_type").str.to_uppercase() == "TRANSPOSE"
    ).fill_null(value=False)
    waits = pl.col("opcode").is_in(WAIT_OPCODES).fill_null(value=False)
    return (
        pl.when(waits)
        .then(theme.index("Waiting"))
        .when((engine == "Tensor") & moving)
        .then(theme.index("Tensor: weights and transposes"))
        .otherwise(plain)
    )


def _core(profile: Profile, prefix: str) -> pl.Expr:
    """Group of a core's tracks: "Core 0", or in a profile merged from several ranks "rank 0"."""
    core = pl.col("pcore_idx").fill_null(0)
    names = dict(enumerate(profile.facts.get("merged_cores", "").split(";")))
    if not names[0]:
        return pl.format("{} {}", pl.lit(prefix), core)
    before = prefix[: -len("core")]
    return pl.lit(before) + core.replace_strict(names, default="", return_dtype=pl.String)


def _core_order() -> pl.Expr:
    return 1000 * pl.col("pcore_idx").fill_null(0)


def _numbered(prefix: str, column: str) -> pl.Expr:
    known = pl.format("{} {}", pl.lit(prefix), pl.col(column))
    return pl.when(pl.col(column).is_null()).then(pl.lit(f"unknown {prefix}")).otherwise(known)


def _first_known(*columns: str, default: str) -> pl.Expr:
    """The first of `columns` that holds a name."""
    names = [pl.when(~pl.col(c).is_in(["", "unknown", "Unknown"])).then(pl.col(c)) for c in columns]
    return pl.coalesce(*names, pl.lit(default))


def _with_stacks(profile: Profile, table: pl.DataFrame) -> pl.DataFrame:
    """Add `stack`, the calls that led to an instruction (innermost first), and `iteration`, its loop variables."""
    frames = profile.rows("KernelStackFrames").with_columns(
        text=pl.format(
            "{} {}:{}",
            pl.col("fully_qualified_function_name").fill_null("?"),
            pl.col("file_path").fill_null("?"),
            pl.col("line_number").fill_null(0),
        )
    )
    loops = profile.rows("KernelIterationVariables").with_columns(
        text=pl.format("{}={}", pl.col("variable_name").fill_null("?"), pl.col("variable_value").fill_null(0))
    )
    stacks = _chains(frames, "stack_frame_id", "parent_stack_frame_id", " ← ").rename({"text": "stack"})
    turns = _chains(loops, "iteration_variable_id", "parent_iteration_variable_id", ", ").rename({"text": "iteration"})
    return table.join(stacks, on="stack_frame_id", how="left", maintain_order="left").join(
        turns, on="iteration_variable_id", how="left", maintain_order="left"
    )


def _chains(frame: pl.DataFrame, key: str, parent: str, joiner: str, deepest: int = 32) -> pl.DataFrame:
    """Each row's `text` followed by those of its parents; one join per level, at most `deepest`."""
    rows = frame.select(key, "text", parent).unique(key, maintain_order=True)
    chain = rows
    for _ in range(deepest):
        if chain[parent].null_count() == chain.height:
            break
        up = rows.select(pl.col(key).alias(parent), pl.col("text").alias("_up"), pl.col(parent).alias("_next"))
        chain = chain.join(up, on=parent, how="left", maintain_order="left").select(
            key,
            text=pl.when(pl.col("_up").is_null())
            .then("text")
            .otherwise(pl.concat_str("text", "_up", separator=joiner)),
            **{parent: pl.col("_next")},
        )
    return chain.select(key, "text")
