"""How data moves between programs: all members call, stand still, the data moves, and each records its own row.

A collective on tensors in shared HBM is one operation of the logical NeuronCore: all cores of all ranks take part, and it
happens once where they name the same tensors. One on SBUF is between the same cores of the ranks.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..constants import MemoryRegion
from ..context import current
from ..errors import KernelError, user_location
from ..handle import NkiInstruction
from ..instruction import Instruction, issue
from ..layout import HBM
from ..team import Call, Place
from ..tensor import NkiTensor
from ..trace import Part


@dataclass(frozen=True, slots=True)
class Result:
    """What a rank gets into one target: an array of its shape, and which elements are written (all where `mask` is None)."""

    array: np.ndarray
    mask: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One program's part in an exchange.

    Attributes:
        api: the function.
        sources, targets: tensors read and written.
        alike: what has to be equal for all members, by name.
        group: the replica group, for reports.
        function: the reduction, for reports.
        extra: what only `move` looks at.
        sent: bytes of this program's data, None for all of `sources`.
    """

    api: str
    sources: tuple[NkiTensor, ...]
    targets: tuple[NkiTensor, ...]
    alike: Mapping[str, object]
    group: str
    function: str = ""
    extra: Any = None
    sent: int | None = None
    module: str = "nki.collectives"
    key: tuple[object, ...] = field(default=())

    def arrays(self) -> list[np.ndarray]:
        """Copies of the sources' elements."""
        return [np.array(tensor.storage.array(tensor.layout, tensor.byte)) for tensor in self.sources]

    def named(self) -> tuple[object, ...]:
        """The operands by their identity."""
        return tuple((t.storage.id, t.layout, t.byte) for t in (*self.targets, *self.sources))


Move = Callable[[Sequence[Request]], Sequence[Sequence[Result | None]]]
"""Requests in group order to the results for the targets of each; None leaves a target as it is."""


def exchange(request: Request, ranks: Sequence[int], move: Move, what: Instruction, name: str | None) -> NkiInstruction:
    """Take part in an exchange between the ranks, wait for the others, and record the instruction.

    Args:
        request: what this program asks for.
        ranks: all that take part, in the order in which `move` gets them.
        move: computes all results; called once for each set of operands, only where values are computed.
        what: description of the instruction; its operands are the targets, then the sources.
        name: the user's name for it.

    Raises:
        KernelError: the members disagree.
        DeadlockError: not all of them come.
    """
    __tracebackhide__ = True
    context = current()
    in_hbm = [t for t in (*request.targets, *request.sources) if t.layout.space == HBM]
    joint = bool(in_hbm) and all(t.buffer is MemoryRegion.shared_hbm for t in in_hbm)
    cores = range(context.cores) if joint else (context.core,)
    members = tuple((rank, core) for rank in ranks for core in cores)

    def lanes(calls: Mapping[Place, Call]) -> list[list[Call]]:
        return [[calls[rank, core] for rank in ranks] for core in _lanes(calls)]

    return meet(request, members, lanes, move, (what, (request.function,)), name)


def meet(
    request: Request,
    members: tuple[Place, ...],
    lanes: Callable[[Mapping[Place, Call]], Sequence[Sequence[Call]]],
    move: Move,
    what: tuple[Instruction, tuple[Any, ...]],
    name: str | None,
) -> NkiInstruction:
    """Wait for all members, move the data of each lane, and record the instruction `what` with its options."""
    __tracebackhide__ = True
    context = current()
    call = Call(context, user_location(inspect.currentframe()), request)

    def fire(calls: Mapping[Place, Call]) -> None:
        _agree(calls)
        for lane in lanes(calls):
            _happen(lane, move)

    meeting = context.team.meet(f"{request.module}.{request.api}", context, call, members, request.key, fire)
    handle = issue(what[0], (*request.targets, *request.sources), what[1], name=name)
    sent = sum(_bytes(t) for t in request.sources) if request.sent is None else request.sent
    received = sum(_bytes(t) for t in request.targets)
    place = (meeting.number, context.rank, context.core, handle.row)
    context.team.parts.append(Part(*place, request.api, request.function, request.group, sent, received))
    return handle


def _bytes(tensor: NkiTensor) -> int:
    return int(tensor.size * tensor.layout.itemsize)


def _agree(calls: Mapping[Place, Call]) -> None:
    """All members ask for the same."""
    (first_place, first), *others = calls.items()
    for place, call in others:
        for key, value in first.what.alike.items():
            theirs = call.what.alike.get(key)
            if theirs != value:
                raise KernelError(
                    "argument",
                    f"{call.what.module}.{call.what.api}: the programs disagree on {key}",
                    values=f"{_shown(first_place)} at {first.where}: {value}; {_shown(place)} at {call.where}: {theirs}",
                    rule=f"all members call with the same {key}",
                    source=f"{call.what.module}.{call.what.api}",
                    where=call.where,
                )


def _shown(place: Place) -> str:
    return f"rank {place[0]} core {place[1]}"


def _lanes(calls: Mapping[Place, Call]) -> list[int]:
    """Cores whose operands are other tensors than those of the cores before: each moves its own data."""
    ranks, cores = {rank for rank, _ in calls}, sorted({core for _, core in calls})
    known: set[tuple[object, ...]] = set()
    lanes: list[int] = []
    for core in cores:
        named = tuple(calls[rank, core].what.named() for rank in sorted(ranks))
        if named not in known:
            known.add(named)
            lanes.append(core)
    return lanes


def _happen(calls: Sequence[Call], move: Move) -> None:
    """Move the data of one lane, and note what was written."""
    if not calls[0].context.values:
        for call in calls:
            for target in call.what.targets:
                target.storage.mark(target.layout, target.byte)
        return
    for call, results in zip(calls, move([call.what for call in calls]), strict=True):
        for target, result in zip(call.what.targets, results, strict=True):
            if result is not None:
                write(target, result)


def write(target: NkiTensor, result: Result) -> None:
    """Store a result and mark what it wrote."""
    storage = target.storage
    array = storage.overwrite(target.layout, target.byte, partly=result.mask is not None)
    if result.mask is None:
        array[...] = result.array.reshape(array.shape)
        storage.mark(target.layout, target.byte)
        return
    mask = result.mask.reshape(array.shape)
    np.copyto(array, result.array.reshape(array.shape), where=mask)
    storage.mark_mask(target.layout, target.byte, mask)
