"""Between the caller's arrays and a kernel's tensors: arguments in, results out, in-place updates back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nkilab.errors import UsageError

from .constants import MemoryRegion
from .context import Context
from .errors import KernelError
from .layout import HBM
from .tensor import NkiTensor
from .values.dtypes import DType
from .values.dtypes import get as dtype_of
from .written import ALL


def is_torch(value: object) -> bool:
    """Whether a value is a torch tensor, without importing torch."""
    return type(value).__module__.split(".")[0] == "torch" and hasattr(value, "detach")


def mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """Nested tuples, lists and dicts with `function` applied to every leaf."""
    if isinstance(value, dict):
        return {key: mapped(function, item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(mapped(function, item) for item in value))
    if isinstance(value, tuple | list):
        return type(value)(mapped(function, item) for item in value)
    return function(value)


@dataclass(frozen=True, slots=True)
class PerRank:
    """An argument that differs between ranks: `values[r]` is that of rank r."""

    values: tuple[Any, ...]


def per_rank(values: Iterable[Any]) -> PerRank:
    """Wrap one value for each rank, to be passed where a kernel takes an argument: `per_rank([x0, x1])`."""
    return PerRank(tuple(values))


def copied(value: Any) -> Any:
    """The same tensors in new tuples, lists and dicts."""
    return mapped(lambda leaf: leaf, value)


@dataclass(slots=True)
class Input:
    """One array argument: the caller's object, the tensor that stands for it, and the parameter's name."""

    name: str
    given: Any
    tensor: NkiTensor
    mutable: bool


@dataclass(slots=True)
class Arguments:
    """The arguments of one rank: makes the tensors, and brings results and updates back.

    An array that all ranks get is a tensor of each.
    """

    context: Context
    site: int
    mutable: frozenset[str] = frozenset()
    rank: int = 0
    inputs: list[Input] = field(default_factory=list)
    torch: bool = False

    def enter(self, name: str, value: Any) -> Any:
        """An argument as the kernel gets it: arrays become HBM tensors, everything else passes."""
        return mapped(lambda leaf: mapped(lambda own: self._leaf(name, own), self._mine(name, leaf)), value)

    def _mine(self, name: str, value: Any) -> Any:
        if not isinstance(value, PerRank):
            return value
        ranks = self.context.sim.ranks
        if len(value.values) != ranks:
            raise UsageError(
                f"argument {name}: per_rank with {len(value.values)} values for {ranks} ranks",
                rule="one value for each rank",
                fix=f"simulate with Sim(ranks={len(value.values)})",
            )
        return value.values[self.rank]

    def _leaf(self, name: str, value: Any) -> Any:
        for known in self.inputs:
            if known.given is value:
                return known.tensor
        array = value
        if is_torch(value):
            from .torch_arrays import to_numpy

            self.torch = True
            array = to_numpy(value)
        elif not isinstance(value, np.ndarray):
            return value
        if array.ndim == 0:
            return value
        tensor = self._tensor(name, array)
        self.inputs.append(Input(name, value, tensor, name in self.mutable))
        return tensor

    def _tensor(self, name: str, array: Any) -> NkiTensor:
        dtype = self._dtype(name, array)
        if 0 in array.shape:
            raise UsageError(f"argument {name} has shape {array.shape}", rule="arrays have at least one element")
        shape = tuple(int(n) for n in array.shape)
        tensor = self.context.allocate(shape, dtype, MemoryRegion.shared_hbm, name=name, kind="input", site=self.site)
        storage = tensor.storage
        storage.written.state = ALL
        storage.guard = []
        if self.context.values:
            stored = np.ascontiguousarray(array)
            if storage.relaxed:
                stored = stored.astype(np.float32)
            storage.data = stored.reshape(-1).view(np.uint8)
        return tensor

    def _dtype(self, name: str, array: Any) -> DType:
        try:
            return dtype_of(array.dtype)
        except UsageError as error:
            raise UsageError(
                f"argument {name}: {error.what}", rule=error.rule, source=error.source, fix=error.fix
            ) from None

    def leave(self, value: Any) -> Any:
        """A kernel's result as NumPy arrays; in-place updates of the inputs are brought back first."""
        return mapped(self._result, value)

    def _result(self, value: Any) -> Any:
        if not isinstance(value, NkiTensor):
            return value
        if value.layout.space != HBM:
            raise KernelError(
                "buffer",
                f"the kernel returns {value!r}",
                rule="results are in HBM",
                fix="copy the tile to an nl.ndarray(…, buffer=nl.shared_hbm) and return that",
                where=None,
            )
        return stored_array(value, values=self.context.values)


def update(ranks: Sequence[Arguments]) -> None:
    """Copy what the kernel wrote into its inputs to the caller's arrays; an array that several ranks got takes it once.

    Raises:
        UsageError: an array is read-only, or the ranks leave different values in an array that they share.
    """
    holders: dict[int, dict[int, Input]] = {}
    for arguments in ranks:
        for entry in arguments.inputs:
            holders.setdefault(id(entry.given), {})[arguments.rank] = entry
    written = [entries for entries in holders.values() if any(e.tensor.storage.guard for e in entries.values())]
    for entry, array in [_agreed(entries) for entries in written]:
        _write_back(entry, array)


def _agreed(entries: Mapping[int, Input]) -> tuple[Input, np.ndarray]:
    """One caller's array as all ranks that got it have left it."""
    (first, entry), *others = entries.items()
    array = stored_array(entry.tensor, values=True)
    for rank, other in others:
        if stored_array(other.tensor, values=True).tobytes() != array.tobytes():
            raise UsageError(
                f"the ranks leave different values in the argument {entry.name}, which is one array for all of them",
                values=f"rank {first} and rank {rank} differ",
                rule="an array that a kernel updates in place takes one result",
                fix=f"give each rank its own: nkilab.per_rank([{entry.name}.copy() for _ in range(ranks)])",
            )
    return entry, array


def _write_back(entry: Input, array: np.ndarray) -> None:
    if is_torch(entry.given):
        from .torch_arrays import write_back

        write_back(entry.given, array)
    elif entry.given.flags.writeable:
        entry.given[...] = array.astype(entry.given.dtype, copy=False)
    else:
        raise UsageError(
            f"the kernel writes into its argument {entry.name}, which is a read-only array",
            rule="inputs that a kernel writes are updated in place",
            fix=f"pass {entry.name}.copy()",
        )


def stored_array(tensor: NkiTensor, *, values: bool) -> np.ndarray:
    """A tensor's elements as an array of its host dtype (fp32 for low precision with precise=False).

    Without values it is an array of zeros that takes no memory.
    """
    host = tensor.dtype.host
    if not values:
        return np.broadcast_to(np.zeros((), host), tensor.shape)
    array = np.array(tensor.storage.array(tensor.layout, tensor.byte))
    return (
        array.view(host)
        if array.dtype != host and array.dtype.itemsize == host.itemsize and host.kind == "b"
        else array
    )
