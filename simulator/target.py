"""Which NeuronCore a kernel is running on."""

from __future__ import annotations

from nkilab.hardware import load

from .constants import nc_version
from .context import running
from .sim import default_target


def get_nc_version() -> nc_version:
    """Generation of the target: of the running kernel, else the default target's."""
    context = running()
    generation = context.generation if context is not None else load(default_target()).generation
    return nc_version(generation)


def get_nc_sub_version() -> int:
    """Silicon revision within the generation: the first, 0."""
    return 0
