"""The gate before any timing: is the kernel right? Each way of being wrong has a name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from nkilab.bench.backend import Backend, Outcome
from nkilab.case import Case, Comparison, compare

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


def gate(case: Case, backend: Backend, seed: int = 0, seeds: int = SEEDS) -> Verdict:
    """Run a case on fresh random inputs of several seeds, the first one twice, and compare with its reference.

    Errors of the kernel itself pass through: whoever calls knows how to name them.
    """
    tried = tuple(range(seed, seed + seeds))
    if case.reference is None:
        return Verdict((Refusal("no-reference", CODES["no-reference"]),), ())
    given = [case.arguments(s) for s in tried]
    outcomes = backend.execute(case, [_copied(inputs) for inputs in (*given, given[0])])
    references = [case.run_reference(inputs) for inputs in given]
    expected = [result for result, _ in references]
    refusals = [*_structural(outcomes, expected, tried), *_findings(outcomes, tried)]
    refusals += _written(case, given, outcomes, tried)
    refusals += _unrepeatable(outcomes[0], outcomes[-1], tried[0])
    comparisons = [
        compare(case, (o.outputs, case.written(o.inputs)), (e, case.written(o.inputs and after)))
        for o, (e, after) in zip(outcomes, references, strict=False)
    ]
    if not any(r.code.startswith("wrong-") for r in refusals):
        refusals += _valued(outcomes, expected, comparisons, tried)
    errors = [c.max_error for c in comparisons if np.isfinite(c.max_error)]
    warnings = {str(f["message"]): f for o in outcomes for f in o.findings if f["severity"] != "error"}
    return Verdict(_once(refusals), tried, max(errors, default=None), tuple(warnings.values()))


def _copied(inputs: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(item.copy() if isinstance(item, np.ndarray) else item for item in inputs)


def _once(refusals: Sequence[Refusal]) -> tuple[Refusal, ...]:
    """The first refusal of each code: later seeds repeat it."""
    first: dict[str, Refusal] = {}
    for refusal in refusals:
        first.setdefault(refusal.code, refusal)
    return tuple(first.values())


def flat(value: Any) -> list[Any]:
    """The leaves of nested tuples, lists and dicts, dicts in order of their keys; None is no leaf."""
    if value is None:
        return []
    if isinstance(value, dict):
        return [leaf for key in sorted(value) for leaf in flat(value[key])]
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in flat(item)]
    return [np.asarray(value)]


def _structural(outcomes: Sequence[Outcome], expected: Sequence[Any], seeds: Sequence[int]) -> list[Refusal]:
    """Outputs of another number, shape or dtype than the reference's."""
    found = []
    for seed, outcome, wanted in zip(seeds, outcomes, expected, strict=False):
        ours, theirs = flat(outcome.outputs), flat(wanted)
        if len(ours) != len(theirs) or not ours:
            message = f"{len(ours)} outputs, the reference returns {len(theirs)}"
            return [Refusal("wrong-structure", message, seed)]
        for number, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            if a.shape != b.shape:
                message = f"output {number} is {list(a.shape)}, the reference's {list(b.shape)}"
                found.append(Refusal("wrong-shape", message, seed))
            elif a.dtype != b.dtype:
                found.append(Refusal("wrong-dtype", f"output {number} is {a.dtype}, the reference's {b.dtype}", seed))
    return found


def _findings(outcomes: Sequence[Outcome], seeds: Sequence[int]) -> list[Refusal]:
    """Findings of the simulator's checks that are errors."""
    return [
        Refusal(str(f["code"]), f"{f['message']}" + (f" at {f['file']}:{f['line']}" if f["file"] else ""), seed)
        for seed, outcome in zip(seeds, outcomes, strict=False)
        for f in outcome.findings
        if f["severity"] == "error"
    ]


def _written(
    case: Case, given: Sequence[Sequence[Any]], outcomes: Sequence[Outcome], seeds: Sequence[int]
) -> list[Refusal]:
    """Inputs that changed although the case does not say that the kernel mutates them."""
    names = parameters(case.kernel)
    found = []
    for seed, before, outcome in zip(seeds, given, outcomes, strict=False):
        for position, (old, new) in enumerate(zip(before, outcome.inputs or (), strict=False)):
            name = names[position] if position < len(names) else f"argument {position}"
            if isinstance(old, np.ndarray) and name not in case.mutates and not same_bits(old, new):
                found.append(Refusal("undeclared-input-write", f"{name} changed, and `mutates` does not list it", seed))
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


def _valued(
    outcomes: Sequence[Outcome], expected: Sequence[Any], comparisons: Sequence[Comparison], seeds: Sequence[int]
) -> list[Refusal]:
    """NaN, zeros, and differences beyond the tolerance; a difference of some seeds only has its own name."""
    found = []
    for seed, outcome, wanted in zip(seeds, outcomes, expected, strict=False):
        for number, (a, b) in enumerate(zip(flat(outcome.outputs), flat(wanted), strict=True)):
            if _nan(a) and not _nan(b):
                found.append(Refusal("nan-output", f"output {number} holds NaN, the reference does not", seed))
            elif not a.any() and b.any():
                found.append(Refusal("all-zero-output", f"output {number} is all zero, the reference is not", seed))
    wrong = [(seed, c) for seed, c in zip(seeds, comparisons, strict=True) if not c.passed]
    if not wrong or found:
        return found
    seed, first = wrong[0]
    if len(wrong) == len(seeds):
        return [Refusal("wrong-values", first.message, seed)]
    right = ", ".join(str(s) for s in seeds if s not in dict(wrong))
    return [Refusal("seed-dependent", f"right for seed {right}, but {first.message}", seed)]


def _nan(array: Any) -> bool:
    return array.dtype.kind not in "biu" and bool(np.isnan(array.astype(np.float32)).any())
