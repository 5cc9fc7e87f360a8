"""`nki.compiler`: options of the compiler (API 0.7). The simulator keeps them and compiles nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class AddressRotation(Enum):
    """Which on-chip tensors may rotate through addresses."""

    AUTO = "auto"
    ENABLE = "enable"
    DISABLE = "disable"


@dataclass(slots=True)
class CompileConfig:
    """Options of the compilation: address rotation, clean-up passes, checks, prefetching, allocation fallback."""

    address_rotation: AddressRotation = AddressRotation.AUTO
    non_ssa_legalization: bool = True
    dead_code_elim: bool = True
    barrier_check: bool = True
    prefetch_auto: bool = False
    nki_alloc_fallback: bool = True


@dataclass(slots=True)
class SpecializationConfig:
    """Options of the specialisation: whether a nested kernel may have another configuration."""

    allow_nested_config_override: bool = False


__all__ = ["AddressRotation", "CompileConfig", "SpecializationConfig"]
