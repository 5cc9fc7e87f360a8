"""Checks at the end of a run: capacity over time, outputs, writes into inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from nkilab.errors import Location

from .arguments import Arguments
from .context import Context, leaves
from .errors import KernelError
from .findings import Finding, finding
from .jit import Kernel
from .layout import PSUM, SBUF, SPACE_NAMES
from .tensor import NkiTensor
from .trace import Trace
from .values.cast import float32

Lives = tuple[np.ndarray, np.ndarray]
"""For each tensor the rows of its first and its last instruction; -1 as the last where it is never used."""


def lives_of(trace: Trace) -> Lives:
    """First and last use of every tensor; accesses are in the order of instructions."""
    accesses = trace.tables["accesses"]
    count = len(trace.tables["tensors"]["space"])
    first, last = np.full(count, len(trace)), np.full(count, -1)
    first[accesses["tensor"][::-1]] = accesses["instruction"][::-1]
    last[accesses["tensor"]] = accesses["instruction"]
    return first, last


def check_capacity(context: Context, trace: Trace, lives: Lives) -> None:
    """Live bytes of SBUF and PSUM over the run; a tensor lives from its first access to its last.

    Tensors with at most 64 or 32 partitions count a half or a quarter, as they could share their bytes of a partition.

    Raises:
        KernelError: PSUM overflows (it is not spilled).
    """
    for space in (SBUF, PSUM):
        found = _peak(trace, space, lives, context.rank, context.core)
        if found is None:
            continue
        live, row, holders = found
        available = context.memory.partition_bytes(space)
        if live <= available:
            continue
        where = _place(trace, int(trace.tables["instructions"]["site"][row]))
        shown = _holders(trace, holders)
        if space == PSUM:
            raise KernelError(
                "capacity",
                f"{live:,} bytes of PSUM are live in each partition",
                values=shown,
                rule=f"a PSUM partition of {context.hardware.name} has {available:,} bytes, and PSUM is not spilled",
                source=context.hardware.source("psum.partition_bytes").source,
                fix="copy results out of PSUM (nisa.tensor_copy) before the next tiles are started",
                where=where,
            )
        message = f"{live:,} bytes of {SPACE_NAMES[space].upper()} are live in each partition of {available:,}: {shown}"
        moved = 2 * (live - available) * context.hardware.sbuf.partitions
        message += f"; saving and reloading the excess costs at least {moved:,} bytes of DMA"
        context.findings.append(finding("spill", message, where, rank=context.rank, core=context.core))


def _peak(trace: Trace, space: int, lives: Lives, rank: int, core: int) -> tuple[int, int, np.ndarray] | None:
    """Most live bytes per partition of a core, the first instruction where they are, and the tensors that hold them."""
    tensors, rows = trace.tables["tensors"], len(trace)
    first, last = lives
    chosen = (tensors["space"] == space) & (tensors["rank"] == rank) & (tensors["core"] == core) & (last >= 0)
    if not chosen.any():
        return None
    partitions = tensors["partitions"]
    share = np.where(partitions > 64, 4, np.where(partitions > 32, 2, 1))
    weight = tensors["bytes"] * share
    change = np.zeros(rows + 1, np.int64)
    free = chosen & (tensors["address"] < 0)
    np.add.at(change, first[free], weight[free])
    np.subtract.at(change, last[free] + 1, weight[free])
    _add_placed(change, tensors, np.flatnonzero(chosen & ~free), lives, share)
    live = np.cumsum(change)
    row = int(live.argmax())
    holders = np.flatnonzero(chosen & (first <= row) & (last >= row))
    return int(live[row]) // 4, row, holders[np.argsort(-weight[holders], kind="stable")]


def _add_placed(
    change: np.ndarray, tensors: Mapping[str, np.ndarray], placed: np.ndarray, lives: Lives, share: np.ndarray
) -> None:
    """Add the bytes at explicit addresses: those that several tensors share count once while any of them lives."""
    low = tensors["address"][placed]
    high = low + tensors["bytes"][placed]
    edges = np.unique(np.concatenate([low, high]))
    for start, stop in pairwise(edges.tolist()):
        inside = placed[(low <= start) & (high >= stop)]
        inside = inside[np.argsort(lives[0][inside], kind="stable")]
        if not len(inside):
            continue
        begins, ends = lives[0][inside], np.maximum.accumulate(lives[1][inside] + 1)
        fresh = np.concatenate([[True], begins[1:] > ends[:-1]])
        weight = (stop - start) * int(share[inside].min())
        np.add.at(change, begins[fresh], weight)
        np.subtract.at(change, ends[np.concatenate([fresh[1:], [True]])], weight)


def _holders(trace: Trace, holders: np.ndarray) -> str:
    """Who holds the bytes: allocation lines with count and bytes."""
    tensors = trace.tables["tensors"]
    lines: dict[int, list[int]] = {}
    for tensor in holders:
        lines.setdefault(int(tensors["site"][tensor]), []).append(int(tensors["bytes"][tensor]))
    shown = sorted(lines.items(), key=lambda item: -sum(item[1]))[:6]
    parts = [f"{len(sizes)} x {sizes[0]:,} bytes from {_place(trace, site)}" for site, sizes in shown]
    rest = len(lines) - len(shown)
    return "; ".join(parts) + (f"; and {rest} more lines" if rest > 0 else "")


def _place(trace: Trace, site: int) -> Location | None:
    if site < 0:
        return None
    sites = trace.tables["sites"]
    return Location(
        trace.names["file"][int(sites["file"][site])],
        int(sites["line"][site]),
        trace.names["python_function"][int(sites["function"][site])],
    )


def check_outputs(context: Context, returned: Any, outputs: Any, arguments: Arguments, definition: Location) -> None:
    """Findings of outputs: parts never written, NaN, all zero."""
    given = [_floats(entry.tensor) for entry in arguments.inputs] if context.values else []
    clean = not any(np.isnan(array).any() for array in given)
    alive = any(array.any() for array in given)
    tensors = [leaf for leaf in leaves(returned) if isinstance(leaf, NkiTensor)]
    arrays = [leaf for leaf in leaves(outputs) if isinstance(leaf, np.ndarray)]
    for number, (tensor, array) in enumerate(zip(tensors, arrays, strict=False)):
        name = f"output {number} ({tensor.name or 'unnamed'}, {array.dtype}{list(array.shape)})"
        where = context.location(tensor.storage.site) or definition
        message = _output_message(context, tensor, array, clean=clean, alive=alive)
        if message is not None:
            code, text = message
            context.findings.append(finding(code, f"{name} {text}", where, rank=context.rank, core=context.core))


def _output_message(
    context: Context, tensor: NkiTensor, array: np.ndarray, *, clean: bool, alive: bool
) -> tuple[str, str] | None:
    written = tensor.storage.home.written
    if written.state_of(tensor.layout, tensor.byte) != 2:
        mask = written.mask(tensor.layout, tensor.byte)
        missing = int(mask.size - mask.sum())
        first = tuple(int(i) for i in np.unravel_index(int(np.argmin(mask)), mask.shape))
        return (
            "unwritten-output",
            f"has {missing:,} of {mask.size:,} elements that were never written, the first at {first}",
        )
    if not context.values:
        return None
    if array.dtype.kind not in "biu" and clean:
        bad = np.isnan(array.astype(np.float32))
        if bad.any():
            first = tuple(int(i) for i in np.argwhere(bad)[0])
            return "nan-output", f"has {int(bad.sum()):,} NaN, the first at {first}"
    if alive and not array.any():
        return "all-zero-output", "is all zero"
    return None


def _floats(tensor: NkiTensor) -> np.ndarray:
    array = tensor.storage.array(tensor.layout, tensor.byte)
    return float32(array) if array.dtype.kind in "fV" else array


def check_prepared(context: Context) -> None:
    """The program ends: what it prepared must have been triggered.

    Raises:
        KernelError: a collective was prepared and never triggered.
    """
    if context.prepared is not None:
        raise KernelError(
            "argument",
            f"{context.prepared.api}_prepare without its trigger",
            rule="exactly one trigger for each prepare",
            source=f"{context.prepared.api}_prepare",
            fix=f"call {context.prepared.api}_trigger with what prepare returned",
            where=context.prepared.where,
        )


def check_returned(kernel: Kernel, returned: Sequence[Any]) -> None:
    """The cores of a rank return the same tensors; a core may also return nothing.

    Raises:
        KernelError: they return different tensors.
    """
    first = leaves(returned[0])
    for core, other in enumerate(returned[1:], 1):
        if other is None:
            continue
        theirs = leaves(other)
        pairs = list(zip(first, theirs, strict=False))
        if len(first) == len(theirs) and all(_same(a, b) for a, b in pairs):
            continue
        different = next(((a, b) for a, b in pairs if not _same(a, b)), (returned[0], other))
        raise KernelError(
            "control-flow",
            f"{kernel.name}[{kernel.lnc}] returns different tensors on its cores",
            values=f"core 0: {different[0]!r}, core {core}: {different[1]!r}",
            rule="the cores run one program, and its results are tensors in shared HBM that both have",
            source="Using Logical Neuron Cores (LNC), Final Notes",
            fix="allocate each result once for all cores, outside of branches on nl.program_id, in nl.shared_hbm",
            where=kernel.definition,
        )


def _same(a: object, b: object) -> bool:
    if isinstance(a, NkiTensor) and isinstance(b, NkiTensor):
        return a.storage is b.storage and a.layout is b.layout and a.byte == b.byte
    return not isinstance(a, NkiTensor) and not isinstance(b, NkiTensor)


def gathered(contexts: Sequence[Context], races: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings of all programs, each once, without those that another one explains.

    A read that a race explains is not told as uninitialised too, nor are the NaN that what was never written holds.
    """
    racing = {("uninitialised-read", race.where) for race in races}
    every = [*races, *(item for context in contexts for item in context.findings)]
    poisoned = any(each.code in ("uninitialised-read", "accumulate-undefined") for each in every)
    found: dict[tuple[object, ...], Finding] = {}
    for each in every:
        explained = (each.code, each.where) in racing or (each.code == "nan-output" and poisoned)
        if not explained:
            found.setdefault((each.code, each.where, each.message), each)
    return tuple(found.values())


def check_input_writes(context: Context, returned: Any, arguments: Arguments) -> None:
    """Findings of writes into inputs that are neither declared mutable nor returned."""
    storages = {leaf.storage.id for leaf in leaves(returned) if isinstance(leaf, NkiTensor)}
    for entry in arguments.inputs:
        sites = entry.tensor.storage.guard
        if sites and not entry.mutable and entry.tensor.storage.id not in storages:
            context.report(
                "undeclared-input-write", f"the kernel writes into its input {entry.name!r}", sites[0], entry.name
            )
