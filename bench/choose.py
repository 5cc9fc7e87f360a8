"""Backends by name."""

from __future__ import annotations

import shutil
from pathlib import Path

from nkilab.bench.backend import Backend
from nkilab.bench.point import Settings
from nkilab.case import Case
from nkilab.errors import NkilabError, UsageError
from nkilab.hardware import Hardware
from nkilab.hardware import load as load_hardware
from nkilab.suggest import fix_for

NAMES = ("sim", "trn", "vendor-sim", "torch")
_DEVICE = Path("/dev/neuron0")


class OneRankError(NkilabError):
    """A case for several ranks on a backend that has one."""

    code = "one-rank-only"


def resolve(name: str) -> str:
    """The backend that a name means: `auto` is trn where there is a Neuron device and a tool to capture, else sim.

    Raises:
        UsageError: no such backend.
    """
    if name == "auto":
        return "trn" if _DEVICE.exists() and shutil.which("neuron-explorer") else "sim"
    if name not in NAMES:
        raise UsageError(f"there is no backend {name!r}", fix=fix_for(name, (*NAMES, "auto")))
    return name


def backend_of(settings: Settings, case: Case) -> Backend:
    """The backend of the settings.

    Raises:
        UsageError: as `resolve`, or its Python or function is missing.
        OneRankError: the case runs on several ranks and the backend on one.
    """
    if case.ranks > 1 and settings.backend != "sim":
        raise OneRankError(
            f"{case.name} runs on {case.ranks} ranks, the backend {settings.backend} on one",
            fix="--backend sim, or --axis ranks=1",
        )
    if settings.backend == "sim":
        from nkilab.bench.sim_backend import SimBackend
        from nkilab.simulator import Sim

        hw = hardware_of(settings)
        return SimBackend(Sim(target=hw.name, hardware=hw, nki=settings.nki, seed=settings.seed), settings.timeout_s)
    if settings.backend == "torch":
        from nkilab.bench.torch_backend import torch_backend

        return torch_backend(case, settings)
    if settings.backend == "vendor-sim":
        from nkilab.bench.trn_backend import VendorSimBackend

        return VendorSimBackend(settings)
    if settings.backend == "trn":
        from nkilab.bench.trn_backend import TrnBackend

        return TrnBackend(settings)
    raise UsageError(f"there is no backend {settings.backend!r}", fix=fix_for(settings.backend, NAMES))


def hardware_of(settings: Settings) -> Hardware:
    """The hardware table of the settings. Raises UsageError for an unknown target or number."""
    from nkilab.simulator.sim import default_target

    table = load_hardware(settings.target or default_target())
    return table.replace(**settings.changes) if settings.changes else table
