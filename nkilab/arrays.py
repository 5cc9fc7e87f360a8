"""Array types by their names, and arguments from text."""

from __future__ import annotations

import re
import sys
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from nkilab.errors import UsageError
from nkilab.suggest import fix_for

Array = NDArray[Any]

_SHORT = {
    "fp32": "float32",
    "f32": "float32",
    "fp16": "float16",
    "f16": "float16",
    "bf16": "bfloat16",
    "fp8": "float8_e4m3",
    "e4m3": "float8_e4m3",
    "e4m3fn": "float8_e4m3fn",
    "fp8_e4m3": "float8_e4m3",
    "fp8_e5m2": "float8_e5m2",
    "e5m2": "float8_e5m2",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "u8": "uint8",
    "u16": "uint16",
    "u32": "uint32",
}


def dtype(name: str) -> np.dtype[Any]:
    """The NumPy type of a name such as `bf16`, `bfloat16` or `fp8`; narrow floats are those of ml_dtypes.

    `fp8` is `float8_e4m3`, and `uint32` stands for a packed type of four lanes.

    Raises:
        UsageError: there is no such type.
    """
    from nkilab.simulator.values.dtypes import TABLE

    full = _SHORT.get(name, name)
    if full not in TABLE:
        raise UsageError(f"there is no dtype {name!r}", fix=fix_for(name, (*TABLE, *_SHORT)))
    return TABLE[full].host


def rounding(kind: np.dtype[Any]) -> float:
    """The distance from 1 to the next larger number of a floating type; 0 for integers and booleans."""
    finfo: Any = ml_dtypes.finfo
    try:
        return float(finfo(kind).eps)
    except ValueError:
        return 0.0


_ARGUMENT = re.compile(r"(?P<dtype>[A-Za-z_0-9]+)\[(?P<shape>[\d\s,]*)\]")


def from_text(text: str, rng: np.random.Generator) -> Any:
    """An argument from a command line: `bf16[128,512]` is a random array, anything else a number or word.

    Floats are standard normal, integers uniform below 100, booleans fair.

    Raises:
        UsageError: the type is unknown.
    """
    match = _ARGUMENT.fullmatch(text.strip())
    if match is None:
        return scalar(text)
    kind = dtype(match["dtype"])
    shape = tuple(int(n) for n in match["shape"].split(",") if n.strip())
    if rounding(kind):
        return rng.standard_normal(shape, dtype=np.float32).astype(kind)
    return rng.integers(0, 2 if kind == np.bool_ else 100, shape).astype(kind)


def scalar(text: str) -> bool | int | float | str:
    """The boolean, integer or float that `text` spells, else `text` itself."""
    if text in {"True", "true", "False", "false"}:
        return text in {"True", "true"}
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def to_numpy(value: Any) -> Any:
    """Nested tuples, lists and dicts with torch tensors as NumPy arrays; everything else as it is."""
    torch = sys.modules.get("torch")
    if torch is None:
        return value
    from nkilab.simulator.arguments import mapped
    from nkilab.simulator.torch_arrays import to_numpy as converted

    return mapped(lambda leaf: converted(leaf) if isinstance(leaf, torch.Tensor) else leaf, value)


def to_torch(value: Any) -> Any:
    """The same nest with NumPy arrays as torch tensors of the same type; everything else as it is.

    Raises:
        ImportError: torch is not installed.
    """
    from nkilab.simulator.arguments import mapped
    from nkilab.simulator.torch_arrays import to_torch as converted

    return mapped(converted, value)
