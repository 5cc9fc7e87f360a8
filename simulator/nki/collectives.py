"""`nki.collectives`: between several devices. One rank runs alone here, so the operations are refused by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..context import current
from ..missing import missing
from ..registers import VirtualRegister
from ..tensor import NKIObject


class ReplicaGroup(NKIObject):
    """Lists of ranks that take part in a collective together."""

    def __init__(self, groups: Sequence[Sequence[int]]) -> None:
        """Keep the lists."""
        self.groups = tuple(tuple(int(rank) for rank in group) for group in groups)


def rank_id(name: str | None = None) -> VirtualRegister:
    """Number of this device among the ranks, in a register."""
    del name
    return VirtualRegister(current().rank)


def _collective(function: str, parameters: str, /, **defaults: object) -> Callable[..., Any]:
    return missing("nki.collectives", function, parameters, **defaults, name=None)


def _variable(name: str) -> Callable[..., Any]:
    parameters = "srcs dsts replica_group metadata_tensor"
    return _collective(name, parameters, recv_counts_known=False, has_rdispls=False, priority=None)


all_reduce = _collective("all_reduce", "srcs dsts replica_group op", priority=None)
all_gather = _collective("all_gather", "srcs dsts replica_group collective_dim", priority=None)
all_gather_v = _variable("all_gather_v")
all_gather_v_prepare = _variable("all_gather_v_prepare")
all_gather_v_trigger = _collective("all_gather_v_trigger", "prepare_instr")
reduce_scatter = _collective("reduce_scatter", "srcs dsts replica_group collective_dim op", priority=None)
all_to_all = _collective("all_to_all", "srcs dsts replica_group collective_dim", priority=None)
all_to_all_v = _variable("all_to_all_v")
all_to_all_v_prepare = _variable("all_to_all_v_prepare")
all_to_all_v_trigger = _collective("all_to_all_v_trigger", "prepare_instr")
collective_permute = _collective("collective_permute", "srcs dsts source_target_pairs", priority=None)
collective_permute_implicit = _collective(
    "collective_permute_implicit", "srcs_by_channel dsts_by_channel replica_group", channel_ids=[0], priority=None
)
collective_permute_implicit_reduce = _collective(
    "collective_permute_implicit_reduce",
    "srcs0_by_channel srcs1_by_channel dsts_by_channel replica_group op",
    channel_ids=[0],
    priority=None,
)
collective_permute_implicit_current_processing_rank_id = _collective(
    "collective_permute_implicit_current_processing_rank_id", "iteration_id replica_group", channel_id=0
)
