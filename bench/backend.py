"""The protocol that every backend speaks, and the plain data that passes over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from nkilab.case import Case

Kind = Literal["modelled", "measured", "wall"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One execution of a kernel for its values.

    Attributes:
        outputs: what the kernel returned, NumPy arrays.
        inputs: the inputs as they were afterwards, in the order of the case's inputs; None where the backend cannot see.
        findings: findings of the simulator's checks, as mappings; empty for other backends.
    """

    outputs: Any
    inputs: tuple[Any, ...] | None = None
    findings: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One or more times of a kernel. Microseconds.

    Attributes:
        times_us: from launch to completion, as a profile's `total_time` counts it, in order.
        kind: `modelled` by a clock, `measured` on the device, or `wall` time of the host.
        route: what gave the times: clock, neuron-explorer, nrtpy, spike, torch.
        body_us: modelled time of the kernel's own instructions.
        range_us: low and high of a modelled total.
        confidence: share of modelled engine time by how well its cost is known.
        hbm_bytes: bytes moved to and from HBM; None where unknown.
        output_bytes: size of what the kernel returned; None where unknown.
        outputs: what the timed runs returned, where the backend has it.
        facts: what the device's profile says of machine and versions.
        findings: as in `Outcome`.
        artifacts: files that the times come from, by what they are.
        profile: the run or profile behind the times, to be saved; None where there is none.
        notes: what a reader of the times should know.
    """

    times_us: tuple[float, ...]
    kind: Kind
    route: str
    body_us: float | None = None
    range_us: tuple[float, float] | None = None
    confidence: Mapping[str, float] | None = None
    hbm_bytes: int | None = None
    output_bytes: int | None = None
    outputs: Any = None
    facts: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Mapping[str, Any], ...] = ()
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    profile: Any = None
    notes: tuple[str, ...] = ()


class Backend(Protocol):
    """Where a kernel runs and is timed.

    Attributes:
        name: as `--backend` spells it.
        deterministic: the same kernel and inputs give the same time, so that one is enough.
        times: whether it can time at all; the vendor's simulator cannot.
    """

    name: str
    deterministic: bool
    times: bool

    def execute(self, case: Case, inputs: Sequence[Sequence[Any]]) -> Sequence[Outcome]:
        """Run the kernel once for each set of inputs. Inputs may be written to: pass copies."""
        ...

    def time(self, case: Case, inputs: Sequence[Any], count: int) -> Timing:
        """Time the kernel at least `count` times after a warm-up; a deterministic backend times once."""
        ...
