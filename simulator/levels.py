"""API levels: what NKI 0.7 added to 0.6, as data, and the refusal of it under `Sim(nki="0.6")`.

Source: the API references of NKI 0.6 (Neuron 2.32) and 0.7 (Neuron 2.33).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from .errors import UnsupportedError

NEWEST = "0.7"
ADDED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "nki.compiler": ("AddressRotation", "CompileConfig", "SpecializationConfig"),
        "nki.language": ("tiles", "blocks", "alloc_tiles", "alloc_blocks", "NkiGrid", "NkiTileGrid", "NkiBlockGrid"),
        "nki.isa": ("scalar_load", "scalar_store", "NkiScalar", "dependency"),
        "nki.collectives": (
            "all_to_all_v_prepare",
            "all_to_all_v_trigger",
            "all_gather_v_prepare",
            "all_gather_v_trigger",
            "rg_partition_op",
        ),
    }
)
ADDED_PARAMETERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "nki.jit": ("compile_config", "specialization_config"),
        "nki.language.empty_like": ("transpose_axes", "address"),
        "nki.language.NkiTensor.__init__": ("address",),
        "nki.isa.activation": ("engine",),
        "nki.isa.activate2": ("engine",),
        "nki.isa.topk": ("sorted",),
        "nki.isa.NkiInstruction.depends_on": ("kind",),
    }
)
REMOVED: Mapping[str, tuple[str, ...]] = MappingProxyType({"nki.language": ("dynamic_range",)})

F = TypeVar("F", bound=Callable[..., Any])


def level() -> str:
    """API level of the running kernel; outside a kernel the newest."""
    from .context import running

    context = running()
    return NEWEST if context is None else context.sim.nki


def refuse(what: str) -> UnsupportedError:
    """The error of a name or parameter that the running kernel's level does not have."""
    return UnsupportedError(
        f"{what} is not in NKI {level()}",
        rule=f"it was added in NKI {NEWEST}",
        source="NKI 0.7 release notes",
        fix=f'simulate with Sim(nki="{NEWEST}")',
    )


def require(name: str) -> None:
    """Refuse a name that 0.7 added.

    Raises:
        UnsupportedError: the running kernel's level is 0.6.
    """
    if level() != NEWEST:
        raise refuse(name)


def added(name: str) -> Callable[[F], F]:
    """Decorator of a function that 0.7 added, under its public name."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            require(name)
            return function(*args, **kwargs)

        return checked  # type: ignore[return-value]

    return decorate


def added_parameters(function: str, *given: bool) -> None:
    """Refuse parameters that 0.7 added; `given` says for each of `ADDED_PARAMETERS[function]` whether the caller gave it.

    Raises:
        UnsupportedError: one is given and the running kernel's level is 0.6.
    """
    if any(given) and level() != NEWEST:
        names = [name for name, there in zip(ADDED_PARAMETERS[function], given, strict=True) if there]
        raise refuse(f"parameter {names[0]} of {function}")


def inserted(function: str, value: Any, default: Any, name: str | None) -> tuple[Any, str | None]:
    """A parameter that 0.7 inserted before `name`, and `name`: under 0.6 the position is that of `name`.

    Raises:
        UnsupportedError: the parameter is given under 0.6.
    """
    if value is default or level() == NEWEST:
        return value, name
    if isinstance(value, str):
        return default, value
    raise refuse(f"parameter {ADDED_PARAMETERS[function][0]} of {function}")
