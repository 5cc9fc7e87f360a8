"""Which ranks take part in a collective together."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

from ..context import Context
from ..errors import KernelError
from ..tensor import NKIObject


class rg_partition_op(Enum):  # noqa: N801 (the class has the vendor's name)
    """How `ReplicaGroup.from_partition_op` divides the ranks: those with an equal result form a list."""

    bitwise_and = "bitwise_and"
    div = "div"
    mod = "mod"


class ReplicaGroup(NKIObject):
    """Lists of ranks; each list takes part in a collective by itself, in the order of the list.

    `groups` is a sequence of sequences of ranks without overlap.
    """

    def __init__(self, groups: Sequence[Sequence[int]]) -> None:
        """Keep the lists.

        Raises:
            KernelError: a rank is in two lists, or a list is empty.
        """
        self.groups = tuple(tuple(int(rank) for rank in group) for group in groups)
        ranks = [rank for group in self.groups for rank in group]
        if not self.groups or not all(self.groups) or len(set(ranks)) != len(ranks) or min(ranks) < 0:
            raise KernelError(
                "argument",
                f"ReplicaGroup({[list(group) for group in self.groups]})",
                rule="lists of ranks that do not overlap",
                source="nki.collectives.ReplicaGroup",
            )

    @staticmethod
    def from_partition_op(world_size: int, op: rg_partition_op, operand: int) -> ReplicaGroup:
        """Divide ranks 0 to `world_size` - 1: those with an equal `op(rank, operand)` form a list (API 0.7).

        Raises:
            KernelError: no such `op`, or an operand of 0 where it divides.
        """
        if not isinstance(op, rg_partition_op) or (operand < 1 and op is not rg_partition_op.bitwise_and):
            raise KernelError(
                "argument",
                f"ReplicaGroup.from_partition_op({world_size}, {op!r}, {operand})",
                rule="op is an rg_partition_op; div and mod need an operand of at least 1",
                source="nki.collectives.ReplicaGroup",
            )
        lists: dict[int, list[int]] = {}
        for rank in range(world_size):
            part = {
                rg_partition_op.bitwise_and: rank & operand,
                rg_partition_op.div: rank // max(operand, 1),
                rg_partition_op.mod: rank % max(operand, 1),
            }[op]
            lists.setdefault(part, []).append(rank)
        return ReplicaGroup(list(lists.values()))

    def __repr__(self) -> str:
        return str([list(group) for group in self.groups])


def ranks_of(context: Context, api: str, group: Any) -> tuple[int, ...]:
    """The list of a replica group that the running program's rank is in.

    Raises:
        KernelError: not a ReplicaGroup, ranks that are not simulated, or no list with this rank.
    """
    if not isinstance(group, ReplicaGroup):
        raise KernelError(
            "argument",
            f"nki.collectives.{api}: replica_group={group!r}",
            rule="replica_group is a nki.collectives.ReplicaGroup",
            fix="ReplicaGroup([[0, 1, …]])",
        )
    known = context.sim.ranks
    most = max(rank for ranks in group.groups for rank in ranks)
    if most >= known:
        raise KernelError(
            "argument",
            f"nki.collectives.{api}: rank {most} of the replica group {group!r} is not simulated",
            rule=f"this simulation has ranks 0 to {known - 1}",
            fix=f"simulate with Sim(ranks={most + 1})",
        )
    mine = next((ranks for ranks in group.groups if context.rank in ranks), None)
    if mine is None:
        raise KernelError(
            "argument",
            f"nki.collectives.{api}: rank {context.rank} calls with the replica group {group!r}",
            rule="the calling rank is in one of the lists",
            source=f"nki.collectives.{api}",
        )
    return mine
