"""`nki.collectives`: operations in which several simulated devices take part, `Sim(ranks=n)` of them."""

# ruff: noqa: F401 (the names are for kernels)
from ..collectives.groups import ReplicaGroup, rg_partition_op
from ..collectives.operations import all_gather, all_reduce, all_to_all, reduce_scatter
from ..collectives.permutes import (
    collective_permute,
    collective_permute_implicit,
    collective_permute_implicit_current_processing_rank_id,
    collective_permute_implicit_reduce,
)
from ..collectives.variable import (
    all_gather_v,
    all_gather_v_prepare,
    all_gather_v_trigger,
    all_to_all_v,
    all_to_all_v_prepare,
    all_to_all_v_trigger,
)
from ..context import current as _current
from ..registers import VirtualRegister as _VirtualRegister


def rank_id(name: str | None = None) -> _VirtualRegister:
    """Number of this device among the ranks, in a register."""
    del name
    return _VirtualRegister(_current().rank)
