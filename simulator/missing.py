"""Functions of NKI that this simulator does not have: they have their signature, and calling one says so by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from .errors import UnsupportedError

_KIND = inspect.Parameter.POSITIONAL_OR_KEYWORD


def missing(module: str, function_name: str, parameters: str = "", /, **defaults: object) -> Callable[..., Any]:
    """A function that raises UnsupportedError for the function.

    Args:
        module: where kernels find it.
        function_name: its name.
        parameters: names of the parameters without default, separated by spaces.
        **defaults: the others, in order.
    """

    def function(*args: Any, **kwargs: Any) -> Any:
        del args, kwargs
        raise UnsupportedError(
            f"{module}.{function_name} is not in this simulator",
            rule="functions that are not simulated are refused, never skipped",
            fix="rewrite the step with other instructions, or run this kernel on hardware",
        )

    needed = [inspect.Parameter(each, _KIND) for each in parameters.split()]
    optional = [inspect.Parameter(each, _KIND, default=value) for each, value in defaults.items()]
    function.__name__ = function.__qualname__ = function_name
    function.__doc__ = f"Not in this simulator: raises UnsupportedError for `{module}.{function_name}`."
    function.nkilab_missing = True  # type: ignore[attr-defined]
    function.__signature__ = inspect.Signature([*needed, *optional])  # type: ignore[attr-defined]
    return function


_SLICES = "slice with ints, as in tile[0:128, 0:512]; other patterns are tile.ap([[stride, count], …])"
_REMOVED = {
    "mgrid": _SLICES,
    "arange": f"{_SLICES}; numbers in a tile are nisa.iota",
    "par_dim": "the first dimension is the partition dimension; a list of tiles stands for block dimensions",
    "tensor_copy_dynamic_src": "use nisa.tensor_copy with src=tile.ap(…, scalar_offset=…)",
    "tensor_copy_dynamic_dst": "use nisa.tensor_copy with dst=tile.ap(…, scalar_offset=…)",
}
"""Names that the migration guide says were removed (NKI 0.2 and 0.4), and what stands for them."""


class UnknownNameError(UnsupportedError, AttributeError):
    """A name that this simulator's `nki` does not have; an AttributeError too, so that `hasattr` says no."""


def unknown_name(module: str, name: str, known: list[str]) -> AttributeError:
    """The error of a module that lacks a name."""
    if name.startswith("__"):
        return AttributeError(f"module {module!r} has no attribute {name!r}")
    if name in _REMOVED:
        return UnknownNameError(
            f"{module}.{name} was removed", rule="NKI has it no more", source="NKI migration guide", fix=_REMOVED[name]
        )
    near = get_close_matches(name, known, n=1)
    return UnknownNameError(
        f"{module}.{name} is not in this simulator",
        rule="the names are those of the NKI reference",
        fix=f"did you mean {module}.{near[0]}?" if near else "",
    )
