"""What instructions return."""

from __future__ import annotations

from typing import Any

from .constants import dependency
from .context import current
from .deprecated import deprecated
from .errors import KernelError
from .levels import added_parameters
from .objects import NKIObject


class NkiInstruction(NKIObject):
    """Handle of an issued instruction; `depends_on` orders it after others.

    `row` is its row in the trace of its core. The simulator executes in program order, in which every edge that a
    kernel can state already holds; the edges are kept on the handle, and those of kind runtime in the trace.
    """

    __slots__ = ("name", "producers", "row")

    def __init__(self, handle: int) -> None:
        """Make the handle of a row of the trace."""
        self.row = handle
        self.name: str | None = None
        self.producers: tuple[NkiInstruction, ...] = ()

    def depends_on(self, *producers: NkiInstruction, kind: Any = None) -> NkiInstruction:
        """Run after `producers`; returns self. `kind` is a `nisa.dependency` (API 0.7, which deprecates leaving it out).

        Raises:
            KernelError: a kind that is none, or a producer that is no instruction.
        """
        added_parameters("nki.isa.NkiInstruction.depends_on", kind is not None)
        if kind is None:
            deprecated("depends_on(…) without kind", "depends_on(…, kind=nisa.dependency.runtime)", since="0.7")
        elif not isinstance(kind, dependency):
            raise _wrong(f"depends_on(kind={kind!r})", "kind is nisa.dependency.runtime or nisa.dependency.schedule")
        for producer in producers:
            if not isinstance(producer, NkiInstruction):
                raise _wrong(f"depends_on({producer!r})", "producers are what nki.isa functions return")
        self.producers += producers
        if kind is not dependency.schedule:
            current().trace.waits.extend((producer.row, self.row) for producer in producers if producer.row < self.row)
        return self


_new = object.__new__


def handle_of(row: int, name: str | None) -> NkiInstruction:
    """The handle of a row of the trace, under the user's name for it."""
    handle = _new(NkiInstruction)
    handle.row = row
    handle.name = name
    handle.producers = ()
    return handle


def _wrong(what: str, rule: str) -> KernelError:
    return KernelError("argument", what, rule=rule, source="nki.isa.NkiInstruction")
