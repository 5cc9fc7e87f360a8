"""Permutes: data sent from rank to rank, by pairs or round a ring.

A ring is a list of the replica group in its order, the last rank's successor being the first, on every channel; the
device's own rings depend on its links, which is why kernels ask for the rank whose data is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..context import current
from ..registers import VirtualRegister, value_of
from ..tensor import NkiTensor
from ..values import collectives as values
from . import checks
from .exchange import Request, Result, exchange
from .groups import ReplicaGroup, ranks_of

_CHANNELS = 4


def collective_permute(
    srcs: Sequence[NkiTensor],
    dsts: Sequence[NkiTensor],
    source_target_pairs: Sequence[tuple[int, int]],
    priority: int | None = None,
    name: str | None = None,
) -> None:
    """Every source rank's tensor goes to its target rank; a rank that is no target keeps what its `dsts` hold.

    Args:
        srcs: one tensor in HBM.
        dsts: one tensor in HBM of the same shape and dtype.
        source_target_pairs: (source, target) ranks; each rank at most once on each side. Ranks in no pair do nothing.
        priority: quality-of-service class 0 to 3 (trn3).
        name: the user's name for it.

    Raises:
        KernelError: operands or pairs that do not fit, or ranks that disagree.
        DeadlockError: a rank of a pair never calls it.
    """
    __tracebackhide__ = True
    context, api = current(), "collective_permute"
    sources, targets = checks.tensors(context, api, "srcs", srcs), checks.tensors(context, api, "dsts", dsts)
    checks.places(api, sources, targets, sbuf=False)
    checks.one_each(api, sources, targets)
    checks.shapes(api, sources[0], targets[0], sources[0].shape, "source and target have the same shape")
    checks.priority(context, api, priority)
    pairs = _pairs(api, source_target_pairs, context.sim.ranks)
    ranks = sorted({rank for pair in pairs for rank in pair})
    if context.rank not in ranks:
        return
    origin = {target: source for source, target in pairs}
    what = checks.description(api, int(context.rank in origin), 1)

    def move(requests: Sequence[Request]) -> list[list[Result | None]]:
        arrays = {rank: request.arrays() for rank, request in zip(ranks, requests, strict=True)}
        return [[Result(arrays[origin[rank]][0])] if rank in origin else [] for rank in ranks]

    alike = {"shapes": [f"{t.dtype}{list(t.shape)}" for t in sources], "source_target_pairs": pairs}
    sent = None if any(source == context.rank for source, _ in pairs) else 0
    received = targets if context.rank in origin else ()
    request = Request(api, sources, received, alike, str([list(pair) for pair in pairs]), sent=sent)
    exchange(request, ranks, move, what, name)


def _pairs(api: str, given: Any, ranks: int) -> list[tuple[int, int]]:
    try:
        pairs = [(int(source), int(target)) for source, target in given]
    except (TypeError, ValueError):
        pairs = []
    sides = [[pair[side] for pair in pairs] for side in (0, 1)]
    if not pairs or any(len(set(side)) != len(side) for side in sides):
        checks.refuse(
            api, "argument", f"source_target_pairs={given!r}", rule="pairs of ranks, each at most once on each side"
        )
    if not all(0 <= rank < ranks for pair in pairs for rank in pair):
        checks.refuse(
            api,
            "argument",
            f"source_target_pairs={pairs}",
            rule=f"this simulation has ranks 0 to {ranks - 1}",
            fix=f"simulate with Sim(ranks={max(max(pair) for pair in pairs) + 1})",
        )
    return pairs


def collective_permute_implicit(
    srcs_by_channel: Sequence[Sequence[NkiTensor]],
    dsts_by_channel: Sequence[Sequence[NkiTensor]],
    replica_group: ReplicaGroup,
    channel_ids: Sequence[int] = [0],
    priority: int | None = None,
    name: str | None = None,
) -> None:
    """On each channel, every rank's source goes to its successor in the ring, and its predecessor's comes in.

    Args:
        srcs_by_channel: one list for each channel, with one tensor each.
        dsts_by_channel: the same, of the same shapes and dtypes.
        replica_group: rings of ranks.
        channel_ids: 0, 1, … ; at most 4.
        priority: quality-of-service class 0 to 3 (trn3).
        name: the user's name for it.

    Raises:
        KernelError: operands that do not fit, or ranks that disagree.
        DeadlockError: a rank of the ring never calls it.
    """
    __tracebackhide__ = True
    api = "collective_permute_implicit"
    lists = _channels(api, channel_ids, srcs=srcs_by_channel, dsts=dsts_by_channel)
    _ring(api, (lists["srcs"],), lists["dsts"], replica_group, priority, name, lambda arrays, _: arrays[0])


def collective_permute_implicit_reduce(
    srcs0_by_channel: Sequence[Sequence[NkiTensor]],
    srcs1_by_channel: Sequence[Sequence[NkiTensor]],
    dsts_by_channel: Sequence[Sequence[NkiTensor]],
    replica_group: ReplicaGroup,
    op: Any,
    channel_ids: Sequence[int] = [0],
    priority: int | None = None,
    name: str | None = None,
) -> None:
    """On each channel, `op(source 0, source 1)` of every rank goes to its successor in the ring.

    Args:
        srcs0_by_channel: left operands: one list for each channel, with one tensor each.
        srcs1_by_channel: right operands, of the same shapes and dtypes.
        dsts_by_channel: targets for the predecessor's result, the same.
        replica_group: rings of ranks.
        op: `nl.add`, `nl.minimum` or `nl.maximum`; floats in fp32.
        channel_ids: 0, 1, … ; at most 4.
        priority: quality-of-service class 0 to 3 (trn3).
        name: the user's name for it.

    Raises:
        KernelError: operands that do not fit, or ranks that disagree.
        DeadlockError: a rank of the ring never calls it.
    """
    __tracebackhide__ = True
    api, function = "collective_permute_implicit_reduce", checks.reduction("collective_permute_implicit_reduce", op)
    lists = _channels(api, channel_ids, srcs0=srcs0_by_channel, srcs1=srcs1_by_channel, dsts=dsts_by_channel)

    def combine(arrays: list[Any], target: NkiTensor) -> Any:
        stored = target.dtype.relaxed if target.storage.relaxed else target.dtype
        return values.reduce(arrays, function, stored)

    sides = (lists["srcs0"], lists["srcs1"])
    _ring(api, sides, lists["dsts"], replica_group, priority, name, combine, function)


def collective_permute_implicit_current_processing_rank_id(
    iteration_id: Any, replica_group: ReplicaGroup, channel_id: int = 0, name: str | None = None
) -> VirtualRegister:
    """The rank whose data is there after `iteration_id` steps round the ring: the own one at 0, then predecessors'.

    Returns:
        A register.

    Raises:
        KernelError: a channel below 0 or above 3, or a group without this rank.
    """
    del name
    context, api = current(), "collective_permute_implicit_current_processing_rank_id"
    if channel_id not in range(_CHANNELS):
        checks.refuse(api, "argument", f"channel_id={channel_id!r}", rule=f"0 to {_CHANNELS - 1}")
    ranks = ranks_of(context, api, replica_group)
    return VirtualRegister(ranks[(ranks.index(context.rank) - value_of(iteration_id)) % len(ranks)])


def _channels(api: str, channel_ids: Any, **lists: Any) -> dict[str, tuple[NkiTensor, ...]]:
    """The one tensor of each channel, for each of the lists."""
    count = len(channel_ids)
    if list(channel_ids) != list(range(count)) or not 1 <= count <= _CHANNELS:
        checks.refuse(
            api, "argument", f"channel_ids={list(channel_ids)}", rule=f"0, 1, … in order, at most {_CHANNELS}"
        )
    found: dict[str, tuple[NkiTensor, ...]] = {}
    for name, given in lists.items():
        if len(given) != count:
            checks.refuse(api, "argument", f"{len(given)} lists in {name}", rule=f"one for each of {count} channels")
        tensors = [checks.tensors(current(), api, name, inner) for inner in given]
        checks.one_each(api, *tensors)
        found[name] = tuple(inner[0] for inner in tensors)
    return found


def _ring(
    api: str,
    sides: tuple[tuple[NkiTensor, ...], ...],
    targets: tuple[NkiTensor, ...],
    group: Any,
    priority: Any,
    name: str | None,
    combine: Callable[[list[Any], NkiTensor], Any],
    function: str = "",
) -> None:
    __tracebackhide__ = True
    context = current()
    checks.priority(context, api, priority)
    for channel, target in enumerate(targets):
        for side in sides:
            checks.places(api, (side[channel],), (target,))
            checks.shapes(api, side[channel], target, side[channel].shape, "all tensors have the same shape")
    ranks = ranks_of(context, api, group)

    def move(requests: Sequence[Request]) -> list[list[Result | None]]:
        arrays = [request.arrays() for request in requests]
        count = len(targets)
        sent = [[combine(own[channel::count], targets[channel]) for channel in range(count)] for own in arrays]
        return [[Result(array) for array in sent[rank - 1]] for rank in range(len(ranks))]

    sources = tuple(tensor for side in sides for tensor in side)
    shapes = [f"{t.dtype}{list(t.shape)}" for t in targets]
    alike = {"shapes": shapes, "replica_group": repr(group), "op": function}
    request = Request(api, sources, targets, alike, repr(group), function)
    exchange(request, ranks, move, checks.description(api, len(targets), len(sources)), name)
