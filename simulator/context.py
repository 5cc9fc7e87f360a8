"""The state of one running kernel on one core: reached through a ContextVar, so that threads may simulate at once."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from nkilab.errors import Location
from nkilab.hardware import Hardware

from .constants import MemoryRegion
from .errors import KernelError
from .findings import Finding, finding
from .layout import Layout, Layouts
from .loops import Body, tensor_row
from .memory import Memory, Storage
from .sim import Sim
from .source import Sources
from .tensor import NkiTensor, tensor_at
from .trace import Recorder
from .values.dtypes import DType

if TYPE_CHECKING:
    from .instruction import Plan
    from .team import Team

CURRENT: ContextVar[Context | None] = ContextVar("nkilab_simulation", default=None)


class Context:
    """Everything one core's program reads and writes while it runs.

    `plans` holds the checked shape of every instruction met so far, `accumulators` the engines' reduction registers.
    Plans, layouts and the trace's tensors are those of the whole simulation, `shared` (tensors in shared HBM, by where
    they are allocated) of the cores of one rank, `options` those of the kernel's `nki.jit`. `joined` are tensors that another core has made. `scattered` (rows by
    run-time indices) and `digests` (of written values) belong to accesses of shared HBM, by instruction and operand.
    """

    __slots__ = (
        "accumulators",
        "core",
        "cores",
        "digests",
        "findings",
        "generation",
        "generators",
        "hardware",
        "joined",
        "layouts",
        "loops",
        "memory",
        "occurrences",
        "options",
        "order_flag",
        "plans",
        "precise",
        "prepared",
        "rank",
        "reported",
        "scattered",
        "shared",
        "sim",
        "sources",
        "team",
        "trace",
        "values",
    )

    def __init__(
        self,
        sim: Sim,
        hardware: Hardware,
        sources: Sources,
        team: Team,
        *,
        rank: int = 0,
        core: int = 0,
        cores: int = 1,
        first: Context | None = None,
    ) -> None:
        """Make the context of a program; `first` is that of the simulation's first program, None for itself."""
        self.sim = sim
        self.hardware = hardware
        self.generation = hardware.generation
        self.layouts: Layouts = first.layouts if first else Layouts()
        self.memory = Memory(hardware, self.layouts, sim.precise)
        self.sources = sources
        self.team = team
        self.trace: Recorder = (
            Recorder(rank, core, first.trace.shapes, first.trace.tensors) if first else Recorder(rank, core)
        )
        self.plans: dict[tuple[object, ...], Plan] = first.plans if first else {}
        self.findings: list[Finding] = []
        self.reported: set[tuple[object, ...]] = set()
        self.values = sim.values
        self.precise = sim.precise
        self.rank = rank
        self.core = core
        self.cores = cores
        self.shared: dict[tuple[object, ...], NkiTensor] = {}
        self.occurrences: dict[tuple[object, ...], int] = {}
        self.joined: set[int] = set()
        self.scattered: dict[tuple[int, int], np.ndarray] = {}
        self.digests: dict[tuple[int, int], int] = {}
        self.options: Mapping[str, Any] = {}
        self.prepared: Any = None
        self.order_flag = 0
        self.loops: list[Body] = []
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
        fresh: bool = False,
    ) -> NkiTensor:
        """A new tensor, uninitialised; its row in the trace is made here. `site` is by default the user's line.

        A `fresh` one has a row of its own even where a loop's body allocates one tensor for all iterations.
        """
        key: tuple[object, ...] | None = None
        if site is None:
            place = self.sources.place(sys._getframe(1), [])  # noqa: SLF001 (the fastest way to the caller)
            site = place.site
            if self.cores > 1 and region is MemoryRegion.shared_hbm and kind == "internal":
                key = self._shared_key(shape, dtype, name, place.stack)
                known = self.shared.get(key)
                if known is not None:
                    self.joined.add(known.storage.id)
                    return self._same(known, shape, dtype)
        tensors = self.trace.tensors
        storage, layout, byte = self.memory.allocate(len(tensors), shape, dtype, region, address, site)
        storage.name = name
        sizes = (storage.rows, storage.row_bytes, storage.address)
        row = (storage.space, dtype, *sizes, kind, site, name, self.rank, self.core, tuple(shape))
        storage.id = tensor_row([] if fresh else self.loops, tensors, row)
        tensor = tensor_at(storage, layout, byte, self.layouts)
        if key is not None:
            storage.guard = []
            self.shared[key] = tensor
        return tensor

    def _shared_key(self, shape: tuple[int, ...], dtype: DType, name: str, stack: int) -> tuple[object, ...]:
        """What a tensor in shared HBM is known by to the other core: its name, else its line; and how many came before.

        The cores run one program, so the n-th allocation of one core is the n-th of the other.
        """
        key: tuple[object, ...] = (name,) if name else (stack, shape, dtype)
        count = self.occurrences[key] = self.occurrences.get(key, 0) + 1
        return (*key, count)

    def _same(self, known: NkiTensor, shape: tuple[int, ...], dtype: DType) -> NkiTensor:
        if known.shape == shape and known.dtype == dtype:
            return known
        raise KernelError(
            "control-flow",
            f"the cores allocate {known.name!r} in shared HBM differently",
            values=f"{dtype}{list(shape)} on core {self.core}, {known.dtype}{list(known.shape)} on another",
            rule="a tensor in shared HBM is one tensor, which every core of the logical NeuronCore allocates alike",
            source="Using Logical Neuron Cores (LNC), Final Notes",
            fix="give all cores the same shape and slice it by nl.program_id(0), or use nl.private_hbm",
        )

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
