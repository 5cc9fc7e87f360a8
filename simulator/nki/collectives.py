"""`nki.collectives`: between several devices. One rank runs alone here, so the operations are refused by name."""

from __future__ import annotations

from ..context import current
from ..missing import missing
from ..registers import VirtualRegister

_NAMES = (
    "all_reduce",
    "all_gather",
    "all_gather_v",
    "all_gather_v_prepare",
    "all_gather_v_trigger",
    "reduce_scatter",
    "all_to_all",
    "all_to_all_v",
    "all_to_all_v_prepare",
    "all_to_all_v_trigger",
    "collective_permute",
    "collective_permute_implicit",
    "collective_permute_implicit_reduce",
    "collective_permute_implicit_current_processing_rank_id",
)


def rank_id() -> VirtualRegister:
    """Number of this device among the ranks."""
    return VirtualRegister(current().rank)


all_reduce = missing("nki.collectives", "all_reduce")
all_gather = missing("nki.collectives", "all_gather")
reduce_scatter = missing("nki.collectives", "reduce_scatter")
all_to_all = missing("nki.collectives", "all_to_all")
collective_permute = missing("nki.collectives", "collective_permute")


def __getattr__(name: str) -> object:
    if name in _NAMES:
        return missing("nki.collectives", name)
    raise AttributeError(f"module 'nki.collectives' has no attribute {name!r}")
