"""`nki.isa`: one function for each instruction."""

# ruff: noqa: F401 (the names are for kernels)
from .. import constants
from ..constants import dependency, dge_mode, dma_engine, engine, matmul_perf_mode, nc_version, oob_mode, reduce_cmd
from ..deprecated import deprecated as _deprecated
from ..errors import NkiValidationError
from ..handle import NkiInstruction
from ..isa.cores import core_barrier, sendrecv
from ..isa.dma import dma_compute, dma_copy, dma_transpose
from ..isa.elementwise import (
    memset,
    reciprocal,
    scalar_tensor_tensor,
    tensor_copy,
    tensor_copy_predicated,
    tensor_scalar,
    tensor_tensor,
)
from ..isa.gathers import (
    local_gather,
    max8,
    nc_find_index8,
    nc_match_replace8,
    nc_n_gather,
    nc_stream_shuffle,
    nonzero_with_count,
    sequence_bounds,
    topk,
)
from ..isa.mx import nc_matmul_mx, quantize_mx
from ..isa.patterns import affine_select, exponential, iota, range_select, select_reduce
from ..isa.random import dropout, rand2, rand_get_state, rand_set_state, rng, set_rng_seed
from ..isa.reductions import (
    bn_aggr,
    bn_stats,
    tensor_partition_reduce,
    tensor_reduce,
    tensor_scalar_cumulative,
    tensor_scalar_reduce,
    tensor_tensor_scan,
)
from ..isa.registers import register_alloc, register_load, register_move, register_store, scalar_load, scalar_store
from ..isa.scalar_engine import activate2, activation, activation_reduce
from ..isa.tensor_engine import nc_matmul, nc_transpose
from ..missing import unknown_name as _unknown_name
from ..registers import NkiScalar, VirtualRegister
from ..target import get_nc_sub_version, get_nc_version

_ENGINES = {f"{each.name}_engine": each for each in engine if each.name not in ("dma", "sync")}


__path__: list[str] = []  # so that `import nki.isa.constants` finds ..constants


def __getattr__(name: str) -> object:
    if name in _ENGINES:
        _deprecated(f"nisa.{name}", f"nisa.engine.{_ENGINES[name].name}")
        return _ENGINES[name]
    raise _unknown_name("nki.isa", name, list(globals()))
