"""What instructions return."""

from __future__ import annotations

from typing import Any

from .tensor import NKIObject


class NkiInstruction(NKIObject):
    """Handle of an issued instruction; `depends_on` orders it after others.

    `row` is its row in the trace of its core. The simulator executes in program order, in which every edge that a
    kernel can state already holds; the edges are kept on the handle.
    """

    __slots__ = ("name", "producers", "row")

    def __init__(self, handle: int, name: str | None = None) -> None:
        """Make the handle of a row of the trace."""
        self.row = handle
        self.name = name
        self.producers: tuple[NkiInstruction, ...] = ()

    def depends_on(self, *producers: NkiInstruction, kind: Any = None) -> NkiInstruction:
        """Run after `producers`; returns self. `kind` is a `nisa.dependency` (API 0.7)."""
        del kind
        self.producers += producers
        return self
