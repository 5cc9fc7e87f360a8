"""What instructions and transfers work on: operands as text, and where a transfer reads and writes."""

from __future__ import annotations

import polars as pl

from nkilab.join.columns import HBM, SBUF, Joinable, named

LOAD = "LDWEIGHTS"
"""How the opcodes begin that load the stationary operand."""


def operands(joined: Joinable, only: pl.DataFrame | None = None) -> pl.DataFrame:
    """Each NKI instruction's operands as text, `dst=psum_3 float32[128,512] stationary=…`; only of the `trace_row`s given."""
    rows = joined.accesses()
    if only is not None:
        rows = rows.join(only, on="trace_row", how="semi", maintain_order="left")
    rows = rows.with_columns(
        role_name=named(rows["role"].to_numpy(), joined.names["role"]),
        dtype_name=named(rows["dtype"].to_numpy(), joined.names["dtype"]),
        label=joined.tensors()["label"].gather(rows["tensor"]),
    )
    box = pl.format("[{},{}]", pl.col("p1") - pl.col("p0"), "elements")
    shape = pl.when(pl.col("space") == 0).then(pl.format("[{}]", "elements")).otherwise(box)
    text = pl.format("{}={} {}{}", "role_name", "label", "dtype_name", shape)
    return rows.group_by("trace_row", maintain_order=True).agg(operands=text.str.join(" "))


def boxes(joined: Joinable) -> pl.DataFrame:
    """Of each NKI instruction where it reads (`read_…`) and writes (`write_…`) first, as the vendor's DMA tables have it.

    `sbuf_partitions` ("0-127"; "" and 0 of them where the end is not in SBUF), `num_sbuf_partitions`, `offset` in the tensor,
    in a partition on chip ("[0x800]"), and on chip `shape` ("[128, 512]": partitions, elements). The trace has a box, not
    all strides of a tensor in HBM.
    """
    rows = joined.accesses()
    there, last = pl.col("space") == SBUF, pl.col("p1") - 1
    span = pl.when(last > pl.col("p0")).then(pl.format("{}-{}", "p0", last)).otherwise(pl.format("{}", "p0"))
    places = {place: f"[{place:#x}]" for place in rows["b0"].unique().to_list()}
    shape = pl.format("[{}, {}]", pl.col("p1") - pl.col("p0"), "elements")
    rows = rows.select(
        "trace_row",
        "write",
        sbuf_partitions=pl.when(there).then(span).otherwise(pl.lit("")),
        num_sbuf_partitions=pl.when(there).then((pl.col("p1") - pl.col("p0")).cast(pl.Int64)).otherwise(0),
        offset=pl.col("b0").replace_strict(places, return_dtype=pl.String),
        shape=pl.when(pl.col("space") != HBM).then(shape),
    ).unique(["trace_row", "write"], keep="first", maintain_order=True)
    reads = rows.filter(~pl.col("write")).drop("write")
    writes = rows.filter("write").drop("write")
    named_reads, named_writes = (
        side.rename({name: f"{way}_{name}" for name in side.columns if name != "trace_row"})
        for way, side in (("read", reads), ("write", writes))
    )
    return named_reads.join(named_writes, on="trace_row", how="full", coalesce=True)
