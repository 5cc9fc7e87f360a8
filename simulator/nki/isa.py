"""`nki.isa`: one function for each instruction."""

from ..constants import dependency, dge_mode, dma_engine, engine, matmul_perf_mode, nc_version, oob_mode, reduce_cmd
from ..errors import NkiValidationError
from ..handle import NkiInstruction
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
from ..isa.reductions import (
    bn_aggr,
    bn_stats,
    tensor_partition_reduce,
    tensor_reduce,
    tensor_scalar_cumulative,
    tensor_scalar_reduce,
    tensor_tensor_scan,
)
from ..isa.scalar_engine import activate2, activation, activation_reduce
from ..isa.tensor_engine import nc_matmul, nc_transpose
from ..registers import NkiScalar, VirtualRegister
