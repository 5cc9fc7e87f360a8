"""Kernels and arrays to and from the vendor's Python: a request as JSON with .npy files beside it."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import nkilab
from nkilab.arrays import dtype
from nkilab.bench.gate import parameters
from nkilab.case import Case
from nkilab.errors import UsageError


def call_request(case: Case, inputs: Sequence[Sequence[Any]], folder: Path, mode: str, lnc: int) -> Path:
    """Write a request to call the case's kernel once for each list of inputs.

    Raises:
        UsageError: the kernel cannot be found by its module and name.
    """
    request = {
        "mode": mode,
        **place_of(case.kernel),
        "lnc": lnc,
        "meta": dict(case.meta),
        "names": list(parameters(case.kernel)[: len(inputs[0])]),
        "arguments": [
            [_stored(item, folder, f"input_{n}_{m}") for m, item in enumerate(row)] for n, row in enumerate(inputs)
        ],
        "out": str(folder),
    }
    return _written(request, folder)


def time_request(
    case: Case, inputs: Sequence[Any], folder: Path, *, route: str, neff: Path, warmup: int, count: int
) -> Path:
    """Write a request to time a NEFF through a Python runtime."""
    request = {
        "mode": route,
        "neff": str(neff),
        "names": list(parameters(case.kernel)[: len(inputs)]),
        "arguments": [[_stored(item, folder, f"input_0_{n}") for n, item in enumerate(inputs)]],
        "warmup": warmup,
        "iterations": count,
        "out": str(folder),
    }
    return _written(request, folder)


def input_files(case: Case, inputs: Sequence[Any], folder: Path) -> list[tuple[str, Path]]:
    """The array inputs as .npy files with the names of their parameters."""
    names = parameters(case.kernel)
    arrays = [(name, item) for name, item in zip(names, inputs, strict=False) if isinstance(item, np.ndarray)]
    return [(name, Path(_stored(item, folder, f"input_{name}")["npy"])) for name, item in arrays]


def place_of(kernel: Callable[..., Any]) -> dict[str, Any]:
    """Where another Python finds a kernel: paths to search, module, file and name.

    For nkilab's own kernels `package` names nkilab's folders: the other Python has no nkilab, and its packages must not
    meet ours.

    Raises:
        UsageError: the kernel was made inside a function, so that no name leads to it.
    """
    function = inspect.unwrap(getattr(kernel, "function", kernel))
    name, module = function.__qualname__, sys.modules[function.__module__]
    if "." in name or getattr(module, name, None) is None or not module.__file__:
        raise UsageError(
            f"{name} cannot be found by name in another Python", fix="define the kernel at the top of its file"
        )
    file = Path(module.__file__).resolve()
    dotted = module.__name__
    if dotted.startswith("nkilab."):
        return {"paths": [], "package": list(nkilab.__path__), "module": dotted, "file": str(file), "kernel": name}
    # A path that ends with the dotted name is a package's file: import it as such, so that relative imports work.
    root = file.with_suffix("")
    for part in reversed(dotted.split(".")):
        if root.name != part:
            return {"paths": [str(file.parent)], "module": None, "file": str(file), "kernel": name}
        root = root.parent
    return {"paths": [str(root)], "module": dotted, "file": str(file), "kernel": name}


def restored(value: Any) -> Any:
    """The nest of arrays that the runner stored. Raises UsageError for an unknown dtype."""
    if value is None:
        return None
    if "dict" in value:
        return {key: restored(item) for key, item in value["dict"].items()}
    if "tuple" in value:
        return tuple(restored(item) for item in value["tuple"])
    array = np.load(value["npy"], allow_pickle=False)
    return array if array.dtype.name == value["dtype"] else array.view(dtype(value["dtype"]))


def _stored(item: Any, folder: Path, name: str) -> dict[str, Any]:
    if not isinstance(item, np.ndarray):
        return {"value": item.item() if isinstance(item, np.generic) else item}
    plain = item if item.dtype.isbuiltin == 1 else np.ascontiguousarray(item).view(f"u{item.dtype.itemsize}")
    path = folder / f"{name}.npy"
    np.save(path, plain, allow_pickle=False)
    return {"npy": str(path), "dtype": item.dtype.name}


def _written(request: dict[str, Any], folder: Path) -> Path:
    path = folder / "request.json"
    path.write_text(json.dumps(request), encoding="utf-8")
    return path
