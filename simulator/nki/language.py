"""`nki.language`: tensors, data types, operators and functions of tiles."""

# ruff: noqa: F401 (the names are for kernels)
from builtins import range  # noqa: UP029 (kernels write nl.range)

from ..constants import MemoryRegion
from ..language.create import (
    empty_like,
    full,
    ndarray,
    ones,
    shared_constant,
    shared_identity_matrix,
    zeros,
    zeros_like,
)
from ..language.grids import NkiBlockGrid, NkiGrid, NkiTileGrid, alloc_blocks, alloc_tiles, blocks, tiles
from ..language.math import *  # noqa: F403
from ..language.programs import (
    affine_range,
    device_print,
    ds,
    dynamic_range,
    fori_loop,
    is_hbm,
    is_on_chip,
    is_psum,
    is_sbuf,
    no_reorder,
    num_programs,
    program_id,
    program_ndim,
    sequential_range,
    static_range,
    while_loop,
)
from ..language.random import dropout, gather_flattened, rand, random_seed
from ..language.tile_size import TileSize as _TileSize
from ..language.tiles import (
    all,
    broadcast_to,
    expand_dims,
    load,
    load_transpose2d,
    matmul,
    max,
    mean,
    min,
    prod,
    rms_norm,
    softmax,
    store,
    sum,
    transpose,
    var,
)
from ..missing import unknown_name as _unknown_name
from ..ops import Op as _Op
from ..tensor import NKIObject, NkiTensor
from ..values.dtypes import (
    DType,
    bfloat16,
    bool_,
    float4_e2m1fn_x4,
    float8_e4m3,
    float8_e4m3fn,
    float8_e4m3fn_x4,
    float8_e5m2,
    float8_e5m2_x4,
    float8_e8m0fnu,
    float16,
    float32,
    int8,
    int16,
    int32,
    tfloat32,
    uint8,
    uint16,
    uint32,
)

bool = bool_
sbuf = MemoryRegion.sbuf
psum = MemoryRegion.psum
private_hbm = MemoryRegion.private_hbm
hbm = MemoryRegion.private_hbm
shared_hbm = MemoryRegion.shared_hbm
tile_size = _TileSize()
average = _Op("average")
bypass = _Op("bypass")
prelu = _Op("prelu")


def __getattr__(name: str) -> object:
    raise _unknown_name("nki.language", name, list(globals()))
