"""What a call of a kernel says besides values: aliased names, declared shapes, options of a level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nkilab.errors import UsageError

from .annotations import TensorType
from .sim import Sim

if TYPE_CHECKING:
    from .jit import Kernel

ALIAS = ".must_alias_input"


def prepared(kernel: Kernel, kwargs: Mapping[str, Any], sim: Sim) -> tuple[dict[str, Any], frozenset[str]]:
    """Keyword arguments under their parameters' names, and those that are declared mutable by `name.must_alias_input`.

    Raises:
        UsageError: an option of `nki.jit` that the level does not have.
    """
    for name in ("compile_config", "specialization_config"):
        if sim.nki == "0.6" and kernel.options.get(name) is not None:
            raise UsageError(
                f"nki.jit({name}=…) of {kernel.name} is not in NKI 0.6",
                rule="it was added in NKI 0.7",
                fix='simulate with Sim(nki="0.7"), or leave it out',
                where=kernel.definition,
            )
    aliased = frozenset(name.removesuffix(ALIAS) for name in kwargs if name.endswith(ALIAS))
    return {name.removesuffix(ALIAS): value for name, value in kwargs.items()}, aliased


def check_shapes(kernel: Kernel, arguments: Mapping[str, Any]) -> None:
    """Arguments annotated as `nt.tensor[shape]` have that shape; only ints in the annotation are compared.

    Raises:
        UsageError: one has another.
    """
    for name, note in kernel.annotations.items():
        value = arguments.get(name)
        if not isinstance(note, TensorType) or not hasattr(value, "shape"):
            continue
        shape = tuple(int(n) for n in value.shape)  # type: ignore[union-attr]
        declared = note.sizes
        same = len(shape) == len(declared) and all(
            not isinstance(n, int) or n == m for n, m in zip(declared, shape, strict=True)
        )
        if not same:
            raise UsageError(
                f"{kernel.name}: argument {name} has shape {shape}",
                rule=f"it is annotated as {note!r}",
                source="nki.typing",
                fix="pass an array of the declared shape, or change the annotation",
                where=kernel.definition,
            )
