"""What an allocation in the body of a device's loop is: the same tensor in every iteration.

Such a loop is compiled once: "tensors allocated inside the loop body are allocated once and reused across iterations"
(NKI Dynamic Loops, Register Allocation Implications). So each iteration has the values of fresh, uninitialised tensors,
but the trace has one tensor, and the clock lets an iteration overwrite it only when the one before is done with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .trace import TensorRow


@dataclass(slots=True, eq=False)
class Body:
    """The body of a loop that runs: rows of the trace's tensors in the order of its allocations, and the next one."""

    tensors: list[int] = field(default_factory=list)
    position: int = 0

    def start(self) -> None:
        """Begin an iteration."""
        self.position = 0


@contextmanager
def looping(bodies: list[Body]) -> Iterator[Body]:
    """A loop inside those of `bodies`."""
    body = Body()
    bodies.append(body)
    try:
        yield body
    finally:
        bodies.remove(body)


def tensor_row(bodies: list[Body], tensors: list[TensorRow], row: TensorRow) -> int:
    """The row of an allocation in the trace: a new one, or that of the same allocation of an earlier iteration."""
    if not bodies:
        tensors.append(row)
        return len(tensors) - 1
    body = bodies[-1]
    place = body.position
    body.position += 1
    if place < len(body.tensors) and tensors[body.tensors[place]] == row:
        return body.tensors[place]
    found = tensor_row(bodies[:-1], tensors, row)
    body.tensors[place : place + 1] = [found]
    return found
