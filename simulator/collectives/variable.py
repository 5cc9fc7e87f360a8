"""Collectives whose sizes are known only when they run: `all_to_all_v`, `all_gather_v`, and their two halves.

Tensors count as flat buffers of elements. `metadata_tensor` (uint32) holds a row each of send counts, send
displacements, receive counts (written) and, where `has_rdispls`, receive displacements.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nkilab.errors import Location

from ..context import current
from ..errors import user_location
from ..handle import NkiInstruction
from ..instruction import issue
from ..layout import HBM, SBUF
from ..levels import added
from ..tensor import NkiTensor
from . import checks
from .exchange import Request, Result, exchange
from .groups import ReplicaGroup, ranks_of

_GATHER_RANKS = 4
_COUNTS, _DISPLACEMENTS, _RECEIVED, _PLACES = range(4)


@dataclass(frozen=True, slots=True)
class Transfer:
    """A checked call, with the metadata as read; None where values are not computed."""

    api: str
    source: NkiTensor
    target: NkiTensor
    metadata: NkiTensor
    group: ReplicaGroup
    ranks: tuple[int, ...]
    known: bool
    placed: bool
    numbers: np.ndarray | None
    where: Location | None


class Prepared(NkiInstruction):
    """What a prepare returns: its trigger takes it."""

    __slots__ = ("transfer",)
    transfer: Transfer


def all_to_all_v(
    srcs: Sequence[NkiTensor],
    dsts: Sequence[NkiTensor],
    replica_group: ReplicaGroup,
    metadata_tensor: NkiTensor,
    recv_counts_known: bool = False,
    has_rdispls: bool = False,
    priority: int | None = None,
    name: str | None = None,
) -> NkiInstruction:
    """Every rank sends `send_counts[r]` elements from `send_displs[r]` on to the r-th rank of the list.

    What comes from the r-th rank is written at `recv_displs[r]`, without these at r equal parts of the target.

    Args:
        srcs: one tensor in HBM.
        dsts: one tensor in HBM of the same dtype.
        replica_group: lists of ranks that take part together.
        metadata_tensor: uint32, (rows, ranks) in HBM or (1, rows, ranks) in SBUF; rows is 4 with `has_rdispls`, else 3.
        recv_counts_known: leave row 2 alone; otherwise it gets the counts received.
        has_rdispls: row 3 holds where to write (NeuronSwitch instances: trn3).
        priority: quality-of-service class 0 to 3 (trn3).
        name: the user's name for it.

    Raises:
        KernelError: operands that do not fit, elements outside of a tensor, or ranks that disagree.
        DeadlockError: a rank never calls it.
    """
    __tracebackhide__ = True
    given = (srcs, dsts, replica_group, metadata_tensor, recv_counts_known, has_rdispls, priority)
    return _exchanged(_transfer("all_to_all_v", *given), "all_to_all_v", name, reads=True)


def all_gather_v(
    srcs: Sequence[NkiTensor],
    dsts: Sequence[NkiTensor],
    replica_group: ReplicaGroup,
    metadata_tensor: NkiTensor,
    recv_counts_known: bool = False,
    has_rdispls: bool = False,
    priority: int | None = None,
    name: str | None = None,
) -> NkiInstruction:
    """Every rank sends one chunk to all ranks of the list: `send_count` elements from `send_displ` on (column 0).

    The chunk of the r-th rank is written at the start of the r-th of equal parts of the target. Only on LNC=2, with four
    ranks in each list, and without `has_rdispls`. Arguments as `all_to_all_v`.

    Raises:
        KernelError: operands that do not fit, elements outside of a tensor, or ranks that disagree.
        DeadlockError: a rank never calls it.
    """
    __tracebackhide__ = True
    given = (srcs, dsts, replica_group, metadata_tensor, recv_counts_known, has_rdispls, priority)
    return _exchanged(_transfer("all_gather_v", *given), "all_gather_v", name, reads=True)


@added("nki.collectives.all_to_all_v_prepare")
def all_to_all_v_prepare(
    srcs: Sequence[NkiTensor],
    dsts: Sequence[NkiTensor],
    replica_group: ReplicaGroup,
    metadata_tensor: NkiTensor,
    recv_counts_known: bool = False,
    has_rdispls: bool = False,
    priority: int | None = None,
    name: str | None = None,
) -> NkiInstruction:
    """The first half of `all_to_all_v`: reads the metadata; `all_to_all_v_trigger` moves the data.

    Raises:
        KernelError: as `all_to_all_v`, or another prepare waits for its trigger.
    """
    __tracebackhide__ = True
    given = (srcs, dsts, replica_group, metadata_tensor, recv_counts_known, has_rdispls, priority)
    return _prepare(_transfer("all_to_all_v", *given), name)


@added("nki.collectives.all_gather_v_prepare")
def all_gather_v_prepare(
    srcs: Sequence[NkiTensor],
    dsts: Sequence[NkiTensor],
    replica_group: ReplicaGroup,
    metadata_tensor: NkiTensor,
    recv_counts_known: bool = False,
    has_rdispls: bool = False,
    priority: int | None = None,
    name: str | None = None,
) -> NkiInstruction:
    """The first half of `all_gather_v`: reads the metadata; `all_gather_v_trigger` moves the data.

    Raises:
        KernelError: as `all_gather_v`, or another prepare waits for its trigger.
    """
    __tracebackhide__ = True
    given = (srcs, dsts, replica_group, metadata_tensor, recv_counts_known, has_rdispls, priority)
    return _prepare(_transfer("all_gather_v", *given), name)


@added("nki.collectives.all_to_all_v_trigger")
def all_to_all_v_trigger(prepare_instr: NkiInstruction, name: str | None = None) -> NkiInstruction:
    """Move the data of an `all_to_all_v_prepare`.

    Raises:
        KernelError: not what the last prepare returned.
        DeadlockError: a rank never triggers.
    """
    __tracebackhide__ = True
    return _trigger("all_to_all_v", prepare_instr, name)


@added("nki.collectives.all_gather_v_trigger")
def all_gather_v_trigger(prepare_instr: NkiInstruction, name: str | None = None) -> NkiInstruction:
    """Move the data of an `all_gather_v_prepare`.

    Raises:
        KernelError: not what the last prepare returned.
        DeadlockError: a rank never triggers.
    """
    __tracebackhide__ = True
    return _trigger("all_gather_v", prepare_instr, name)


def _transfer(
    api: str, srcs: Any, dsts: Any, group: Any, metadata: Any, known: bool, placed: bool, priority: Any
) -> Transfer:
    """Check a call and read its metadata."""
    context = current()
    sources, targets = checks.tensors(context, api, "srcs", srcs), checks.tensors(context, api, "dsts", dsts)
    checks.places(api, sources, targets, sbuf=False)
    checks.one_each(api, sources, targets)
    checks.priority(context, api, priority)
    ranks = ranks_of(context, api, group)
    if api == "all_gather_v":
        checks.shared(api, context, (*sources, *targets))
        if len(ranks) != _GATHER_RANKS or placed:
            checks.refuse(
                api,
                "argument",
                f"a list of {len(ranks)} ranks, has_rdispls={placed}",
                rule=f"exactly {_GATHER_RANKS} ranks in each list; has_rdispls=True is not supported",
            )
    elif placed and context.generation < 4:
        checks.refuse(api, "target", "has_rdispls=True", rule="only on NeuronSwitch instances (trn3)")
    rows = 4 if placed else 3
    _check_metadata(api, metadata, rows, len(ranks))
    numbers = None
    if context.values:
        stored = metadata.storage.array(metadata.layout, metadata.byte)
        numbers = stored.reshape(-1, len(ranks)).astype(np.int64)
    where = user_location(inspect.currentframe())
    return Transfer(api, sources[0], targets[0], metadata, group, ranks, known, placed, numbers, where)


def _check_metadata(api: str, metadata: Any, rows: int, ranks: int) -> None:
    allowed: tuple[tuple[int, ...], ...] = ()
    if isinstance(metadata, NkiTensor):
        more = (3, 4) if rows == 3 else (4,)
        allowed = tuple((n, ranks) if metadata.layout.space == HBM else (1, n, ranks) for n in more)
    if (
        not isinstance(metadata, NkiTensor)
        or metadata.layout.space not in (HBM, SBUF)
        or metadata.dtype != "uint32"
        or metadata.shape not in allowed
        or metadata.layout.holes
    ):
        checks.refuse(
            api,
            "argument",
            f"metadata_tensor={metadata!r}",
            rule=f"contiguous uint32, ({rows}, {ranks}) in HBM or (1, {rows}, {ranks}) in SBUF",
        )


def _row(metadata: NkiTensor, first: int, stop: int) -> NkiTensor:
    return metadata[first:stop] if metadata.layout.space == HBM else metadata[:, first:stop]


def _inputs(transfer: Transfer) -> list[NkiTensor]:
    """The parts of the metadata that are read."""
    read = _row(transfer.metadata, _COUNTS, _RECEIVED)
    if transfer.api == "all_gather_v":
        read = read[:, 0:1] if transfer.metadata.layout.space == HBM else read[:, :, 0:1]
    return [read, _row(transfer.metadata, _PLACES, _PLACES + 1)] if transfer.placed else [read]


def _prepare(transfer: Transfer, name: str | None) -> Prepared:
    __tracebackhide__ = True
    context = current()
    if context.prepared is not None:
        checks.refuse(
            f"{transfer.api}_prepare",
            "argument",
            "another prepare waits for its trigger",
            values=f"{context.prepared.api}_prepare at {context.prepared.where}",
            rule="no other prepare between a prepare and its trigger",
            fix="trigger the first one before this",
        )
    read = _inputs(transfer)
    what = checks.description(f"{transfer.api}_prepare", 0, len(read))
    handle = Prepared(issue(what, tuple(read), ("",), name=name).row)
    handle.name = name
    handle.transfer = context.prepared = transfer
    return handle


def _trigger(api: str, prepared: Any, name: str | None) -> NkiInstruction:
    __tracebackhide__ = True
    context = current()
    if not isinstance(prepared, Prepared) or prepared.transfer.api != api or context.prepared is not prepared.transfer:
        checks.refuse(
            f"{api}_trigger",
            "argument",
            f"prepare_instr={prepared!r}",
            rule=f"what the last {api}_prepare returned, which is triggered exactly once",
            source=f"nki.collectives.{api}_trigger",
        )
    context.prepared = None
    return _exchanged(prepared.transfer, f"{api}_trigger", name, reads=False)


def _exchanged(transfer: Transfer, api: str, name: str | None, *, reads: bool) -> NkiInstruction:
    """Exchange, and record it; the metadata is an operand too."""
    __tracebackhide__ = True
    targets = (transfer.target, *(() if transfer.known else (_row(transfer.metadata, _RECEIVED, _RECEIVED + 1),)))
    sources = (transfer.source, *(_inputs(transfer) if reads else ()))
    alike = {
        "replica_group": repr(transfer.group),
        "dtype": transfer.source.dtype,
        "has_rdispls": transfer.placed,
        "recv_counts_known": transfer.known,
    }
    sent = None
    if transfer.numbers is not None:
        counts = transfer.numbers[_COUNTS]
        elements = int(counts.sum()) if transfer.api == "all_to_all_v" else int(counts[0]) * len(transfer.ranks)
        sent = elements * transfer.source.layout.itemsize
    request = Request(api, sources, targets, alike, repr(transfer.group), extra=transfer, sent=sent)
    return exchange(request, transfer.ranks, _move, checks.description(api, len(targets), len(sources)), name)


def _move(requests: Sequence[Request]) -> list[list[Result | None]]:
    transfers: list[Transfer] = [request.extra for request in requests]
    flat = [request.arrays()[0].reshape(-1) for request in requests]
    return [_received(transfers, flat, rank) for rank in range(len(transfers))]


def _received(transfers: list[Transfer], flat: list[np.ndarray], rank: int) -> list[Result | None]:
    """What one rank gets: its target with the chunks of all others, and the counts received."""
    mine = transfers[rank]
    target = mine.target
    array = np.array(target.storage.array(target.layout, target.byte)).reshape(-1)
    mask = np.zeros(array.size, np.bool_)
    part = array.size // len(transfers)
    counts = np.zeros(len(transfers), np.uint32)
    for sender, transfer in enumerate(transfers):
        count, start = _chunk(transfer, rank)
        place = part * sender
        room = part
        if mine.placed and mine.numbers is not None:
            place = int(mine.numbers[_PLACES][sender])
            room = array.size - place
        _inside(transfer, count, start, flat[sender].size, "the source")
        _inside(mine, count, 0, room, f"the room for rank {mine.ranks[sender]}'s chunk")
        array[place : place + count] = flat[sender][start : start + count]
        mask[place : place + count] = True
        counts[sender] = count
    received = [] if mine.known else [Result(counts)]
    return [Result(array, mask), *received]


def _chunk(transfer: Transfer, rank: int) -> tuple[int, int]:
    """Elements that a sender has for the rank, and where they begin in its source."""
    if transfer.numbers is None:
        return 0, 0
    column = rank if transfer.api == "all_to_all_v" else 0
    return int(transfer.numbers[_COUNTS][column]), int(transfer.numbers[_DISPLACEMENTS][column])


def _inside(transfer: Transfer, count: int, start: int, size: int, what: str) -> None:
    if start + count > size:
        checks.refuse(
            transfer.api,
            "bounds",
            f"{count} elements from {start} on leave {what} of {size}",
            rule="counts and displacements of the metadata stay inside the tensors",
            where=transfer.where,
        )
