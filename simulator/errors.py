"""Errors of the simulator: an instruction that cannot execute, a function that is not there, findings at the end."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from nkilab.errors import Location, NkilabError

if TYPE_CHECKING:
    from .findings import Finding

ERROR_CODES = (
    "shape",
    "dtype",
    "buffer",
    "engine",
    "limit",
    "bounds",
    "capacity",
    "argument",
    "target",
    "view",
    "control-flow",
    "deadlock",
)
OURS = str(Path(__file__).resolve().parent)


class NkiValidationError(Exception):
    """`nki.isa.NkiValidationError`: a hardware constraint is violated."""


class KernelError(NkilabError, NkiValidationError):
    """An instruction of the kernel cannot execute; `where` is the innermost line outside the simulator.

    `code` is one of ERROR_CODES: the family of the rule, with a section in docs/errors.md.
    """

    code = "kernel"

    def __init__(self, code: str, what: str, **fields: object) -> None:
        """Make the error; `fields` are those of NkilabError."""
        fields.setdefault("where", user_location(inspect.currentframe()))
        super().__init__(what, **fields)  # type: ignore[arg-type]
        self.code = code


class KernelTypeError(KernelError, TypeError):
    """A KernelError for what Python calls a TypeError: operators and control flow on tensors, calls that do not bind."""


class UnsupportedError(NkilabError, NotImplementedError):
    """A function or mode of NKI that this simulator does not have (yet): told by name, never skipped."""

    code = "unsupported"

    def __init__(self, what: str, **fields: object) -> None:
        """Make the error; `fields` are those of NkilabError."""
        fields.setdefault("where", user_location(inspect.currentframe()))
        super().__init__(what, **fields)  # type: ignore[arg-type]


class FindingsError(NkilabError):
    """The kernel ran to its end, but the checks found something; `findings` holds all of them."""

    code = "findings"

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        """Make the error out of at least one finding."""
        count = f"{len(findings)} findings" if len(findings) > 1 else "1 finding"
        super().__init__(f"the kernel ran, with {count}", where=findings[0].where)
        self.findings = findings

    def __str__(self) -> str:
        shown = [str(finding) for finding in self.findings[:8]]
        if len(self.findings) > len(shown):
            shown.append(f"… and {len(self.findings) - len(shown)} more")
        return "\n".join([self.what, *shown, 'Sim(on_finding="collect") returns the run with its findings instead.'])


def user_location(frame: FrameType | None) -> Location | None:
    """The innermost line at or above a frame that is not the simulator's."""
    while frame is not None and frame.f_code.co_filename.startswith(OURS):
        frame = frame.f_back
    if frame is None:
        return None
    code = frame.f_code
    return Location(code.co_filename, frame.f_lineno, code.co_qualname)


def trimmed(traceback: TracebackType | None) -> TracebackType | None:
    """A traceback without the simulator's own frames."""
    kept: list[TracebackType] = []
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith(OURS):
            kept.append(traceback)
        traceback = traceback.tb_next
    result: TracebackType | None = None
    for entry in reversed(kept):
        result = TracebackType(result, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return result
