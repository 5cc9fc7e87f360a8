"""The gate before any timing: is the kernel right? Each way of being wrong has a name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from nkilab.bench.backend import Backend, Outcome
from nkilab.case import Case, Comparison, compare, copied, of_rank
from nkilab.simulator import PerRank

SEEDS = 3

# What is wrong, by the name that a refusal has. A finding of the simulator refuses under its own code.
CODES: Mapping[str, str] = MappingProxyType(
    {
        "no-reference": "the case has no reference, so nothing says whether the kernel is right",
        "kernel-raised": "the kernel cannot run on these inputs",
        "wrong-structure": "the kernel returns another number of outputs than its reference",
        "wrong-shape": "an output has another shape than the reference's",
        "wrong-dtype": "an output has another dtype than the reference's",
        "nan-output": "an output holds NaN where the reference does not",
        "all-zero-output": "an output is all zero where the reference is not",
        "wrong-values": "an output differs from the reference by more than the tolerance, for every seed",
        "seed-dependent": "outputs are right for some seeds of the inputs and wrong for others",
        "undeclared-input-write": "the kernel wrote into an input that the case does not list in `mutates`",
        "non-deterministic": "two runs on the same inputs gave different outputs",
    }
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a kernel is not timed: a code, what was seen, and the seed of the inputs that showed it."""

    code: str
    message: str
    seed: int | None = None

    def __str__(self) -> str:
        seen = f" (seed {self.seed})" if self.seed is not None else ""
        return f"{self.code}: {self.message}{seen}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says.

    Attributes:
        refusals: empty where the kernel may be timed.
        seeds: the seeds of the inputs that were tried.
        max_error: largest absolute difference from the reference over all seeds; None where nothing was compared.
        warnings: findings that do not refuse.
    """

    refusals: tuple[Refusal, ...]
    seeds: tuple[int, ...]
    max_error: float | None = None
    warnings: tuple[Mapping[str, Any], ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the kernel may be timed."""
        return not self.refusals


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unit:
    """One rank of one set of inputs: what it was given, what came out, and what the reference says of both."""

    seed: int
    rank: int | None
    given: tuple[Any, ...]
    outcome: Outcome
    expected: Any
    after: tuple[Any, ...]

    def refusal(self, code: str, message: str) -> Refusal:
        return Refusal(code, message if self.rank is None else f"rank {self.rank}: {message}", self.seed)


def gate(case: Case, backend: Backend, seed: int = 0, seeds: int = SEEDS) -> Verdict:
    """Run a case on fresh random inputs of several seeds, the first one twice, and compare with its reference.

    Every rank is judged for itself. Outputs are compared where nothing that was found before explains a difference.
    Errors of the kernel itself pass through: whoever calls knows how to name them.
    """
    tried = tuple(range(seed, seed + seeds))
    if case.reference is None:
        return Verdict((Refusal("no-reference", CODES["no-reference"]),), ())
    given = [case.arguments(s) for s in tried]
    outcomes = backend.execute(case, [copied(inputs) for inputs in (*given, given[0])])
    runs = zip(tried, given, outcomes, strict=False)
    units = [unit for of, inputs, outcome in runs for unit in _units(case, of, inputs, outcome)]
    comparisons = [
        compare(case, (u.outcome.outputs, case.written(u.outcome.inputs)), (u.expected, _written_by(case, u)))
        for u in units
    ]
    own = [*_structural(units), *_written(case, units), *_unrepeatable(outcomes[0], outcomes[-1], tried[0])]
    findings = _findings(outcomes, tried)
    if {r.code for r in (*own, *findings)} <= {"undeclared-input-write"}:
        own += _valued(units, comparisons)
    errors = [c.max_error for c in comparisons if np.isfinite(c.max_error)]
    warnings = {str(f["message"]): f for o in outcomes for f in o.findings if f["severity"] != "error"}
    refusals = _once([*findings, *(replace(r, message=f"{r.message}{_place(case.kernel)}") for r in own)])
    return Verdict(refusals, tried, max(errors, default=None), tuple(warnings.values()))


def _units(case: Case, seed: int, given: Sequence[Any], outcome: Outcome) -> list[_Unit]:
    """The ranks of one set of inputs."""
    expected, after = case.run_reference(given)
    return [
        _Unit(
            seed=seed,
            rank=rank if case.ranks > 1 else None,
            given=tuple(of_rank(item, rank) for item in given),
            outcome=replace(
                outcome,
                outputs=of_rank(outcome.outputs, rank),
                inputs=None if outcome.inputs is None else tuple(of_rank(item, rank) for item in outcome.inputs),
            ),
            expected=of_rank(expected, rank),
            after=tuple(of_rank(item, rank) for item in after),
        )
        for rank in range(case.ranks)
    ]


def _written_by(case: Case, unit: _Unit) -> tuple[Any, ...]:
    """What the reference writes into its inputs, () where the backend does not show the kernel's."""
    return () if unit.outcome.inputs is None else case.written(unit.after)


