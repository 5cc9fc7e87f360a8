"""What the kernels share: cutting sizes into tiles, sharing work between cores, small loads."""

import nki.isa as nisa
import nki.language as nl

ACTIVATIONS = {
    "relu": nl.relu,
    "gelu": nl.gelu,
    "gelu_tanh": nl.gelu_apprx_tanh,
    "silu": nl.silu,
    "sigmoid": nl.sigmoid,
    "tanh": nl.tanh,
}


def spans(bounds, tile):
    """(start, size) of consecutive tiles from bounds[0] to bounds[1]; the last may be smaller."""
    start, stop = bounds
    return [(at, min(tile, stop - at)) for at in range(start, stop, tile)]


def shard(total, tile):
    """The part (start, stop) of `total` that this core has, cut at a multiple of `tile`; all of it on a single core."""
    part = -(-total // (tile * nl.num_programs())) * tile
    start = min(nl.program_id(0) * part, total)
    return start, min(start + part, total)


def is_narrow(dtype):
    """Whether elements have 2 bytes: what DMA transposes at nearly the rate of a copy."""
    return str(dtype) in ("bfloat16", "float16")


def itemsize(dtype):
    """Bytes of an element."""
    return 1 if str(dtype).startswith("float8") else 2 if is_narrow(dtype) else 4


def broadcast_rows(hbm, column, columns, rows):
    """Columns of a `[1, N]` tensor on each of `rows` partitions, by a DMA that reads the row again for each."""
    tile = nl.ndarray((rows, columns), dtype=hbm.dtype, buffer=nl.sbuf)
    load_aside(tile, hbm.ap(pattern=[[0, rows], [1, columns]], offset=column))
    return tile


def load_aside(dst, src):
    """Load through the queue of the Sync engine, past the stream of large loads; trn1 has one kind of queue only."""
    if nisa.get_nc_version() < nisa.nc_version.gen3:
        nisa.dma_copy(dst=dst, src=src)
    else:
        nisa.dma_copy(dst=dst, src=src, dge_mode=nisa.dge_mode.hwdge, engine=nisa.engine.sync)
