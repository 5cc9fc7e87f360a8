"""What the vendor's compiler decides and a trace does not say: explicit, switchable choices."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from math import inf
from typing import Any, Literal, get_args, get_type_hints

from nkilab.errors import UsageError

Queue = Literal["compiler", "gpsimd", "sync", "scalar"]
Loads = Literal["hoist", "overtake", "program"]
Engine = Literal["earliest", "first"]
Order = Literal["program", "ready"]


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
        order: the order of instructions. `program`: as the kernel has them, but for loads. `ready`: of the next 60, each engine
            takes the one that can start first, as far as memory has room.
        window: most loads that a load is moved ahead of; keeps the pass near-linear.
        reserved: bytes of a partition of SBUF that the compiler keeps from tensors without an address (a guess: a
            measured matmul that fills trn1's SBUF to 16 KiB does not spill, one that fills all of trn2's does).
        apart: accesses further apart than this many instructions are different visits of a spilled tensor (a guess); half as
            many, and so on, where tensors stay without a place.
        lead: how many instructions ahead the copy of a spilled tensor is loaded, and a tensor that finds no space may
            be written (a guess: about a DMA's latency while bf16 matmuls run; 8 to 14 bring the bytes of both measured
            matmuls that spill within 5 %).
        repeats: share of SBUF that loads may fill between two loads of the same data, for the compiler to do the second
            no more and use the first one's tile again, once. 0: it loads what the source asks for. One measured matmul
            shows it at 0.18, others do not at 0.42 and above: 0.25 gives each of these its bytes.

    Raises:
        UsageError: a value that is not one of these, of another type, or below zero.
    """

    queue: Queue = "compiler"
    loads: Loads = "hoist"
    engine: Engine = "earliest"
    order: Order = "program"
    window: int = 4096
    reserved: int = 16384
    apart: int = 32
    lead: int = 12
    repeats: float = 0.25

    def __post_init__(self) -> None:
        """Check every field."""
        for name, kind in get_type_hints(Policy).items():
            value, allowed = getattr(self, name), get_args(kind)
            if allowed and value not in allowed:
                raise UsageError(f"no such policy {name}={value!r}", rule=f"one of {', '.join(allowed)}")
            number = (int,) if kind is int else (int, float)
            if not allowed and (type(value) not in number or not 0 <= value < inf):
                raise UsageError(f"policy {name}={value!r}", rule=f"a number of type {kind.__name__}, 0 or more")

    def replace(self, **changes: object) -> Policy:
        """Another policy with some choices changed.

        Raises:
            UsageError: an unknown name (with the nearest known one), or a value that it may not have.
        """
        known = [field.name for field in fields(self)]
        for name in changes:
            if name not in known:
                near = get_close_matches(name, known, n=1, cutoff=0.4)
                fix = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(known)}"
                raise UsageError(f"no policy named {name!r}", fix=fix)
        return replace(self, **changes)  # type: ignore[arg-type]

    def changes(self) -> dict[str, Any]:
        """The choices that differ from the defaults."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
