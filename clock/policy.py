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
            `overtake`, and loads whose tile is used more often are issued earlier, as far as SBUF has room.
        engine: where an instruction runs that several engines could run. `earliest`: a copy on VectorE or ScalarE,
            whichever finishes it first, the rest on the first that may; `first`: all on the first of VectorE, ScalarE,
            GpSimdE that may.
        window: most loads that a load is moved ahead of; keeps the pass near-linear.
        resident: share of SBUF for tensors that stay, where live ones do not fit; the rest is for the copies of those
            that come and go. With 0.75 the bytes of the measured blocked matmul of 4096 x 8192 x 8192 on trn2 come out
            2 % low (8.49 of 8.66 GB).
        apart: accesses further apart than this many instructions are different visits of a spilled tensor (a guess).
        lead: how many instructions ahead a tensor that finds no space may be written (a guess).

    Raises:
        UsageError: a value that is not one of these, or out of range.
    """

    queue: Queue = "compiler"
    loads: Loads = "hoist"
    engine: Engine = "earliest"
    window: int = 4096
    resident: float = 0.75
    apart: int = 32
    lead: int = 32

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(Policy).items():
            if get_args(kind) and getattr(self, name) not in get_args(kind):
                raise UsageError(
                    f"no such policy {name}={getattr(self, name)!r}", rule=f"one of {', '.join(get_args(kind))}"
                )
        if not 0.0 < self.resident <= 1.0 or min(self.window, self.apart, self.lead) < 0:
            raise UsageError("a policy's number is out of range", rule="0 < resident <= 1; window, apart, lead >= 0")
