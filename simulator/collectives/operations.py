"""Collectives of fixed sizes: reduce, gather, scatter, all-to-all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..context import current
from ..tensor import NkiTensor
from ..values import collectives as values
from . import checks
from .exchange import Request, Result, exchange
from .groups import ReplicaGroup, ranks_of

Arrays = list[list[Any]]


def _collective(
    api: str,
    operands: tuple[tuple[NkiTensor, ...], tuple[NkiTensor, ...]],
    group: Any,
    compute: Callable[[list[Any], NkiTensor], Sequence[Any]],
    alike: dict[str, object],
    name: str | None,
) -> None:
    """Exchange; `compute` makes the results of all ranks for one of the coalesced tensors, from the arrays of all."""
    __tracebackhide__ = True
    sources, targets = operands
    ranks = ranks_of(current(), api, group)

    def move(requests: Sequence[Request]) -> list[list[Result | None]]:
        arrays = [request.arrays() for request in requests]
        columns = [compute([of_rank[i] for of_rank in arrays], requests[0].targets[i]) for i in range(len(targets))]
        return [[Result(column[rank]) for column in columns] for rank in range(len(requests))]

    same = {
        "shapes": [f"{t.dtype}{list(t.shape)}" for t in (*sources, *targets)],
        "replica_group": repr(group),
        **alike,
    }
    function = str(alike.get("op", ""))
    request = Request(api, sources, targets, same, repr(group), function)
    exchange(request, ranks, move, checks.description(api, len(targets), len(sources)), name)


def _operands(
    api: str, srcs: Any, dsts: Any, priority: Any, *, sbuf: bool = True
) -> tuple[tuple[NkiTensor, ...], tuple[NkiTensor, ...]]:
    context = current()
    sources, targets = checks.tensors(context, api, "srcs", srcs), checks.tensors(context, api, "dsts", dsts)
    checks.places(api, sources, targets, sbuf=sbuf)
    checks.priority(context, api, priority)
    return sources, targets


def all_reduce(
    srcs: Sequence[NkiTensor],
    dsts: Sequence[NkiTensor],
    replica_group: ReplicaGroup,
    op: Any,
    priority: int | None = None,
    name: str | None = None,
) -> None:
    """`op` over the sources of all ranks of a list, into every rank's targets.

    Args:
        srcs: tensors, all in HBM or one in SBUF; as many on every rank.
        dsts: tensors of the same shapes and dtypes.
        replica_group: lists of ranks that take part together.
        op: `nl.add`, `nl.minimum` or `nl.maximum`; floats in fp32, rank by rank in the order of the list.
        priority: quality-of-service class 0 to 3 (trn3).
        name: the user's name for it.

    Raises:
        KernelError: operands that do not fit, or ranks that disagree.
        DeadlockError: a rank never calls it.
    """
    __tracebackhide__ = True
    api, function = "all_reduce", checks.reduction("all_reduce", op)
    operands = _operands(api, srcs, dsts, priority)
    for source, target in zip(*operands, strict=True):
        checks.shapes(api, source, target, source.shape, "source and target have the same shape")

    def compute(arrays: list[Any], target: NkiTensor) -> list[Any]:
        total = values.reduce(arrays, function, _stored(target))
        return [total] * len(arrays)

    _collective(api, operands, replica_group, compute, {"op": function}, name)


def all_gather(
    srcs: Sequence[NkiTensor],
    dsts: Sequence[NkiTensor],
    replica_group: ReplicaGroup,
    collective_dim: int,
    priority: int | None = None,
    name: str | None = None,
) -> None:
    """The sources of all ranks of a list behind each other along `collective_dim`, into every rank's targets.

    Args:
        srcs: tensors, all in HBM or one in SBUF.
        dsts: tensors, larger by the number of ranks in that dimension.
        replica_group: lists of ranks that take part together.
        collective_dim: 0; 1 too for a two-dimensional tensor in SBUF.
        priority: quality-of-service class 0 to 3 (trn3).
        name: the user's name for it.

    Raises:
        KernelError: operands that do not fit, or ranks that disagree.
        DeadlockError: a rank never calls it.
    """
    __tracebackhide__ = True
    api = "all_gather"
    operands = _operands(api, srcs, dsts, priority)
    count = len(ranks_of(current(), api, replica_group))
    for source, target in zip(*operands, strict=True):
        checks.dimension(api, collective_dim, source, columns=True)
        expected = [n * count if d == collective_dim else n for d, n in enumerate(source.shape)]
        rule = f"the target has {count} times the source's size in dimension {collective_dim}"
        checks.shapes(api, source, target, expected, rule)

    def compute(arrays: list[Any], _: NkiTensor) -> list[Any]:
        return [values.all_gather(arrays, collective_dim)] * len(arrays)

    _collective(api, operands, replica_group, compute, {"collective_dim": collective_dim}, name)


def reduce_scatter(
    srcs: Sequence[NkiTensor],
    dsts: Sequence[NkiTensor],
    replica_group: ReplicaGroup,
    collective_dim: int,
    op: Any,
    priority: int | None = None,
    name: str | None = None,
) -> None:
    """`op` over the sources of all ranks of a list; the n-th rank of it gets the n-th part along dimension 0.

    Args:
        srcs: tensors, all in HBM or one in SBUF.
        dsts: tensors, smaller by the number of ranks in dimension 0.
        replica_group: lists of ranks that take part together.
        collective_dim: 0.
        op: `nl.add`, `nl.minimum` or `nl.maximum`; floats in fp32, rank by rank in the order of the list.
        priority: quality-of-service class 0 to 3 (trn3).
        name: the user's name for it.

    Raises:
        KernelError: operands that do not fit, or ranks that disagree.
        DeadlockError: a rank never calls it.
    """
    __tracebackhide__ = True
    api, function = "reduce_scatter", checks.reduction("reduce_scatter", op)
    operands = _operands(api, srcs, dsts, priority)
    count = len(ranks_of(current(), api, replica_group))
    for source, target in zip(*operands, strict=True):
        checks.dimension(api, collective_dim, source)
        rule = f"the source has {count} times the target's size in dimension 0"
        checks.shapes(api, source, target, _part(source, count), rule)

    def compute(arrays: list[Any], target: NkiTensor) -> list[Any]:
        total = values.reduce(arrays, function, _stored(target))
        size = len(total) // len(arrays)
        return [total[rank * size : (rank + 1) * size] for rank in range(len(arrays))]

    alike = {"op": function, "collective_dim": collective_dim}
    _collective(api, operands, replica_group, compute, alike, name)


def all_to_all(
    srcs: Sequence[NkiTensor],
    dsts: Sequence[NkiTensor],
    replica_group: ReplicaGroup,
    collective_dim: int,
    priority: int | None = None,
    name: str | None = None,
) -> None:
    """The n-th part of every rank's source along dimension 0 goes to the n-th rank of the list, in the order of ranks.

    Args:
        srcs: tensors in HBM whose dimension 0 the number of ranks divides.
        dsts: tensors of the same shapes and dtypes.
        replica_group: lists of ranks that take part together.
        collective_dim: 0.
        priority: quality-of-service class 0 to 3 (trn3).
        name: the user's name for it.

    Raises:
        KernelError: operands that do not fit, or ranks that disagree.
        DeadlockError: a rank never calls it.
    """
    __tracebackhide__ = True
    api = "all_to_all"
    operands = _operands(api, srcs, dsts, priority, sbuf=False)
    count = len(ranks_of(current(), api, replica_group))
    for source, target in zip(*operands, strict=True):
        checks.dimension(api, collective_dim, source)
        expected = source.shape if _part(source, count) else None
        checks.shapes(api, source, target, expected, f"equal shapes, {count} divides dimension 0")

    def compute(arrays: list[Any], _: NkiTensor) -> list[Any]:
        return values.all_to_all(arrays)

    _collective(api, operands, replica_group, compute, {"collective_dim": collective_dim}, name)


def _part(source: NkiTensor, count: int) -> tuple[int, ...] | None:
    """Shape of the source divided along dimension 0, None where it cannot be."""
    first, *rest = source.shape
    return None if first % count else (first // count, *rest)


def _stored(target: NkiTensor) -> Any:
    """The dtype that a target is stored in: with precise=False the relaxed one."""
    return target.dtype.relaxed if target.storage.relaxed else target.dtype
