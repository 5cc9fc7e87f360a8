"""How far off a modelled body may be: the costs it is made of, and what the model assumes.

Costs: the uncertainty of each class, weighted by its share of the time. Structure: the error that launches show whose
single instructions are right, and the spread of the body over choices that measurements do not decide: the order of
loads and of independent instructions, which loads are left out, the engine of copies, and where the throttle's grid
lies when the launch begins.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from .costs import CLASSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nkilab.hardware import Hardware, Policy

    from .program import Floats

SMALL = 5000
"""Most instructions of a trace that is timed under other assumptions too; a longer one averages over the grid."""


def alternatives(hw: Hardware, policy: Policy, instructions: int) -> list[tuple[Hardware, Policy]]:
    """Other tables and policies under which a trace of that many instructions is timed for its range."""
    if instructions > SMALL:
        return []
    found = [(hw, dataclasses.replace(policy, loads="overtake"))] if policy.loads == "hoist" else []
    if policy.engine == "earliest":
        found.append((hw, dataclasses.replace(policy, engine="first")))
    if policy.order == "program":
        found.append((hw, dataclasses.replace(policy, order="ready")))
    if policy.repeats:
        found.append((hw, dataclasses.replace(policy, repeats=0.0)))
    if hw.throttle.enabled:
        moved = (hw.throttle.phase_ns + hw.throttle.window_ns / 2) % hw.throttle.window_ns
        found.append((hw.replace(**{"throttle.phase_ns": moved}), policy))
    return found


def body_range(bodies: Sequence[float], share: Floats, hw: Hardware) -> tuple[float, float]:
    """Lowest and highest body, from the bodies under each assumption and the share of each class in the time."""
    costs = float(share @ np.array([getattr(hw.uncertainty, name) for name in CLASSES]))
    spread = float(np.hypot(costs, hw.uncertainty.structure))
    return min(bodies) * (1 - spread), max(bodies) * (1 + spread)
