"""The options of a simulation."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal

from nkilab.errors import UsageError
from nkilab.hardware import ALIASES, NAMES, Hardware, Policy, load

TARGET_VARIABLE = "NEURON_PLATFORM_TARGET_OVERRIDE"
PRECISE_VARIABLE = "NKI_PRECISE_FP"
LEVELS = ("0.6", "0.7")
_ON_FINDING = ("raise", "collect")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sim:
    """How a kernel is simulated. Checked when made; `UsageError` says what is wrong.

    Args:
        target: generation: `trn1`, `trn2`, `trn3` or an alias (`inf2`, `gen2` to `gen4`). None takes
            NEURON_PLATFORM_TARGET_OVERRIDE, else `trn2`; the Execution's `sim` says which it was.
        ranks: simulated devices that run the kernel at once, for `nki.collectives`.
        values: compute results. False runs every check of shapes, dtypes, buffers and limits and records the trace,
            but moves no data: outputs are then uninitialised, and checks that need values are skipped.
        precise: store narrow dtypes in their own width and round to them (NKI_PRECISE_FP=1, the vendor's default).
            False keeps low-precision floats in fp32, to tell errors of logic from rounding.
        seed: start of the random instructions (`nisa.rng`, `nisa.dropout`, `nl.rand` …) of every rank and core.
        hardware: table of capacities and limits to use in place of the target's own.
        on_finding: `raise` raises FindingsError at the end if there is any finding; `collect` returns them.
        nki: release of the NKI API to simulate: `0.6` or `0.7`.
        policy: what the vendor's compiler decides and a kernel does not say, for the clock.
    """

    target: str | None = None
    ranks: int = 1
    values: bool = True
    precise: bool = True
    seed: int = 0
    hardware: Hardware | None = None
    on_finding: Literal["raise", "collect"] = "raise"
    nki: str = "0.7"
    policy: Policy = Policy()  # noqa: RUF009 frozen

    def __post_init__(self) -> None:
        """Check every field."""
        if self.target is not None:
            _known_target(self.target, "Sim(target=…)")
        _one_of("nki", self.nki, LEVELS)
        _one_of("on_finding", self.on_finding, _ON_FINDING)
        for name in ("values", "precise"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"Sim({name}={getattr(self, name)!r})", rule=f"{name} must be True or False")
        for name, least in (("ranks", 1), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UsageError(f"Sim({name}={value!r})", rule=f"{name} must be an int of at least {least}")
        if not isinstance(self.policy, Policy):
            raise UsageError(
                f"Sim(policy=…) got a {type(self.policy).__name__}", rule="policy must be an nkilab.Policy"
            )
        if self.hardware is not None and not isinstance(self.hardware, Hardware):
            raise UsageError(
                f"Sim(hardware=…) got a {type(self.hardware).__name__}",
                rule="hardware must be a table made by nkilab.hardware.load(…)",
            )

    def resolved(self) -> Sim:
        """The same Sim with `target` and `hardware` filled in."""
        hardware = self.hardware
        if hardware is None:
            hardware = load(self.target or default_target())
        elif self.target is not None and load(self.target).name != hardware.name:
            raise UsageError(
                f"Sim(target={self.target!r}, hardware=<{hardware.name} table>)",
                rule="the target and the hardware table must be the same generation",
            )
        return replace(self, target=hardware.name, hardware=hardware)


def default_target() -> str:
    """The target where none is given: NEURON_PLATFORM_TARGET_OVERRIDE, else trn2 (the vendor's default is trn3)."""
    named = os.environ.get(TARGET_VARIABLE)
    return _known_target(named, TARGET_VARIABLE) if named else "trn2"


def default_sim() -> Sim:
    """The Sim of a direct call of a kernel: NKI_PRECISE_FP as the vendor documents it, findings raised."""
    return Sim(precise=os.environ.get(PRECISE_VARIABLE, "1") != "0")


def _known_target(name: str, where: str) -> str:
    known = (*NAMES, *ALIASES)
    if name in known:
        return name
    near = get_close_matches(str(name), known, n=1)
    fix = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(known)}"
    raise UsageError(f"{where}: unknown target {name!r}", rule=f"targets are {', '.join(known)}", fix=fix)


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"Sim({name}={value!r})", rule=f"{name} must be one of {', '.join(map(repr, allowed))}")
