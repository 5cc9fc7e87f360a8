"""`Case`: a kernel together with its inputs, its reference and its sizes; the one way to name what to run."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from nkilab.arrays import rounding
from nkilab.errors import UsageError
from nkilab.suggest import fix_for

Inputs = Callable[[Mapping[str, Any], np.random.Generator], Sequence[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A kernel with its inputs, exported as `CASES` in `<stem>_cases.py` beside the kernel's file, or in that file.

    Attributes:
        kernel: the kernel, a function under `nki.jit`.
        inputs: `inputs(axes, rng)` gives the kernel's positional arguments, arrays in HBM.
        reference: takes the inputs and gives what the kernel returns, in NumPy, and writes into what the kernel
            writes into; None where there is none. For an input that differs between ranks it takes the list of them,
            and it returns `nkilab.per_rank([…])` where the ranks return different results.
        axes: sizes and types by name with their defaults, for example `{"m": 1024, "dtype": "bfloat16"}`. The axis
            `ranks` says on how many devices the case runs: `inputs` then gives `nkilab.per_rank([…])` for what differs.
        meta: keyword arguments of the kernel only, such as block sizes.
        flops: `flops(axes)` gives the useful floating-point operations of all ranks together, for a share of the peak;
            None where unknown.
        mutates: parameters that the kernel is meant to write in place.
        reduction: the axis over whose length sums run; it sets the tolerance. None where nothing is summed.
        roundings: how often a value is rounded to the outputs' dtype on its way to them; it sets the tolerance.
        torch: the same in torch, for the backend of that name: takes the inputs as CPU tensors, and of `meta` what it names.
        name: what the case is called; the kernel's name unless said.

    Raises:
        UsageError: an attribute is not of this form, or names a parameter or axis that does not exist.
    """

    kernel: Callable[..., Any]
    inputs: Inputs
    reference: Callable[..., Any] | None = None
    axes: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    flops: Callable[[Mapping[str, Any]], int] | None = None
    mutates: tuple[str, ...] = ()
    reduction: str | None = None
    roundings: int = 1
    torch: Callable[..., Any] | None = None
    name: str = ""

    def __post_init__(self) -> None:
        for what in ("kernel", "inputs", "reference", "flops", "torch"):
            value = getattr(self, what)
            optional = what in {"reference", "flops", "torch"}
            if not (callable(value) or (optional and value is None)):
                raise UsageError(f"Case: {what} must be a function", values=f"{what} is {value!r}")
        object.__setattr__(self, "name", self.name or getattr(self.kernel, "__name__", ""))
        object.__setattr__(self, "axes", MappingProxyType(dict(self.axes)))
        object.__setattr__(self, "meta", MappingProxyType(dict(self.meta)))
        if not self.name:
            raise UsageError("Case: the kernel has no __name__", fix="pass name=")
        if self.reduction is not None:
            _known("reduction", (self.reduction,), self.axes, self.name)
        if self.roundings < 1:
            raise UsageError("Case: roundings counts the last one too", values=f"roundings is {self.roundings}")
        _known_parameters(self)

    def bind(self, **axes: Any) -> Case:
        """The same case with some axes set to other values.

        Raises:
            UsageError: the case has no such axis, or a value is of another kind than the default.
        """
        _known("axis", axes, self.axes, self.name)
        for axis, value in axes.items():
            default = self.axes[axis]
            if isinstance(default, str) != isinstance(value, str):
                raise UsageError(
                    f"{self.name}: axis {axis} cannot be {value!r}", rule=f"its default is {default!r}: same kind"
                )
        return replace(self, axes={**self.axes, **axes})

    def with_meta(self, **meta: Any) -> Case:
        """The same case with some keyword arguments of the kernel set to other values.

        Raises:
            UsageError: the kernel has no such parameter.
        """
        return replace(self, meta={**self.meta, **meta})

    def arguments(self, seed: int = 0) -> tuple[Any, ...]:
        """The kernel's positional arguments, the same for the same seed and axes."""
        return tuple(self.inputs(self.axes, np.random.default_rng(seed)))

    def expected(self, inputs: Sequence[Any]) -> Any:
        """What the reference gives for copies of `inputs`.

        Raises:
            UsageError: the case has no reference.
        """
        return self.run_reference(inputs)[0]

    def run_reference(self, inputs: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
        """What the reference gives for copies of `inputs`, and the copies after it: it writes what the kernel writes.

        Raises:
            UsageError: the case has no reference.
        """
        if self.reference is None:
            raise UsageError(f"case {self.name} has no reference", fix="pass reference= to Case")
        copies = copied(inputs)
        return self.reference(*(_listed(item) for item in copies)), copies

    def written(self, inputs: Sequence[Any] | None) -> tuple[Any, ...]:
        """Those of `inputs` that the kernel is meant to write; () where they cannot be seen."""
        if inputs is None or not self.mutates:
            return ()
        names = tuple(inspect.signature(self.kernel).parameters)
        return tuple(inputs[names.index(name)] for name in self.mutates)

    def tolerance(self, dtype: np.dtype[Any]) -> tuple[float, float]:
        """`(rtol, atol)` for outputs of `dtype`, for inputs of order 1.

        Kernel and reference each round once to `dtype`, so they may lie one step apart: rtol is that type's epsilon.
        Where they round R times on the way, values of order 1 may lie a step apart after each: a relative error where
        they are multiplied, an absolute one where sums cancel; so rtol is R epsilons and atol holds R - 1 more.
        Both sum L products in fp32 in some order: partial sums grow like sqrt(i), each addition errs by at most half
        an epsilon of its partial sum, so the errors of L additions spread by about L * eps(fp32) / sqrt(8); atol is
        2 * L * eps(fp32), more than five of those. Integers must be equal: both are 0.
        """
        if not rounding(dtype):
            return 0.0, 0.0
        length = int(self.axes[self.reduction]) if self.reduction else 1
        inside = (self.roundings - 1) * rounding(dtype)
        return rounding(dtype) + inside, 2 * length * rounding(np.dtype(np.float32)) + inside

    @property
    def ranks(self) -> int:
        """Devices that the case runs on: its axis `ranks`, else 1."""
        return int(self.axes.get("ranks", 1))

    @property
    def useful_flops(self) -> int | None:
        """Useful floating-point operations at these axes, None where the case does not say."""
        return None if self.flops is None else int(self.flops(self.axes))


@dataclass(frozen=True, slots=True)
class Comparison:
    """An output against its reference.

    Attributes:
        passed: every element lies within `atol + rtol * |expected|` and NaNs stand in the same places.
        max_error: largest absolute difference, NaN where shapes differ.
        rtol, atol: the tolerance used.
        message: what is wrong, "" where nothing is.
    """

    passed: bool
    max_error: float
    rtol: float
    atol: float
    message: str = ""


def compare(case: Case, outputs: Any, expected: Any) -> Comparison:
    """Compare what a kernel returned with what its reference returned, leaf by leaf; the worst leaf is reported."""
    ours, theirs = _flat(outputs), _flat(expected)
    if len(ours) != len(theirs):
        return Comparison(False, math.nan, 0.0, 0.0, f"{len(ours)} outputs, but the reference returns {len(theirs)}")
    results = [_compare_leaf(case, a, b) for a, b in zip(ours, theirs, strict=True)]
    if not results:
        return Comparison(False, math.nan, 0.0, 0.0, "the kernel returns nothing to compare")
    return min(results, key=lambda result: (result.passed, -result.max_error))


def compare_ranks(
    case: Case, outputs: Sequence[Any], inputs: Sequence[Any], expected: Any, after: Sequence[Any]
) -> Comparison:
    """Compare what the kernel returned on each rank, and wrote into `inputs`, with the reference's; the worst is reported."""
    results = [
        compare(
            case,
            (own, [of_rank(item, rank) for item in case.written(inputs)]),
            (of_rank(expected, rank), [of_rank(item, rank) for item in case.written(after)]),
        )
        for rank, own in enumerate(outputs)
    ]
    rank, worst = min(enumerate(results), key=lambda pair: (pair[1].passed, -pair[1].max_error))
    if worst.passed or len(results) == 1:
        return worst
    return replace(worst, message=f"rank {rank}: {worst.message}")


def _per_rank(value: Any) -> bool:
    """Whether a value is what `nkilab.per_rank` makes, without loading the simulator."""
    simulator = sys.modules.get("nkilab.simulator")
    return simulator is not None and isinstance(value, simulator.PerRank)


def _each_rank(function: Callable[[Any], Any], value: Any) -> Any:
    return replace(value, values=tuple(map(function, value.values))) if _per_rank(value) else function(value)


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


def _listed(value: Any) -> Any:
    return list(value.values) if _per_rank(value) else value


def copied(inputs: Sequence[Any]) -> tuple[Any, ...]:
    """The inputs with arrays of their own, on every rank."""
    return tuple(_each_rank(_copied, item) for item in inputs)


def of_rank(value: Any, rank: int) -> Any:
    """What one rank has of a value: its own one of `nkilab.per_rank([…])`, else the value itself, which all share."""
    return value.values[rank] if _per_rank(value) else value


def _compare_leaf(case: Case, ours: Any, theirs: Any) -> Comparison:
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        text = f"{ours.dtype}{list(ours.shape)}, but the reference returns {theirs.dtype}{list(theirs.shape)}"
        return Comparison(False, math.nan, 0.0, 0.0, text)
    rtol, atol = case.tolerance(ours.dtype)
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    with np.errstate(invalid="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        error = np.where(same, 0.0, np.abs(a - b))
        bad = ~(same | (np.isfinite(b) & (error <= atol + rtol * np.abs(b))))
    largest = float(np.max(error, initial=0.0))
    if not bad.any():
        return Comparison(True, largest, rtol, atol)
    place = tuple(int(i) for i in np.argwhere(bad)[0])
    text = (
        f"{int(bad.sum())} of {bad.size} elements differ, first at {list(place)}: {a[place]:g}, expected {b[place]:g}"
    )
    return Comparison(False, largest, rtol, atol, text)


def _flat(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, dict):
        return [leaf for key in sorted(value) for leaf in _flat(value[key])]
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in _flat(item)]
    return [value]


def _known(what: str, names: Any, known: Mapping[str, Any] | Sequence[str], case: str) -> None:
    """Raise UsageError for the first of `names` that is not known."""
    for name in names:
        if name not in known:
            raise UsageError(f"case {case} has no {what} {name!r}", fix=fix_for(name, known))


def _known_parameters(case: Case) -> None:
    """Hold `meta` and `mutates` to the kernel's parameters, where its signature can be read."""
    try:
        parameters = inspect.signature(case.kernel).parameters
    except (TypeError, ValueError):
        return
    if any(p.kind in {p.VAR_KEYWORD, p.VAR_POSITIONAL} for p in parameters.values()):
        return
    _known("parameter", (*case.meta, *case.mutates), tuple(parameters), case.name)
