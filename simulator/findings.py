"""Findings: what ran, but would be wrong, slow or accidental on hardware. Every code has a section in docs/findings.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from nkilab.errors import Location

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class FindingCode:
    """One kind of finding: how bad it is, and what to do about it."""

    severity: Severity
    title: str
    fix: str


CODES: Mapping[str, FindingCode] = MappingProxyType(
    {
        "uninitialised-read": FindingCode(
            "error",
            "an instruction reads memory that was never written",
            "write the whole tile before it is read (nisa.memset, nisa.dma_copy), or read only the part that was",
        ),
        "spill": FindingCode(
            "warning",
            "the tensors alive at once need more SBUF than a partition has",
            "use smaller tiles or blocks, or shorten the time between a tile's first write and its last use",
        ),
        "clobbered-alias": FindingCode(
            "error",
            "a live value was overwritten through another tensor at the same explicit address",
            "give the tensors addresses that do not overlap, or use the first value before the second is written",
        ),
        "race": FindingCode(
            "error",
            "two cores use the same bytes of shared HBM, one of them writing, and nothing orders them",
            "put a nisa.core_barrier on the tensor between the two, or let each core use its own part",
        ),
        "undeclared-input-write": FindingCode(
            "error",
            "the kernel writes into an input that is not declared mutable",
            "annotate the parameter with nki.typing.mutable_tensor, return the input, or write to a new tensor",
        ),
        "accumulate-undefined": FindingCode(
            "error",
            "a matmul accumulates onto PSUM that no matmul has started",
            "use accumulate=False for the first matmul into a tile, or leave accumulate out",
        ),
        "all-zero-output": FindingCode(
            "warning",
            "an output is all zero although an input is not",
            "check that the result is copied into the returned tensor",
        ),
        "nan-output": FindingCode(
            "error",
            "an output holds NaN although no input does",
            "look for 0/0, inf-inf, the log or root of a negative, or a masked row without any element",
        ),
        "unwritten-output": FindingCode(
            "error",
            "part of an output was never written",
            "write every element of the returned tensor, or allocate it in its true shape",
        ),
        "values-needed": FindingCode(
            "warning",
            "a loop runs as often as a loaded value says, and values are not computed",
            "simulate with values (Sim(values=True)): the time without them is that of other loops",
        ),
        "duplicate-rows": FindingCode(
            "error",
            "a DMA adds to one row more than once",
            "make the row numbers distinct: add equal rows up first, or send padding to rows of its own",
        ),
        "not-in-hardware": FindingCode(
            "error",
            "the kernel uses an operator that simulates and does not compile for a device",
            "replace nl.divide by nl.multiply(x, nl.reciprocal(y)), and remainders by a rounded quotient",
        ),
        "untested-operation": FindingCode(
            "warning",
            "the kernel uses an operation whose values are not confirmed against the documentation",
            "check this operation's result on hardware; `nkilab ops` lists the confidence of every operation",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: stable code, severity, what happened with its values, the kernel's line, what to do."""

    code: str
    severity: Severity
    message: str
    where: Location | None
    fix: str
    rank: int = 0
    core: int = 0

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.severity} [{self.code}] {self.message}\n  fix: {self.fix}"


def finding(code: str, message: str, where: Location | None, *, rank: int = 0, core: int = 0) -> Finding:
    """A finding with the severity and fix of its code."""
    kind = CODES[code]
    return Finding(code, kind.severity, message, where, kind.fix, rank, core)
