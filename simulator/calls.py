"""Calls of NKI functions with arguments that they do not have: told with the function's parameters and the line."""

from __future__ import annotations

import inspect
import linecache
import re
from difflib import get_close_matches
from types import TracebackType
from typing import Any

from nkilab.errors import Location

from .errors import OURS, KernelTypeError

_UNBOUND = re.compile(r"(?:NkiTensor\.)?(\w+)\(\) (got an? |missing |takes )")
_KEYWORD = re.compile(r"keyword argument '(\w+)'")
_NO_MASK = "masks were removed in NKI 0.2: clamp the last tile by slices with min(stop, size)"
_DST_FIRST = "since NKI 0.2 an instruction returns no tile: allocate it with nl.ndarray and pass it first, as dst"


def unbound_call(error: TypeError) -> KernelTypeError | None:
    """The error of a call in the user's code that does not fit a function of NKI; None where `error` is another one."""
    last = _last(error.__traceback__)
    found = _UNBOUND.match(str(error))
    if last is None or found is None or last.tb_frame.f_code.co_filename.startswith(OURS):
        return None
    called = _function(found[1], last)
    if called is None:
        return None
    name, module, function = called
    signature = inspect.signature(function)
    code = last.tb_frame.f_code
    return KernelTypeError(
        "argument",
        f"{name}{str(error)[found.end(1) :]}",
        rule=f"{found[1]}{_short(signature)}",
        source=f"{module}.{found[1]}",
        fix=_fix(str(error), signature),
        where=Location(code.co_filename, last.tb_lineno, code.co_qualname),
    )


def _last(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback


def _function(name: str, last: TracebackType) -> tuple[str, str, Any] | None:
    """What the user called: as the line writes it, else the first module that has the name; a tensor's method last."""
    from .nki import collectives, isa, language
    from .tensor import NkiTensor

    known = {"nki.isa": isa, "nki.language": language, "nki.collectives": collectives}
    frame = last.tb_frame
    line = linecache.getline(frame.f_code.co_filename, last.tb_lineno)
    for alias in re.findall(rf"(\w+)\.{name}\(", line):
        used = frame.f_locals.get(alias, frame.f_globals.get(alias))
        for module, namespace in known.items():
            if getattr(used, name, used) is getattr(namespace, name, None):
                return f"{alias}.{name}", module, getattr(namespace, name)
    for module, namespace in known.items():
        if inspect.isfunction(namespace.__dict__.get(name)):
            return f"{module}.{name}", module, namespace.__dict__[name]
    method = inspect.getattr_static(NkiTensor, name, None)
    return (f"tensor.{name}", "nki.language.NkiTensor", method) if inspect.isfunction(method) else None


def _short(signature: inspect.Signature) -> str:
    """The parameters, `name=…` for those with a default."""
    shown = [name if p.default is p.empty else f"{name}=…" for name, p in signature.parameters.items()]
    return f"({', '.join(shown)})"


def _fix(text: str, signature: inspect.Signature) -> str:
    unknown = _KEYWORD.search(text)
    if unknown is not None:
        if unknown[1] == "mask":
            return _NO_MASK
        starts = [name for name in signature.parameters if name.startswith(unknown[1])]
        near = starts or get_close_matches(unknown[1], signature.parameters, n=1, cutoff=0.5)
        return f"did you mean {near[0]}?" if near else ""
    if " missing 1 " in text and next(iter(signature.parameters), "") == "dst":
        return _DST_FIRST
    return ""
