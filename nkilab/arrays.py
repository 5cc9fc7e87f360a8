"""Array types by their names, arguments from text, and the way between torch tensors and NumPy arrays.

Torch is imported only where a torch tensor came in, because then it is there already.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
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


def _is_torch(value: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def has_torch(value: object) -> bool:
    """Whether a torch tensor stands anywhere in nested tuples, lists and dicts."""
    return any(_is_torch(leaf) for leaf in _leaves(value))


def _map(function: Any, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _map(function, item) for key, item in value.items()}
    if isinstance(value, list):
        return [_map(function, item) for item in value]
    if isinstance(value, tuple):
        items = [_map(function, item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return function(value)


def to_numpy(value: Any) -> Any:
    """The same nest with torch tensors as NumPy arrays on the same memory; everything else as it is."""
    return _map(lambda leaf: _from_torch(leaf) if _is_torch(leaf) else leaf, value)


def to_torch(value: Any) -> Any:
    """The same nest with NumPy arrays as torch tensors on the same memory where torch has the type."""
    return _map(lambda leaf: _as_torch(leaf) if isinstance(leaf, np.ndarray) else leaf, value)


def _from_torch(tensor: Any) -> Array:
    import torch

    tensor = tensor.detach()
    if tensor.device.type != "cpu":
        raise UsageError(
            f"a torch tensor lies on {tensor.device}", rule="the simulator reads CPU memory", fix="pass tensor.cpu()"
        )
    name = str(tensor.dtype).removeprefix("torch.")
    if name == "bfloat16" or name.startswith("float8"):
        carrier = torch.int16 if name == "bfloat16" else torch.uint8
        plain: Array = tensor.view(carrier).numpy()
        return plain.view(dtype(name))
    array: Array = tensor.numpy()
    return array


def _as_torch(array: Array) -> Any:
    import torch

    name = array.dtype.name
    target = getattr(torch, name, None)
    if name == "bfloat16" or name.startswith("float8"):
        if target is None:
            return array
        carrier = np.int16 if name == "bfloat16" else np.uint8
        return torch.from_numpy(np.ascontiguousarray(array).view(carrier)).view(target)
    return torch.from_numpy(array) if target is not None else array
