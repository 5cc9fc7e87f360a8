"""The state of one running kernel on one core: reached through a ContextVar, so that threads may simulate at once."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from nkilab.errors import Location
from nkilab.hardware import Hardware

from .constants import MemoryRegion
from .errors import KernelError
from .findings import Finding, finding
from .layout import Layout, Layouts
from .memory import Memory, Storage
from .sim import Sim
from .source import Sources
from .tensor import NkiTensor, tensor_at
from .trace import Recorder
from .values.dtypes import DType

if TYPE_CHECKING:
    from .instruction import Plan

CURRENT: ContextVar[Context | None] = ContextVar("nkilab_simulation", default=None)


class Context:
    """Everything one core's program reads and writes while it runs.

    `plans` holds the checked shape of every instruction met so far, `accumulators` the engines' reduction registers.
    """

    __slots__ = (
        "accumulators",
        "core",
        "cores",
        "findings",
        "generation",
        "generators",
        "hardware",
        "layouts",
        "memory",
        "plans",
        "precise",
        "rank",
        "reported",
        "sim",
        "sources",
        "trace",
        "values",
    )

    def __init__(self, sim: Sim, hardware: Hardware, sources: Sources, *, rank: int = 0, core: int = 0) -> None:
        self.sim = sim
        self.hardware = hardware
        self.generation = hardware.generation
        self.layouts = Layouts()
        self.memory = Memory(hardware, self.layouts, sim.precise)
        self.sources = sources
        self.trace = Recorder(rank, core)
        self.plans: dict[tuple[object, ...], Plan] = {}
        self.findings: list[Finding] = []
        self.reported: set[tuple[object, ...]] = set()
        self.values = sim.values
        self.precise = sim.precise
        self.rank = rank
        self.core = core
        self.cores = 1
        self.accumulators: dict[str, np.ndarray] = {}
        self.generators: dict[str, np.ndarray] = {}

    def allocate(
        self,
        shape: tuple[int, ...],
        dtype: DType,
        region: MemoryRegion,
        *,
        address: object = None,
        name: str = "",
        kind: str = "internal",
        site: int | None = None,
    ) -> NkiTensor:
        """A new tensor, uninitialised; its row in the trace is made here. `site` is by default the user's line."""
        if site is None:
            site = self.sources.place(sys._getframe(1), []).site  # noqa: SLF001 (the fastest way to the caller)
        tensors = self.trace.tensors
        storage, layout, byte = self.memory.allocate(len(tensors), shape, dtype, region, address, site)
        storage.name = name
        tensors.append((storage.space, dtype, storage.rows, storage.row_bytes, storage.address, kind, site, name))
        return tensor_at(storage, layout, byte, self.layouts)

    def mark_outputs(self, returned: Any) -> None:
        """Note which allocations the kernel returned."""
        rows = self.trace.tensors
        for leaf in leaves(returned):
            if isinstance(leaf, NkiTensor) and leaf.storage.id >= 0:
                row = rows[leaf.storage.id]
                if row[5] == "internal":
                    rows[leaf.storage.id] = (*row[:5], "output", *row[6:])

    def report(self, code: str, message: str, site: int, key: object = None) -> None:
        """Add a finding, once for each code, line and `key`."""
        mark = (code, site, key)
        if mark not in self.reported:
            self.reported.add(mark)
            self.findings.append(finding(code, message, self.location(site), rank=self.rank, core=self.core))

    def location(self, site: int) -> Location | None:
        """Where a site is."""
        return self.sources.location(site) if site >= 0 else None

    def report_unwritten(self, storage: Storage, layout: Layout, byte: int, role: str, api: str, site: int) -> None:
        """Report a read of bytes that nothing has written."""
        mask = storage.home.written.mask(layout, byte)
        missing = int(mask.size - mask.sum())
        first = tuple(int(i) for i in np.unravel_index(int(np.argmin(mask)), mask.shape))
        made = self.location(storage.site)
        self.report(
            "uninitialised-read",
            f"{api} reads {missing:,} of {mask.size:,} elements of {role} that were never written, the first at {first} "
            f"(tensor {storage.name or 'without a name'}, allocated at {made})",
            site,
            storage.site,
        )

    def report_lost(self, storage: Storage, role: str, api: str, site: int) -> None:
        """Report a read of a value that was overwritten through another tensor."""
        other = storage.lost_to
        by = f", overwritten by the tensor allocated at {self.location(other.site)}" if other is not None else ""
        self.report(
            "clobbered-alias",
            f"{api} reads {role} (tensor {storage.name or 'without a name'}, allocated at "
            f"{self.location(storage.site)}) after its bytes at address {storage.address}{by}",
            site,
            storage.site,
        )


def current() -> Context:
    """The running kernel's context; KernelError outside a kernel."""
    context = CURRENT.get()
    if context is None:
        raise KernelError(
            "control-flow",
            "an NKI function was called outside a kernel",
            rule="nki.isa and nki.language calls belong into a kernel",
            fix="call the kernel with arrays, or use nki.simulate(kernel)(…)",
        )
    return context


def running() -> Context | None:
    """The running kernel's context, None outside."""
    return CURRENT.get()


def leaves(value: object) -> list[object]:
    """The values in nested tuples, lists and dicts."""
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, tuple | list):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]