def _place(kernel: Callable[..., Any]) -> str:
    """Where the kernel is defined, in words; "" where that cannot be seen."""
    code = getattr(inspect.unwrap(getattr(kernel, "function", kernel)), "__code__", None)
    return f", {code.co_name} at {code.co_filename}:{code.co_firstlineno}" if code else ""


def _once(refusals: Sequence[Refusal]) -> tuple[Refusal, ...]:
    """The first refusal of each code: later seeds repeat it."""
    first: dict[str, Refusal] = {}
    for refusal in refusals:
        first.setdefault(refusal.code, refusal)
    return tuple(first.values())


def flat(value: Any) -> list[Any]:
    """The leaves of nested tuples, lists, dicts (in order of their keys) and values of each rank; None is no leaf."""
    if value is None:
        return []
    if isinstance(value, dict):
        return [leaf for key in sorted(value) for leaf in flat(value[key])]
    if isinstance(value, PerRank):
        return flat(value.values)
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in flat(item)]
    return [np.asarray(value)]


def _structural(units: Sequence[_Unit]) -> list[Refusal]:
    """Outputs of another number, shape or dtype than the reference's."""
    found = []
    for unit in units:
        ours, theirs = flat(unit.outcome.outputs), flat(unit.expected)
        if len(ours) != len(theirs) or not ours:
            return [unit.refusal("wrong-structure", f"{len(ours)} outputs, the reference returns {len(theirs)}")]
        for number, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            if a.shape != b.shape:
                said = f"output {number} is {list(a.shape)}, the reference's {list(b.shape)}"
                found.append(unit.refusal("wrong-shape", said))
            elif a.dtype != b.dtype:
                found.append(unit.refusal("wrong-dtype", f"output {number} is {a.dtype}, the reference's {b.dtype}"))
    return found


def _findings(outcomes: Sequence[Outcome], seeds: Sequence[int]) -> list[Refusal]:
    """Findings of the simulator's checks that are errors."""
    return [
        Refusal(str(f["code"]), f"{f['message']}" + (f" at {f['file']}:{f['line']}" if f["file"] else ""), seed)
        for seed, outcome in zip(seeds, outcomes, strict=False)
        for f in outcome.findings
        if f["severity"] == "error"
    ]


def _written(case: Case, units: Sequence[_Unit]) -> list[Refusal]:
    """Inputs that changed although the case does not say that the kernel mutates them."""
    names = parameters(case.kernel)
    found = []
    for unit in units:
        for position, (old, new) in enumerate(zip(unit.given, unit.outcome.inputs or (), strict=False)):
            name = names[position] if position < len(names) else f"argument {position}"
            if isinstance(old, np.ndarray) and name not in case.mutates and not same_bits(old, new):
                found.append(unit.refusal("undeclared-input-write", f"{name} changed, and `mutates` does not list it"))
    return found


def parameters(kernel: Callable[..., Any]) -> tuple[str, ...]:
    """Names of a kernel's parameters, () where its signature cannot be read."""
    try:
        return tuple(inspect.signature(kernel).parameters)
    except (TypeError, ValueError):
        return ()


def same_bits(a: Any, b: Any) -> bool:
    """Whether two arrays have the same shape, dtype and bytes; NaN equals the same NaN."""
    a, b = np.asarray(a), np.asarray(b)
    return bool(a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes())


def _unrepeatable(first: Outcome, again: Outcome, seed: int) -> list[Refusal]:
    ours, theirs = flat(first.outputs), flat(again.outputs)
    if len(ours) == len(theirs) and all(same_bits(a, b) for a, b in zip(ours, theirs, strict=True)):
        return []
    return [Refusal("non-deterministic", CODES["non-deterministic"], seed)]


def _valued(units: Sequence[_Unit], comparisons: Sequence[Comparison]) -> list[Refusal]:
    """NaN, zeros, and differences beyond the tolerance; a difference of some seeds only has its own name."""
    found = []
    for unit in units:
        for number, (a, b) in enumerate(zip(flat(unit.outcome.outputs), flat(unit.expected), strict=True)):
            if _nan(a) and not _nan(b):
                found.append(unit.refusal("nan-output", f"output {number} holds NaN, the reference does not"))
            elif not a.any() and b.any():
                found.append(unit.refusal("all-zero-output", f"output {number} is all zero, the reference is not"))
    wrong = [(unit, c) for unit, c in zip(units, comparisons, strict=True) if not c.passed]
    if not wrong or found:
        return found
    unit, first = wrong[0]
    seeds = {u.seed for u, _ in wrong}
    right = ", ".join(str(seed) for seed in dict.fromkeys(u.seed for u in units) if seed not in seeds)
    if not right:
        return [unit.refusal("wrong-values", first.message)]
    return [unit.refusal("seed-dependent", f"right for seed {right}, but {first.message}")]


def _nan(array: Any) -> bool:
    return array.dtype.kind not in "biu" and bool(np.isnan(array.astype(np.float32)).any())
