"""What the vendor's compiler decides and a trace does not say: explicit, switchable choices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

from nkilab.errors import UsageError

Queue = Literal["compiler", "gpsimd", "sync", "scalar"]
Loads = Literal["hoist", "overtake", "program"]
Engine = Literal["earliest", "first"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The compiler's choices.

    Attributes:
        queue: the stream that issues a DMA whose kernel does not say. `compiler`: kernel inputs and outputs through
            GpSimd (software descriptors), other HBM tensors through Sync (loads) and Scalar (stores), constants through
            Sync, as device profiles show; or all of them through one stream.
        loads: the order of loads. `program`: one in-order stream, so that a store that waits for its data holds back
            the loads behind it (measured matmuls contradict this). `overtake`: loads pass stores that wait. `hoist`: as
            `overtake`, and loads whose tile is used more often are issued earlier, ahead of loads that are no smaller, as far as
            SBUF has room.
        engine: where an instruction runs that several engines could run. `earliest`: a copy on VectorE or ScalarE,
            whichever finishes it first, the rest on the first that may; `first`: all on the first of VectorE, ScalarE,
            GpSimdE that may.
        window: most loads that a load is moved ahead of; keeps the pass near-linear.
        reserved: bytes of a partition of SBUF that the compiler keeps from tensors without an address (a guess: a
            measured matmul that fills trn1's SBUF to 16 KiB does not spill, one that fills all of trn2's does).
        apart: accesses further apart than this many instructions are different visits of a spilled tensor (a guess).
        lead: how many instructions ahead the copy of a spilled tensor is loaded, and a tensor that finds no space may
            be written (a guess: about a DMA's latency while bf16 matmuls run; 8 to 14 bring the bytes of both measured
            matmuls that spill within 5 %).

    Raises:
        UsageError: a value that is not one of these, or out of range.
    """

    queue: Queue = "compiler"
    loads: Loads = "hoist"
    engine: Engine = "earliest"
    window: int = 4096
    reserved: int = 16384
    apart: int = 32
    lead: int = 12

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(Policy).items():
            if get_args(kind) and getattr(self, name) not in get_args(kind):
                raise UsageError(
                    f"no such policy {name}={getattr(self, name)!r}", rule=f"one of {', '.join(get_args(kind))}"
                )
        if min(self.window, self.reserved, self.apart, self.lead) < 0:
            raise UsageError("a policy's number is out of range", rule="window, reserved, apart, lead >= 0")
